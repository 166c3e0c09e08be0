"""The tokens of a file as bytes: entropy-coded, or as 12-bit numbers one after the other."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from onedpiece.bitstream.allocation import Allocation
from onedpiece.bitstream.front import Front
from onedpiece.constants import CODEBOOK_SIZE, TOKEN_BITS
from onedpiece.entropy import InvalidStream, Tables
from onedpiece.errors import DamagedFile, OdpError


def pack_tokens(stream: NDArray[np.integer]) -> bytes:
    """Tokens, integers (n,) of 0 to 4095, as a payload of 12 bits each.

    Raises ValueError for another shape, type or range.
    """
    check_tokens(stream)
    size = payload_size(len(stream))
    stream = stream.astype(np.uint16)
    if len(stream) % 2:
        stream = np.append(stream, np.uint16(0))
    first, second = stream[0::2], stream[1::2]
    triples = np.empty((len(first), 3), np.uint8)
    triples[:, 0] = first >> 4
    triples[:, 1] = (first & 0xF) << 4 | second >> 8
    triples[:, 2] = second & 0xFF
    return triples.tobytes()[:size]


def unpack_tokens(data: bytes, total: int) -> NDArray[np.uint16]:
    """The complete tokens, (n,), in a payload of 12-bit numbers that may be truncated.

    data: the payload, up to the end of the file.
    total: number of tokens in the complete payload, at least 1.

    Raises DamagedFile for bytes after a complete payload and for padding that is not zero.
    """
    if len(data) > payload_size(total):
        raise DamagedFile("there are bytes after the last token")
    arrived = min(total, 8 * len(data) // TOKEN_BITS)
    if arrived == total and total % 2 and data[-1] & 0xF:
        raise DamagedFile("the padding after the last token is not zero")

    # An incomplete triple at the end is filled up with zeros.
    octets = np.zeros(-(-len(data) // 3) * 3, np.uint16)
    octets[: len(data)] = np.frombuffer(data, np.uint8)
    triples = octets.reshape(-1, 3)
    pairs = np.empty((len(triples), 2), np.uint16)
    pairs[:, 0] = triples[:, 0] << 4 | triples[:, 1] >> 4
    pairs[:, 1] = (triples[:, 1] & 0xF) << 8 | triples[:, 2]
    return pairs.ravel()[:arrived]


def entropy_encode(
    stream: NDArray[np.integer], positions: NDArray[np.integer], tables: Tables
) -> bytes | None:
    """The entropy-coded payload; None if it is not shorter than 12 bits per token.

    stream: tokens, integers (n,) of 0 to 4095.
    positions: (n,), the position of each token in its tile.

    Raises ValueError like `pack_tokens`.
    """
    check_tokens(stream)
    coded = tables.encode(stream, positions)
    return coded if len(coded) < payload_size(len(stream)) else None


def entropy_decode(
    data: bytes, positions: NDArray[np.int64], total: int, tables: Tables
) -> NDArray[np.uint16]:
    """The complete tokens, (n,), in a payload of `entropy_encode` that may be truncated.

    positions: positions in their tiles of at least as many tokens as the payload can contain.
    total: number of tokens in the complete payload.

    Raises DamagedFile for bytes that no encoder writes: those that encode no tokens, that are not
    the shortest code of their tokens, or that are not shorter than 12 bits per token.
    """
    if len(data) >= payload_size(total):
        raise DamagedFile("the tokens are damaged, or there are bytes after the last one")
    try:
        stream, exact = tables.decode(data, positions)
    except InvalidStream:
        raise DamagedFile("the tokens are damaged") from None
    if len(stream) == total and not exact:
        raise DamagedFile("the tokens are damaged, or there are bytes after the last one")
    return stream


def payload_size(tokens: int) -> int:
    """Size in bytes of a payload of this many tokens at 12 bits each."""
    return (tokens * TOKEN_BITS + 7) // 8


def payload_sizes(
    stream: NDArray[np.integer], positions: NDArray[np.integer], tables: Tables | None
) -> NDArray[np.int64]:
    """Size in bytes of the payload of the first 1, 2, ... n tokens, (n,), in the shorter coding.

    The sizes never decrease.

    Raises ValueError like `pack_tokens`.
    """
    check_tokens(stream)
    sizes = (np.arange(1, len(stream) + 1) * TOKEN_BITS + 7) // 8
    if tables:
        coded: list[int] = []
        tables.encode(stream, positions, coded)
        sizes = np.minimum(sizes, coded)
    return sizes


def check_tokens(stream: NDArray[np.integer]) -> None:
    """Raise ValueError unless the tokens are integers (n,) of 0 to 4095, n at least 1."""
    if stream.ndim != 1 or stream.size == 0:
        raise ValueError(f"tokens must be one sequence, not {stream.shape}")
    if not np.issubdtype(stream.dtype, np.integer):
        raise ValueError(f"tokens must be integers, not {stream.dtype}")
    if stream.min() < 0 or stream.max() >= CODEBOOK_SIZE:
        raise ValueError(f"tokens must be 0 to {CODEBOOK_SIZE - 1}")


def read_tokens(
    front: Front, data: bytes, tables: Tables | None
) -> tuple[NDArray[np.uint16], NDArray[np.int64]]:
    """The tokens of a payload that may be truncated, and the number of tokens of each tile.

    data: the payload, up to the end of the file.

    Returns tokens (tiles, K), 0 where a token is missing, and counts (tiles,). Raises DamagedFile
    like `unpack_tokens` and `entropy_decode`.
    """
    tiles, total = front.header.grid.count, front.allocation.total
    if front.header.entropy_coded:
        assert tables is not None
        tile, place = front.allocation.sequence(tiles, min(total, tables.most(len(data))))
        stream = entropy_decode(data, place, total, tables)
        tile, place = tile[: len(stream)], place[: len(stream)]
    else:
        stream = unpack_tokens(data, total)
        tile, place = front.allocation.sequence(tiles, len(stream))
    tokens = np.zeros((tiles, int(place.max(initial=-1)) + 1), np.uint16)
    tokens[tile, place] = stream
    counts = np.bincount(tile, minlength=tiles)
    counts.setflags(write=False)
    return tokens, counts


def largest_total(
    front: Front,
    stream: NDArray[np.integer],
    positions: NDArray[np.integer],
    tables: Tables | None,
    max_bytes: int,
) -> int:
    """The number of tokens of the stream that fit into a file of `max_bytes`.

    stream, positions: (n,), tokens in the order of the payload, and their positions in their tiles.
    Raises OdpError if not even one token of each tile fits.
    """
    tiles, levels = front.header.grid.count, front.allocation.levels
    sizes = payload_sizes(stream, positions, tables)

    def front_size(total: int) -> int:
        return len(replace(front, allocation=Allocation(total, levels)).pack(False))

    # No front is shorter than that of two tokens for each tile. The search begins at the number of
    # tokens that fit behind it, which is at most a few too many.
    total = int(np.searchsorted(sizes, max_bytes - front_size(2 * tiles), side="right"))
    while total >= tiles and front_size(total) + int(sizes[total - 1]) > max_bytes:
        total -= 1
    if total < tiles:
        least = front_size(tiles) + int(sizes[tiles - 1])
        raise OdpError(f"{max_bytes} bytes are not enough: the least for this picture is {least}")
    return total
