"""Where the tiles of a picture lie."""

from __future__ import annotations

from dataclasses import dataclass

from onedpiece.constants import TILE

MAX_SCALED = 2048
"""Longest side, in pixels, of pictures that are scaled to fill their tiles."""

SLACK = TILE // 4  # pixels; a side that exceeds its tiles by more gets another tile


@dataclass(frozen=True)
class Grid:
    """The tiles that cover a picture at native resolution.

    Tiles are `TILE` x `TILE` pixels and neighbours share `overlap` pixels. The last column and the
    last row may reach past the edge of the picture; `split` fills that margin.

    width, height: size of the picture in pixels, at least 1.
    overlap: pixels that two neighbouring tiles share, 0 to TILE - 1.

    Raises ValueError for numbers outside these ranges.
    """

    width: int
    height: int
    overlap: int

    def __post_init__(self) -> None:
        if self.width < 1 or self.height < 1:
            raise ValueError(f"a picture has at least 1x1 pixels, not {self.width}x{self.height}")
        if not 0 <= self.overlap < TILE:
            raise ValueError(f"overlap must be 0 to {TILE - 1} pixels, not {self.overlap}")

    @property
    def stride(self) -> int:
        """Pixels from the start of one tile to the start of the next."""
        return TILE - self.overlap

    @property
    def columns(self) -> int:
        """Number of tiles side by side."""
        return self._tiles_along(self.width)

    @property
    def rows(self) -> int:
        """Number of tiles one below the other."""
        return self._tiles_along(self.height)

    @property
    def count(self) -> int:
        """Total number of tiles."""
        return self.columns * self.rows

    def corners(self) -> list[tuple[int, int]]:
        """(x, y) of the top left pixel of every tile, row by row from the top left."""
        return [
            (column * self.stride, row * self.stride)
            for row in range(self.rows)
            for column in range(self.columns)
        ]

    def valid_sizes(self) -> list[tuple[int, int]]:
        """Width and height of the part of each tile that is in the picture, in pixels."""
        return [(min(TILE, self.width - x), min(TILE, self.height - y)) for x, y in self.corners()]

    @classmethod
    def filled(cls, width: int, height: int) -> Grid:
        """The tiles, without overlap, that a picture is scaled to fill.

        width, height: size of the picture in pixels, at least 1. A side becomes smaller by at most
        a fifth, or larger.
        """
        columns, rows = (max(1, -(-(side - SLACK) // TILE)) for side in (width, height))
        return cls(columns * TILE, rows * TILE, 0)

    def _tiles_along(self, size: int) -> int:
        if size <= TILE:
            return 1
        return -(-(size - self.overlap) // self.stride)  # rounded up
