"""A whole .odp file: header, optional parts, tokens."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from onedpiece.bitstream.header import Header
from onedpiece.bitstream.parts import Part, pack_parts, unpack_parts
from onedpiece.bitstream.payload import pack_tokens, unpack_tokens
from onedpiece.errors import LimitExceeded, OdpError, UnsupportedFile

MAX_PIXELS = 16384**2
"""Pixels that a picture may have unless the caller says otherwise."""


@dataclass(frozen=True, eq=False)
class OdpFile:
    """What a file holds, as far as it arrived.

    header: what the picture is. Its tokens_per_tile is the number in the complete file.
    parts: the optional parts, in the order of the file.
    tokens: (tiles, positions) uint16 of 0 to 4095, tiles row by row; 0 where a token is missing.
    counts: (tiles,); tile i has its first counts[i] tokens.
    size: bytes of the file.
    """

    header: Header
    parts: tuple[Part, ...]
    tokens: NDArray[np.uint16]
    counts: NDArray[np.int64]
    size: int

    @property
    def complete_tokens(self) -> int:
        """How many tokens every tile has."""
        return int(self.counts.min())

    @property
    def is_cut(self) -> bool:
        """Whether tokens at the end of the file are missing."""
        return self.complete_tokens < self.header.tokens_per_tile

    def sizes(self) -> dict[str, int]:
        """Bytes of the file by what they hold: "header", "parts" and "tokens"."""
        header = len(self.header.pack())
        parts = len(pack_parts(self.parts))
        return {"header": header, "parts": parts, "tokens": self.size - header - parts}


def parse(data: bytes, max_pixels: int = MAX_PIXELS) -> OdpFile:
    """Read a file, complete or cut anywhere after its header and parts.

    Raises NotAnOdpFile, UnsupportedFile or DamagedFile for data that cannot be read, LimitExceeded
    for a picture of more than `max_pixels`, before anything is allocated for it.
    """
    header, position = Header.unpack(data)
    if header.pixels > max_pixels:
        raise LimitExceeded(
            f"the picture has {header.width}x{header.height} pixels, more than {max_pixels}"
        )
    _check_coding(header)
    parts: tuple[Part, ...] = ()
    if header.has_parts:
        parts, position = unpack_parts(data, position)
    tokens, counts = unpack_tokens(data[position:], header.grid.count, header.tokens_per_tile)
    return OdpFile(header, parts, tokens, counts, len(data))


def build(header: Header, tokens: NDArray[np.uint16], parts: Sequence[Part] = ()) -> bytes:
    """Write a complete file. The header's has_parts follows from `parts`.

    tokens: integers (tiles, tokens per tile) of 0 to 4095, as many as the header says.

    Raises ValueError if tokens and header do not fit together, LimitExceeded for too many parts.
    """
    _check_coding(header)
    expected = (header.grid.count, header.tokens_per_tile)
    if tokens.shape != expected:
        raise ValueError(f"the header asks for tokens {expected}, not {tokens.shape}")
    header = replace(header, has_parts=bool(parts))
    return header.pack() + pack_parts(parts) + pack_tokens(tokens)


def truncate(data: bytes, tokens: int, max_pixels: int = MAX_PIXELS) -> bytes:
    """The same file with only the first `tokens` tokens of every tile; parts are kept.

    The bytes are those that building the file with so few tokens would have given.

    Raises OdpError if `tokens` is less than 1 or more than every tile has, else what parse raises.
    """
    file = parse(data, max_pixels)
    if not 1 <= tokens <= file.complete_tokens:
        raise OdpError(f"cannot keep {tokens} tokens per tile: the file has {file.complete_tokens}")
    header = replace(file.header, tokens_per_tile=tokens)
    return build(header, file.tokens[:, :tokens], file.parts)


def _check_coding(header: Header) -> None:
    if header.entropy_coded:
        raise UnsupportedFile("the tokens are entropy-coded: a newer reader is needed")
