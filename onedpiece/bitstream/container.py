"""A whole .odp file: header, allocation of tokens, optional parts, tokens."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from onedpiece.bitstream.allocation import Allocation
from onedpiece.bitstream.chunks import Part, pack_parts, unpack_parts
from onedpiece.bitstream.header import Header
from onedpiece.bitstream.payload import (
    code_tokens,
    decode_tokens,
    pack_tokens,
    payload_sizes,
    unpack_tokens,
)
from onedpiece.constants import MAX_PIXELS, MAX_TOKENS
from onedpiece.entropy import Tables
from onedpiece.errors import DamagedFile, LimitExceeded, ModelError, OdpError, UnknownModel
from onedpiece.models.registry import installed_tables

TablesOf = Callable[[bytes], Tables | None]
"""From the 3 bytes that name a model to its entropy tables, if it has any; raises UnknownModel or ModelError."""


@dataclass(frozen=True, eq=False)
class OdpFile:
    """What a file holds, as far as it arrived.

    header: what the picture is. Its tokens_per_tile is the (mean) number in the complete file.
    allocation: how the tokens are shared out among the tiles.
    parts: the optional parts, in the order of the file.
    tokens: (tiles, positions) uint16 of 0 to 4095, tiles row by row; 0 where a token is missing.
    counts: (tiles,); tile i has its first counts[i] tokens.
    size: bytes of the file.
    tables: of the model, if they are known.
    """

    header: Header
    allocation: Allocation
    parts: tuple[Part, ...]
    tokens: NDArray[np.uint16]
    counts: NDArray[np.int64]
    size: int
    tables: Tables | None

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
        header = len(_front(self.header, self.allocation, (), self.header.entropy_coded))
        parts = len(pack_parts(self.parts))
        return {"header": header, "parts": parts, "tokens": self.size - header - parts}


def parse(
    data: bytes, max_pixels: int = MAX_PIXELS, tables_of: TablesOf = installed_tables
) -> OdpFile:
    """Read a file, complete or cut anywhere before its last token.

    Raises NotAnOdpFile, UnsupportedFile or DamagedFile for data that cannot be read, LimitExceeded for a picture of
    more than `max_pixels`, before anything is allocated for it, and UnknownModel or ModelError if the tokens are coded
    with the tables of a model that is not installed or broken. Takes up to some microseconds for each byte.
    """
    header, position = Header.unpack(data)
    if header.pixels > max_pixels:
        raise LimitExceeded(
            f"the picture has {header.width}x{header.height} pixels, more than {max_pixels}"
        )
    tables = _tables(header, tables_of)
    tiles = header.grid.count
    allocation = Allocation(tiles * header.tokens_per_tile)
    if header.has_allocation:
        allocation, position = Allocation.unpack(data, position, tiles, header.tokens_per_tile)
    parts: tuple[Part, ...] = ()
    if header.has_parts:
        parts, position = unpack_parts(data, position)
    payload, total = data[position:], allocation.total
    if header.entropy_coded:
        assert tables is not None
        tile, place = allocation.sequence(tiles, min(total, tables.most(len(payload))))
        stream = decode_tokens(payload, place, total, tables)
        tile, place = tile[: len(stream)], place[: len(stream)]
    else:
        stream = unpack_tokens(payload, total)
        tile, place = allocation.sequence(tiles, len(stream))
    tokens = np.zeros((tiles, int(place.max(initial=-1)) + 1), np.uint16)
    tokens[tile, place] = stream
    counts = np.bincount(tile, minlength=tiles)
    return OdpFile(header, allocation, parts, tokens, counts, len(data), tables)


def _tables(header: Header, tables_of: TablesOf) -> Tables | None:
    """The tables of the file's model. Raises UnknownModel or ModelError only if nothing can be read without them."""
    try:
        tables = tables_of(header.model)
    except (UnknownModel, ModelError):
        if header.entropy_coded:
            raise
        return None
    if tables is None and header.entropy_coded:
        raise DamagedFile("the tokens are coded with tables, but the model has none")
    return tables


def build(
    header: Header,
    tokens: NDArray[np.uint16],
    parts: Sequence[Part] = (),
    allocation: Allocation | None = None,
    tables: Tables | None = None,
) -> bytes:
    """Write a complete file. What the header says of allocation, parts and coding follows from these.

    tokens: integers (tiles, positions) of 0 to 4095; only as many of each tile as the allocation gives it are written.
    allocation: if None, every tile has the header's tokens_per_tile.
    tables: of the header's model, if it has any; used where they save bytes.

    Raises ValueError if the arguments do not fit together, LimitExceeded for too many parts.
    """
    tiles = header.grid.count
    if allocation is None:
        allocation = Allocation(tiles * header.tokens_per_tile)
    if not tiles <= allocation.total <= tiles * MAX_TOKENS:
        raise ValueError(f"{tiles} tiles cannot have {allocation.total} tokens")
    stream, place = _stream(tokens, tiles, allocation)
    coded = code_tokens(stream, place, tables) if tables else None
    payload = pack_tokens(stream) if coded is None else coded
    return _front(header, allocation, parts, coded is not None) + payload


def _stream(
    tokens: NDArray[np.uint16], tiles: int, allocation: Allocation
) -> tuple[NDArray[np.uint16], NDArray[np.int64]]:
    """The tokens in the order of the payload, and their places in their tiles. Raises ValueError."""
    if allocation.levels is not None and (tiles == 1 or len(allocation.levels) != tiles):
        raise ValueError(f"{tiles} tiles cannot have {len(allocation.levels)} levels")
    tile, place = allocation.sequence(tiles, allocation.total)
    if len(tokens) != tiles or tokens.shape[1] <= place.max():
        raise ValueError(f"{tokens.shape} tokens are not enough for {allocation.total}")
    return tokens[tile, place], place


def truncate(
    data: bytes,
    tokens: int | None = None,
    max_bytes: int | None = None,
    max_pixels: int = MAX_PIXELS,
    tables_of: TablesOf = installed_tables,
) -> bytes:
    """The same file with only the first `tokens` tokens of every tile (on average), or with at most `max_bytes` bytes.

    Parts are kept. The bytes are those that building the file with so few tokens would have given.

    Raises OdpError if not even one token of each tile fits or, for `tokens`, if so many are not there; ValueError
    unless exactly one of the two is given; else what parse raises.
    """
    if (tokens is None) == (max_bytes is None):
        raise ValueError("give tokens or max_bytes")
    file = parse(data, max_pixels, tables_of)
    tiles, levels = file.header.grid.count, file.allocation.levels
    if max_bytes is not None:
        if file.arrived < tiles:
            raise OdpError(
                f"the file has {file.arrived} tokens, not even one for each of its {tiles} tiles"
            )
        allocation = Allocation(file.arrived, levels)
        return fitting(file.header, file.tokens, file.parts, allocation, file.tables, max_bytes)
    assert tokens is not None
    total = tokens * tiles
    if not tiles <= total <= file.arrived:
        there = file.arrived // tiles
        raise OdpError(f"cannot keep {tokens} tokens per tile: the file has {there}")
    return build(file.header, file.tokens, file.parts, Allocation(total, levels), file.tables)


def fitting(
    header: Header,
    tokens: NDArray[np.uint16],
    parts: Sequence[Part],
    allocation: Allocation,
    tables: Tables | None,
    max_bytes: int,
) -> bytes:
    """The file with as many tokens as fit into `max_bytes`, at most those of the allocation.

    The other arguments are those of `build`, which says what they raise. Raises OdpError if one token of each tile is
    too much already.
    """
    tiles, levels = header.grid.count, allocation.levels
    sizes = payload_sizes(*_stream(tokens, tiles, allocation), tables)

    def size(total: int) -> int:
        front = _front(header, Allocation(total, levels), parts, coded=False)
        return len(front) + int(sizes[total - 1])

    # No front is shorter than that of two tokens for each tile; the right one is a few tokens below.
    shortest = len(_front(header, Allocation(2 * tiles, levels), parts, coded=False))
    total = int(np.searchsorted(sizes, max_bytes - shortest, side="right"))
    while total >= tiles and size(total) > max_bytes:
        total -= 1
    if total < tiles:
        raise OdpError(
            f"{max_bytes} bytes are not enough: the least for this picture is {size(tiles)}"
        )
    return build(header, tokens, parts, Allocation(total, levels), tables)


def _front(header: Header, allocation: Allocation, parts: Sequence[Part], coded: bool) -> bytes:
    """Everything before the tokens."""
    tiles = header.grid.count
    plain = allocation.is_plain(tiles)
    header = replace(
        header,
        tokens_per_tile=-(-allocation.total // tiles),
        entropy_coded=coded,
        has_allocation=not plain,
        has_parts=bool(parts),
    )
    return header.pack() + (b"" if plain else allocation.pack(tiles)) + pack_parts(parts)
