"""A whole .odp file: header, allocation of tokens, optional parts, tokens."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from onedpiece.bitstream.allocation import MAX_TOKENS, Allocation
from onedpiece.bitstream.header import Header
from onedpiece.bitstream.parts import Part, pack_parts, unpack_parts
from onedpiece.bitstream.payload import TOKEN_BITS, pack_tokens, payload_size, unpack_tokens
from onedpiece.errors import LimitExceeded, OdpError, UnsupportedFile

MAX_PIXELS = 16384**2
"""Pixels that a picture may have unless the caller says otherwise."""


@dataclass(frozen=True, eq=False)
class OdpFile:
    """What a file holds, as far as it arrived.

    header: what the picture is. Its tokens_per_tile is the (mean) number in the complete file.
    allocation: how the tokens are shared out among the tiles.
    parts: the optional parts, in the order of the file.
    tokens: (tiles, positions) uint16 of 0 to 4095, tiles row by row; 0 where a token is missing.
    counts: (tiles,); tile i has its first counts[i] tokens.
    size: bytes of the file.
    """

    header: Header
    allocation: Allocation
    parts: tuple[Part, ...]
    tokens: NDArray[np.uint16]
    counts: NDArray[np.int64]
    size: int

    @property
    def arrived(self) -> int:
        """How many tokens are here, of all tiles together."""
        return int(self.counts.sum())

    @property
    def is_cut(self) -> bool:
        """Whether tokens at the end of the file are missing."""
        return self.arrived < self.allocation.total

    def part(self, kind: int) -> bytes | None:
        """The data of the first part of a kind."""
        return next((part.data for part in self.parts if part.kind == kind), None)

    def sizes(self) -> dict[str, int]:
        """Bytes of the file by what they hold: "header", "parts" and "tokens"."""
        header = len(_front(self.header, self.allocation, ()))
        parts = len(pack_parts(self.parts))
        return {"header": header, "parts": parts, "tokens": self.size - header - parts}


def parse(data: bytes, max_pixels: int = MAX_PIXELS) -> OdpFile:
    """Read a file, complete or cut anywhere before its last token.

    Raises NotAnOdpFile, UnsupportedFile or DamagedFile for data that cannot be read, LimitExceeded
    for a picture of more than `max_pixels`, before anything is allocated for it.
    """
    header, position = Header.unpack(data)
    if header.pixels > max_pixels:
        raise LimitExceeded(
            f"the picture has {header.width}x{header.height} pixels, more than {max_pixels}"
        )
    if header.entropy_coded:
        raise UnsupportedFile("the tokens are entropy-coded: a newer reader is needed")
    tiles = header.grid.count
    allocation = Allocation(tiles * header.tokens_per_tile)
    if header.has_allocation:
        allocation, position = Allocation.unpack(data, position, tiles, header.tokens_per_tile)
    parts: tuple[Part, ...] = ()
    if header.has_parts:
        parts, position = unpack_parts(data, position)
    stream = unpack_tokens(data[position:], allocation.total)
    tile, place = allocation.sequence(tiles, len(stream))
    tokens = np.zeros((tiles, int(place.max(initial=-1)) + 1), np.uint16)
    tokens[tile, place] = stream
    return OdpFile(header, allocation, parts, tokens, np.bincount(tile, minlength=tiles), len(data))


def build(
    header: Header,
    tokens: NDArray[np.uint16],
    parts: Sequence[Part] = (),
    allocation: Allocation | None = None,
) -> bytes:
    """Write a complete file. What the header says of allocation and parts follows from these.

    tokens: integers (tiles, positions) of 0 to 4095; only as many of each tile as the allocation gives it are written.
    allocation: if None, every tile has the header's tokens_per_tile.

    Raises ValueError if the arguments do not fit together, LimitExceeded for too many parts.
    """
    tiles = header.grid.count
    if header.entropy_coded:
        raise UnsupportedFile("this writer does not code tokens by entropy")
    if allocation is None:
        allocation = Allocation(tiles * header.tokens_per_tile)
    if not tiles <= allocation.total <= tiles * MAX_TOKENS:
        raise ValueError(f"{tiles} tiles cannot have {allocation.total} tokens")
    if allocation.levels is not None and (tiles == 1 or len(allocation.levels) != tiles):
        raise ValueError(f"{tiles} tiles cannot have {len(allocation.levels)} levels")
    tile, place = allocation.sequence(tiles, allocation.total)
    if len(tokens) != tiles or tokens.shape[1] <= place.max():
        raise ValueError(f"{tokens.shape} tokens are not enough for {allocation.total}")
    return _front(header, allocation, parts) + pack_tokens(tokens[tile, place])


def truncate(
    data: bytes,
    tokens: int | None = None,
    max_bytes: int | None = None,
    max_pixels: int = MAX_PIXELS,
) -> bytes:
    """The same file with only the first `tokens` tokens of every tile (on average), or with at most `max_bytes` bytes.

    Parts are kept. The bytes are those that building the file with so few tokens would have given.

    Raises OdpError if not even one token of each tile fits or, for `tokens`, if so many are not there; ValueError
    unless exactly one of the two is given; else what parse raises.
    """
    if (tokens is None) == (max_bytes is None):
        raise ValueError("give tokens or max_bytes")
    file = parse(data, max_pixels)
    tiles, levels = file.header.grid.count, file.allocation.levels
    if max_bytes is not None:
        total = fitting(file.header, file.parts, levels, max_bytes, file.arrived)
    else:
        assert tokens is not None
        total = tokens * tiles
        if not tiles <= total <= file.arrived:
            there = file.arrived // tiles
            raise OdpError(f"cannot keep {tokens} tokens per tile: the file has {there}")
    return build(file.header, file.tokens, file.parts, Allocation(total, levels))


def fitting(
    header: Header,
    parts: Sequence[Part],
    levels: tuple[int, ...] | None,
    max_bytes: int,
    most: int,
) -> int:
    """The largest number of tokens, of all tiles together and at most `most`, with which a file has at most `max_bytes`.

    Raises OdpError if one token of each tile is too much already.
    """
    tiles = header.grid.count
    if most < tiles:
        raise OdpError(f"the file has {most} tokens, not even one for each of its {tiles} tiles")

    def size(total: int) -> int:
        return len(_front(header, Allocation(total, levels), parts)) + payload_size(total)

    # No front is shorter than that of two tokens for each tile; the right one is a few tokens below.
    room = max_bytes - size(2 * tiles) + payload_size(2 * tiles)
    total = min(most, 8 * max(0, room) // TOKEN_BITS)
    while total >= tiles and size(total) > max_bytes:
        total -= 1
    if total < tiles:
        raise OdpError(
            f"{max_bytes} bytes are not enough: the least for this picture is {size(tiles)}"
        )
    return total


def _front(header: Header, allocation: Allocation, parts: Sequence[Part]) -> bytes:
    """Everything before the tokens."""
    tiles = header.grid.count
    plain = allocation.is_plain(tiles)
    header = replace(
        header,
        tokens_per_tile=-(-allocation.total // tiles),
        has_allocation=not plain,
        has_parts=bool(parts),
    )
    return header.pack() + (b"" if plain else allocation.pack(tiles)) + pack_parts(parts)
