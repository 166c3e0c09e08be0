"""Cut a picture into tiles, and blend decoded tiles into a picture."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import numpy as np

from onedpiece.grid import TILE, Grid

WANTED_OVERLAP = 32
OVERLAP_STEP = 8


def free_overlap(width: int, height: int) -> int:
    """The largest overlap, up to 32 pixels, that needs no more tiles than none would."""
    fewest = Grid(width, height, 0).count
    overlaps = range(WANTED_OVERLAP, -1, -OVERLAP_STEP)
    return next(overlap for overlap in overlaps if Grid(width, height, overlap).count == fewest)


def split(pixels: np.ndarray, grid: Grid) -> Iterator[np.ndarray]:
    """uint8 (H, W, 3) -> grid.count tiles uint8 (256, 256, 3), row by row.

    What lies beyond the right and lower edges is the picture mirrored.
    """
    for x, y in grid.corners():
        yield pixels[_mirrored(y, grid.height)[:, None], _mirrored(x, grid.width)]


def _mirrored(start: int, size: int) -> np.ndarray:
    """Where the 256 pixels from `start` on are taken from, along an axis of `size` pixels that ends in mirrors."""
    period = max(1, 2 * (size - 1))
    place = np.arange(start, start + TILE) % period
    return np.minimum(place, period - place)


def join(tiles: Iterable[np.ndarray], grid: Grid) -> np.ndarray:
    """grid.count tiles, float (256, 256, 3) in 0..255, row by row -> picture uint8 (H, W, 3).

    Where tiles overlap, one fades into the other linearly; the weights of a pixel add up to 1.
    Beside the picture, only one row of tiles is held as float.
    """
    picture = np.empty((grid.height, grid.width, 3), np.uint8)
    band = np.zeros((TILE, grid.width, 3), np.float32)
    for (x, y), tile in zip(grid.corners(), tiles, strict=True):
        width = min(TILE, grid.width - x)
        across = _fade(grid.overlap, x > 0, x + TILE < grid.width)[:width]
        down = _fade(grid.overlap, y > 0, y + TILE < grid.height)
        band[:, x : x + width] += (down[:, None] * across)[..., None] * tile[:, :width]
        if x + TILE >= grid.width:
            finished = min(grid.stride if y + TILE < grid.height else TILE, grid.height - y)
            picture[y : y + finished] = band[:finished].round().clip(0, 255)
            # What overlaps the next row waits for it.
            band[: grid.overlap] = band[grid.stride :]
            band[grid.overlap :] = 0
    return picture


def _fade(overlap: int, before: bool, after: bool) -> np.ndarray:
    """Weights (256,) of a tile along one axis, given whether it has neighbours on either side."""
    weights = np.ones(TILE, np.float32)
    ramp = (np.arange(overlap, dtype=np.float32) + 0.5) / max(overlap, 1)
    if before:
        weights[:overlap] = ramp
    if after:
        weights[TILE - overlap :] = ramp[::-1]
    return weights
