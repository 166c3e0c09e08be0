"""Tokens as 12-bit numbers: the first token of every tile, then the second of every tile, ..."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from onedpiece.errors import DamagedFile

TOKEN_BITS = 12
CODEBOOK_SIZE = 1 << TOKEN_BITS
"""Tokens are 0 to CODEBOOK_SIZE - 1."""


def pack_tokens(tokens: NDArray[np.uint16]) -> bytes:
    """The payload that holds `tokens`, an integer array (tiles, tokens per tile) of 0 to 4095.

    Raises ValueError for another shape, type or range.
    """
    _check_tokens(tokens)
    stream = tokens.T.ravel().astype(np.uint16)
    if len(stream) % 2:
        stream = np.append(stream, np.uint16(0))
    first, second = stream[0::2], stream[1::2]
    triples = np.empty((len(first), 3), np.uint8)
    triples[:, 0] = first >> 4
    triples[:, 1] = (first & 0xF) << 4 | second >> 8
    triples[:, 2] = second & 0xFF
    return triples.tobytes()[: payload_size(tokens.size)]


def unpack_tokens(
    data: bytes, tiles: int, count: int
) -> tuple[NDArray[np.uint16], NDArray[np.int64]]:
    """The tokens that are completely there in a payload that may be cut.

    data: the payload, everything to the end of the file.
    tiles, count: number of tiles, and of tokens per tile in the complete payload; at least 1.

    Returns (tokens, counts). tokens is (tiles, positions), where positions is the number of places
    at which at least one tile has its token; tokens that did not arrive are 0. counts is (tiles,):
    tile i has its first counts[i] tokens. Memory grows with the tiles and the data, not with
    `count`.

    Raises DamagedFile for bytes after a complete payload and for padding that is not zero.
    """
    total = tiles * count
    if len(data) > payload_size(total):
        raise DamagedFile("there are bytes after the last token")
    arrived = min(total, 8 * len(data) // TOKEN_BITS)
    if arrived == total and total % 2 and data[-1] & 0xF:
        raise DamagedFile("the padding after the last token is not zero")

    positions = -(-arrived // tiles)  # rounded up
    token_major = np.zeros(positions * tiles, np.uint16)
    token_major[:arrived] = _unpack_stream(data, arrived)
    tokens = np.ascontiguousarray(token_major.reshape(positions, tiles).T)
    counts = arrived // tiles + (np.arange(tiles) < arrived % tiles).astype(np.int64)
    return tokens, counts


def payload_size(tokens: int) -> int:
    """Bytes that this many tokens take together."""
    return (tokens * TOKEN_BITS + 7) // 8


def _unpack_stream(data: bytes, tokens: int) -> NDArray[np.uint16]:
    """The first `tokens` numbers of 12 bits in `data`."""
    # Whole triples only, so that a trailing half pair (or half token) is filled up with zeros.
    octets = np.zeros(-(-len(data) // 3) * 3, np.uint16)
    octets[: len(data)] = np.frombuffer(data, np.uint8)
    triples = octets.reshape(-1, 3)
    pairs = np.empty((len(triples), 2), np.uint16)
    pairs[:, 0] = triples[:, 0] << 4 | triples[:, 1] >> 4
    pairs[:, 1] = (triples[:, 1] & 0xF) << 8 | triples[:, 2]
    return pairs.ravel()[:tokens]


def _check_tokens(tokens: NDArray[np.uint16]) -> None:
    if tokens.ndim != 2 or tokens.size == 0:
        raise ValueError(f"tokens must be (tiles, tokens per tile), not {tokens.shape}")
    if not np.issubdtype(tokens.dtype, np.integer):
        raise ValueError(f"tokens must be integers, not {tokens.dtype}")
    if tokens.min() < 0 or tokens.max() >= CODEBOOK_SIZE:
        raise ValueError(f"tokens must be 0 to {CODEBOOK_SIZE - 1}")
