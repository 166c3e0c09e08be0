"""The tokens of a file: by how frequent they are, if the model has tables, or as 12-bit numbers one after the other."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from onedpiece.constants import CODEBOOK_SIZE, TOKEN_BITS
from onedpiece.entropy import InvalidStream, Tables
from onedpiece.errors import DamagedFile


def pack_tokens(stream: NDArray[np.uint16]) -> bytes:
    """The payload that holds the tokens, integers (n,) of 0 to 4095, with 12 bits each.

    Raises ValueError for another shape, type or range.
    """
    _check_tokens(stream)
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
    """The tokens that are completely there in a payload of 12-bit numbers that may be cut.

    data: the payload, everything to the end of the file.
    total: tokens in the complete payload, at least 1.

    Raises DamagedFile for bytes after a complete payload and for padding that is not zero.
    """
    if len(data) > payload_size(total):
        raise DamagedFile("there are bytes after the last token")
    arrived = min(total, 8 * len(data) // TOKEN_BITS)
    if arrived == total and total % 2 and data[-1] & 0xF:
        raise DamagedFile("the padding after the last token is not zero")

    # Whole triples only, so that a trailing half pair (or half token) is filled up with zeros.
    octets = np.zeros(-(-len(data) // 3) * 3, np.uint16)
    octets[: len(data)] = np.frombuffer(data, np.uint8)
    triples = octets.reshape(-1, 3)
    pairs = np.empty((len(triples), 2), np.uint16)
    pairs[:, 0] = triples[:, 0] << 4 | triples[:, 1] >> 4
    pairs[:, 1] = (triples[:, 1] & 0xF) << 8 | triples[:, 2]
    return pairs.ravel()[:arrived]


def code_tokens(
    stream: NDArray[np.uint16], positions: NDArray[np.int64], tables: Tables
) -> bytes | None:
    """The payload that holds the tokens by their frequencies; None if that is not shorter than 12 bits each.

    positions: (n,), the place of each token in its tile. Raises ValueError like `pack_tokens`.
    """
    _check_tokens(stream)
    coded = tables.encode(stream, positions)
    return coded if len(coded) < payload_size(len(stream)) else None


def decode_tokens(
    data: bytes, positions: NDArray[np.int64], total: int, tables: Tables
) -> NDArray[np.uint16]:
    """The tokens that are completely there in a payload of `code_tokens` that may be cut.

    positions: places of as many tokens as there can be.
    Raises DamagedFile for bytes that stand for no tokens, that are not the shortest for these, or that are as many as
    with 12 bits a token, because then these would have been taken.
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
    """Bytes that this many tokens take together at 12 bits each."""
    return (tokens * TOKEN_BITS + 7) // 8


def payload_sizes(
    stream: NDArray[np.uint16], positions: NDArray[np.int64], tables: Tables | None
) -> NDArray[np.int64]:
    """Bytes that the first 1, 2, ... n tokens take, (n,), in whichever way is shorter; never fewer for more tokens.

    Raises ValueError like `pack_tokens`.
    """
    _check_tokens(stream)
    sizes = (np.arange(1, len(stream) + 1) * TOKEN_BITS + 7) // 8
    if tables:
        coded: list[int] = []
        tables.encode(stream, positions, coded)
        sizes = np.minimum(sizes, coded)
    return sizes


def _check_tokens(stream: NDArray[np.uint16]) -> None:
    if stream.ndim != 1 or stream.size == 0:
        raise ValueError(f"tokens must be one sequence, not {stream.shape}")
    if not np.issubdtype(stream.dtype, np.integer):
        raise ValueError(f"tokens must be integers, not {stream.dtype}")
    if stream.min() < 0 or stream.max() >= CODEBOOK_SIZE:
        raise ValueError(f"tokens must be 0 to {CODEBOOK_SIZE - 1}")
