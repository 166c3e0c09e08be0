"""The allocation: which tile each token of a payload belongs to.

All tiles have the same number of tokens, or tiles with more detail have more.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from onedpiece.bitstream.bits import BitReader, BitWriter, OutOfBits
from onedpiece.bitstream.checksum import crc8
from onedpiece.constants import MAX_TOKENS
from onedpiece.errors import DamagedFile

INTERVALS = (
    *(65536, 46341, 32768, 23170, 16384, 11585, 8192, 5793),
    *(4096, 2896, 2048, 1448, 1024, 724, 512, 362),
)
"""Distance between two tokens of a tile, for each level. It halves every two levels."""

LEVELS = len(INTERVALS)
STEPS_PER_OCTAVE = 2
"""The number of tokens of a tile doubles every STEPS_PER_OCTAVE levels."""
_DROPPED_ORDER = 1
_TOP_LEVEL = LEVELS - 1


@dataclass(frozen=True)
class Allocation:
    """How the tokens of a file are shared out among its tiles.

    total:  tokens of all tiles together in the complete file, 1 to 256 for each tile.
    levels: a level for each tile, 0 to 15, or None if all tiles are alike. With each level, a
            tile gets about sqrt(2) times as many tokens.

    Raises ValueError for levels out of range.
    """

    total: int
    levels: tuple[int, ...] | None = None

    def __post_init__(self) -> None:
        if self.levels is not None and not all(0 <= level < LEVELS for level in self.levels):
            raise ValueError(f"levels must be 0 to {LEVELS - 1}")

    def is_plain(self, tiles: int) -> bool:
        """Whether all tiles have the same number of tokens, so that a file needs no allocation."""
        return self.levels is None and self.total % tiles == 0

    def pack(self, tiles: int) -> bytes:
        """The allocation as a section of a file, including its checksum."""
        bits = BitWriter()
        bits.write_exp_golomb(-self.total % tiles, _DROPPED_ORDER)
        bits.write(self.levels is not None, 1)
        previous = _TOP_LEVEL
        for level in self.levels or ():
            step = level - previous
            bits.write_exp_golomb(2 * abs(step) - (step > 0), 0)
            previous = level
        data = bits.getvalue()
        return data + bytes([crc8(data)])

    @classmethod
    def unpack(
        cls, data: bytes, start: int, tiles: int, tokens_per_tile: int
    ) -> tuple[Allocation, int]:
        """The allocation at byte `start`, and the position of the first byte after it.

        tokens_per_tile: the number in the header: the mean of all tiles, rounded up.

        Raises DamagedFile if it is truncated, breaks a rule or its checksum does not match.
        """
        try:
            allocation, end = cls._read(BitReader(data, start), tiles, tokens_per_tile)
        except OutOfBits as error:
            raise DamagedFile("the allocation of tokens is truncated") from error
        redundant = allocation.is_plain(tiles) or (tiles == 1 and allocation.levels is not None)
        if redundant or allocation.total < tiles or allocation.pack(tiles) != data[start:end]:
            raise DamagedFile("the allocation of tokens is damaged")
        return allocation, end

    @classmethod
    def _read(cls, bits: BitReader, tiles: int, tokens_per_tile: int) -> tuple[Allocation, int]:
        dropped = bits.read_exp_golomb(_DROPPED_ORDER)
        levels = None
        if bits.read(1):
            level, all_levels = _TOP_LEVEL, []
            for _ in range(tiles):
                number = bits.read_exp_golomb(0)
                level += (number + 1) // 2 if number % 2 else -(number // 2)
                all_levels.append(level)
            if not 0 <= min(all_levels) <= max(all_levels) < LEVELS:
                raise DamagedFile("the allocation of tokens is damaged: there is no such level")
            levels = tuple(all_levels)
        if dropped >= tiles:
            raise DamagedFile("the allocation of tokens is damaged: it drops too many tokens")
        bits.align()
        bits.read(8)
        return cls(tokens_per_tile * tiles - dropped, levels), bits.position // 8

    def sequence(self, tiles: int, arrived: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """The tile of each of the first `arrived` tokens of the payload, and its position there.

        Returns two arrays (arrived,).

        Token p of a tile has the time p * INTERVALS[level]. The payload is sorted by time; tokens
        of the same time are in the order of their tiles.
        Time and memory grow with `arrived` and with the number of tiles.
        """
        if self.levels is None:
            index = np.arange(arrived)
            return index % tiles, index // tiles
        intervals = np.array(INTERVALS)[np.array(self.levels)]
        counts = np.minimum(_time_of(intervals, arrived) // intervals + 1, MAX_TOKENS)
        tile = np.repeat(np.arange(tiles), counts)
        position = np.arange(len(tile)) - np.repeat(counts.cumsum() - counts, counts)
        first = np.argsort(position * intervals[tile], kind="stable")[:arrived]
        return tile[first], position[first]


def _time_of(intervals: NDArray[np.int64], arrived: int) -> int:
    """The earliest time up to which there are at least `arrived` tokens."""
    early, late = -1, (MAX_TOKENS - 1) * INTERVALS[0]
    while late - early > 1:
        middle = (early + late) // 2
        if np.minimum(middle // intervals + 1, MAX_TOKENS).sum() >= arrived:
            late = middle
        else:
            early = middle
    return late
