"""How many tokens a picture gets, and which of its tiles get more of them."""

from __future__ import annotations

import operator
from dataclasses import dataclass

import numpy as np

from onedpiece.bitstream import LEVELS, MAX_TOKENS
from onedpiece.tiles.grid import TILE, Grid

CELL = 16  # what is finer than cells of so many pixels is what tokens are spent on
SMALLEST_ERROR = 5.0  # squared; a flat tile needs some tokens too
EXPONENT = 0.7  # tokens grow with this power of the error, as measured (docs/format.md)
NO_LIMIT = 1 << 62  # bytes
STEPS_PER_OCTAVE = 2  # of `bitstream.allocation.INTERVALS`


@dataclass(frozen=True)
class Target:
    """What an encoded picture is to have: exactly one of the first four.

    tokens:    tokens for each tile, 1 to 256; with `adaptive` their mean.
    max_bytes: size of the whole file at most; as large as possible below.
    bpp:       the same, as bits per pixel.
    psnr:      decibels at least, over RGB; with as few tokens as possible.
    adaptive:  give more tokens to tiles that have more detail; always so for the last three.

    Raises ValueError if not exactly one is given or one is out of range, TypeError for what is no number.
    """

    tokens: int | None = None
    max_bytes: int | None = None
    bpp: float | None = None
    psnr: float | None = None
    adaptive: bool = False

    def __post_init__(self) -> None:
        for name in ("tokens", "max_bytes"):
            if getattr(self, name) is not None:  # whole numbers of numpy, too
                object.__setattr__(self, name, operator.index(getattr(self, name)))
        given = (self.tokens, self.max_bytes, self.bpp, self.psnr)
        if sum(value is not None for value in given) != 1:
            raise ValueError("give exactly one of tokens, max_bytes, bpp and psnr")
        if self.tokens is not None and not 1 <= self.tokens <= MAX_TOKENS:
            raise ValueError(f"tokens per tile must be 1 to {MAX_TOKENS}")
        if not all(value is None or 0 < value < float("inf") for value in given):
            raise ValueError("a target must be a number above 0")
        if self.tokens is None:
            object.__setattr__(self, "adaptive", True)

    def bytes_for(self, pixels: int) -> int | None:
        """Size of the file that `max_bytes` or `bpp` allows for a picture of so many pixels; None for other targets."""
        if self.bpp is None:
            return self.max_bytes
        return int(min(self.bpp * pixels / 8, NO_LIMIT))


def detail(tile: np.ndarray, width: int, height: int) -> float:
    """What the first tokens of a tile leave over, about: squared error of means of cells, summed over what shows.

    tile: uint8 (256, 256, 3), of which the upper left width x height pixels are in the picture.
    """
    cells = tile.reshape(TILE // CELL, CELL, TILE // CELL, CELL, 3).astype(np.float32)
    error = float(((cells - cells.mean((1, 3), keepdims=True)) ** 2).mean())
    return (error + SMALLEST_ERROR) * min(1.0, width / TILE) * min(1.0, height / TILE)


def levels(details: list[float]) -> tuple[int, ...] | None:
    """Levels of an `Allocation` for tiles of the given `detail`; None if they come out alike or there are none."""
    if not details:
        return None
    octaves = EXPONENT * np.log2(np.array(details))
    steps = np.round(STEPS_PER_OCTAVE * octaves).astype(int)
    steps += LEVELS - 1 - steps.max()
    found = tuple(int(step) for step in steps.clip(min=0))
    return None if len(set(found)) == 1 else found


def shown(grid: Grid) -> list[tuple[int, int]]:
    """Width and height of what each tile shows of the picture."""
    return [(min(TILE, grid.width - x), min(TILE, grid.height - y)) for x, y in grid.corners()]
