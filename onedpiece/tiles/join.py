"""Join decoded tiles to a picture, without visible seams."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import numpy as np

from onedpiece.constants import TILE
from onedpiece.tiles.grid import Grid


@dataclass(frozen=True)
class Seam:
    """How the step at a seam is corrected.

    smooth: weights of neighbouring pixels along the seam, in a mean of the step; odd in number.
    reach:  pixels on either side of the seam that are corrected.
    """

    smooth: tuple[int, ...]
    reach: int


SMOOTH = Seam((1,) * 7, 12)
SMOOTH_FINE = Seam((1,) * 11, 12)  # textures are wider at densities above 1
# Pictures that look real have sharp edges, which a narrow mean follows.
SHARP = Seam((1, 2, 3, 2, 1), 8)


def join(
    tiles: Iterable[np.ndarray], grid: Grid, density: int = 1, *, sharp: bool = False
) -> np.ndarray:
    """grid.count tiles, float (256, 256, 3) in 0..255, row by row -> picture uint8 (H, W, 3).

    density: pixels of the tiles for each pixel of the picture, along each side.
    sharp: the tiles are from a decoder of pictures that look real.

    Tiles that overlap are cross-faded. Between tiles that do not overlap, the step is smoothed.
    Besides the picture, only two rows of tiles are in memory, as float.
    """
    seam = SHARP if sharp else SMOOTH if density == 1 else SMOOTH_FINE
    bands = _bands(iter(tiles), grid, seam)
    return _blend(bands, grid) if grid.overlap else _deblock_bands(bands, grid, seam)


def _bands(tiles: Iterator[np.ndarray], grid: Grid, seam: Seam) -> Iterator[np.ndarray]:
    """Rows of tiles, each joined to a band, float32 (256, W, 3)."""
    for _ in range(grid.rows):
        band = np.zeros((TILE, grid.width, 3), np.float32)
        for column in range(grid.columns):
            x = column * grid.stride
            width = min(TILE, grid.width - x)
            across = _fade(grid.overlap, column > 0, column < grid.columns - 1)[:width]
            band[:, x : x + width] += across[:, None] * next(tiles)[:, :width]
        if not grid.overlap:
            for column in range(1, grid.columns):
                _deblock(band.transpose(1, 0, 2), column * TILE, seam)
        yield band


def _blend(bands: Iterator[np.ndarray], grid: Grid) -> np.ndarray:
    """Bands that overlap -> picture, by a linear cross-fade whose weights add up to 1."""
    picture = np.empty((grid.height, grid.width, 3), np.uint8)
    above = np.zeros((grid.overlap, grid.width, 3), np.float32)
    for row, band in enumerate(bands):
        last = row == grid.rows - 1
        band = band * _fade(grid.overlap, row > 0, not last)[:, None, None]
        band[: grid.overlap] += above
        above = band[grid.stride :]
        _write_rows(picture, row * grid.stride, band if last else band[: grid.stride])
    return picture


def _deblock_bands(bands: Iterator[np.ndarray], grid: Grid, seam: Seam) -> np.ndarray:
    """Bands that do not overlap -> picture."""
    picture = np.empty((grid.height, grid.width, 3), np.uint8)
    upper = next(bands)  # its lower edge is corrected together with the next band
    for row, band in enumerate(bands, 1):
        both = np.concatenate((upper, band))
        _deblock(both, TILE, seam)
        _write_rows(picture, (row - 1) * TILE, both[:TILE])
        upper = both[TILE:]
    _write_rows(picture, (grid.rows - 1) * TILE, upper)
    return picture


def _write_rows(picture: np.ndarray, top: int, band: np.ndarray) -> None:
    """Round a band into the picture from row `top` on; rows below the picture are dropped."""
    height = min(len(band), len(picture) - top)
    picture[top : top + height] = band[:height].round().clip(0, 255)


def _deblock(picture: np.ndarray, edge: int, seam: Seam) -> None:
    """Smooth the seam between row edge - 1 and row `edge` of float (H, W, 3), in place.

    The step is the difference of the rows at the seam, less the slope next to them. Its mean over
    some pixels along the seam is the error of the tiles. Half of the error is removed on either
    side, with a weight that falls with the distance from the seam. The rest of the step is texture
    and is kept.
    """
    below_reach = min(seam.reach, len(picture) - edge)
    second_above, above, below = picture[edge - 2], picture[edge - 1], picture[edge]
    slope = (
        (above - second_above)
        if below_reach < 2
        else ((above - second_above) + (picture[edge + 1] - below)) / 2
    )
    half = _mean_along(below - above - slope, seam.smooth) / 2
    distance = (np.arange(seam.reach, dtype=np.float32) + 0.5) / seam.reach
    ramp = (1 - distance)[:, None, None]
    picture[edge - seam.reach : edge] += half * ramp[::-1]
    picture[edge : edge + below_reach] -= half * ramp[:below_reach]


def _mean_along(line: np.ndarray, weights: tuple[int, ...]) -> np.ndarray:
    """Weighted moving average of (W, 3); the ends are repeated."""
    around = len(weights) // 2
    padded = np.pad(line, ((around, around), (0, 0)), "edge")
    windows = np.lib.stride_tricks.sliding_window_view(padded, len(weights), axis=0)
    mean: np.ndarray = windows @ (np.array(weights, np.float32) / sum(weights))
    return mean


def _fade(overlap: int, before: bool, after: bool) -> np.ndarray:
    """Weights (256,) of a tile along one axis, given whether it has neighbours on either side."""
    weights = np.ones(TILE, np.float32)
    ramp = (np.arange(overlap, dtype=np.float32) + 0.5) / max(overlap, 1)
    if before:
        weights[:overlap] = ramp
    if after:
        weights[TILE - overlap :] = ramp[::-1]
    return weights
