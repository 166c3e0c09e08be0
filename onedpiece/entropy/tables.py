"""Frequency tables of tokens, and entropy coding with them.

Codes are ranked by frequency, so that neighbours are about equally frequent. Therefore a table can
be short: it has one frequency for each group of ranks. The sizes of groups grow like the steps of
floating-point numbers: the ranks 0 to 15 have a group each, then there are eight groups of 2, eight
of 4, ... and eight of 256. In codebooks that are sorted by frequency, a code is its own rank.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from onedpiece.constants import CODEBOOK_SIZE, MAX_TOKENS
from onedpiece.entropy.range_coder import PRECISION, Cumulative, decode, encode

STEPS = 8
"""Number of consecutive groups of the same size."""

_EXPONENTS = [0, 0, *range(1, 9)]

GROUP_SIZES = np.repeat(1 << np.array(_EXPONENTS), STEPS)
"""Number of ranks in each group."""

GROUPS = len(GROUP_SIZES)
GROUP_OF = np.repeat(np.arange(GROUPS), GROUP_SIZES)
"""The group of each of the 4096 ranks."""

UNSEEN = 1 / 16  # the count of a code that never occurred

TOTAL = 1 << 16
"""Sum of the frequencies of all groups. A group's frequency is shared equally by its codes."""


class Tables:
    """The entropy tables of a model, one for each position of a token in its tile.

    frequencies: integers (blocks, GROUPS), at least 1; each row adds up to TOTAL.
    blocks: integers (blocks,), at least 1: the number of consecutive positions that use each row.
        They add up to 256.
    order: integers (blocks, 4096), the code of each rank; a code is its own rank if None.

    Raises ValueError for other arrays.
    """

    def __init__(
        self,
        frequencies: NDArray[np.integer],
        blocks: NDArray[np.integer],
        order: NDArray[np.integer] | None = None,
    ) -> None:
        for array, shape in (
            (blocks, frequencies.shape[:1]),
            (frequencies, (blocks.size, GROUPS)),
        ):
            if array.shape != shape or array.dtype.kind not in "iu" or array.min(initial=1) < 1:
                raise ValueError(f"{array.shape} {array.dtype} cannot be entropy tables")
        if blocks.sum() != MAX_TOKENS or (frequencies.sum(1, dtype=np.int64) != TOTAL).any():
            raise ValueError("the entropy tables do not add up")
        shares = frequencies.astype(np.int64) * ((1 << PRECISION) // TOTAL) // GROUP_SIZES
        rows = np.cumsum(shares[:, GROUP_OF], 1)
        self._least_bits = PRECISION - float(np.log2(shares.max()))
        self._rows: list[Cumulative] = [[0, *row] for row in rows.tolist()]
        self._row_of = np.repeat(np.arange(len(blocks), dtype=np.uint8), blocks)
        self._order = None if order is None else _checked_order(order, len(blocks))
        self._rank = None if self._order is None else self._order.argsort(1)

    def most(self, size: int) -> int:
        """An upper bound for the number of tokens in `size` bytes."""
        return int(8 * size / self._least_bits) + 1

    def encode(
        self,
        tokens: NDArray[np.integer],
        positions: NDArray[np.integer],
        sizes: list[int] | None = None,
    ) -> bytes:
        """Tokens (n,) of 0 to 4095, at positions (n,) of 0 to 255 in their tiles, to bytes.

        sizes: if given, the sizes in bytes of the first 1, 2, ... n tokens alone are appended.
        """
        ranks = tokens if self._rank is None else self._rank[self._row_of[positions], tokens]
        return encode(ranks.tolist(), self._along(positions), sizes)

    def decode(
        self, data: bytes, positions: NDArray[np.integer]
    ) -> tuple[NDArray[np.uint16], bool]:
        """Decode bytes, complete or truncated, to at most one token for each position.

        Returns the tokens (n,), and whether `encode` makes exactly these bytes of them. Raises
        InvalidStream for bytes that encode no tokens. Takes about a microsecond per token.
        """
        decoded, exact = decode(data, self._along(positions))
        ranks = np.frombuffer(decoded, np.uint16)
        if self._order is None:
            return ranks, exact
        return self._order[self._row_of[positions[: len(ranks)]], ranks], exact

    def _along(self, positions: NDArray[np.integer]) -> Iterator[Cumulative]:
        return map(self._rows.__getitem__, self._row_of[positions].tobytes())


def _checked_order(order: NDArray[np.integer], blocks: int) -> NDArray[np.uint16]:
    """The order as uint16. Raises ValueError if a row is no permutation of the codes."""
    codes = np.arange(CODEBOOK_SIZE)
    is_integer = order.dtype.kind in "iu"
    if not is_integer or order.shape != (blocks, codes.size) or (np.sort(order, 1) != codes).any():
        raise ValueError("a row of the order is not a permutation of the codes")
    return order.astype(np.uint16)


def frequencies(counts: NDArray[np.integer]) -> NDArray[np.int64]:
    """Counts of the codes by rank, (4096,), to frequencies of their groups, (GROUPS,).

    The frequencies are integers of at least 1 that add up to TOTAL.
    """
    groups = np.add.reduceat(counts, np.cumsum(GROUP_SIZES) - GROUP_SIZES) + UNSEEN * GROUP_SIZES
    exact = 1 + groups / groups.sum() * (TOTAL - GROUPS)
    rounded: NDArray[np.int64] = np.floor(exact).astype(np.int64)
    rounded[np.argsort(rounded - exact, kind="stable")[: TOTAL - rounded.sum()]] += 1
    return rounded


def bits(frequency: NDArray[np.integer]) -> NDArray[np.float64]:
    """Bits of the code of each rank, (4096,), given the frequencies of the groups, (GROUPS,)."""
    return -np.log2(frequency / TOTAL / GROUP_SIZES)[GROUP_OF]
