"""Cut a picture into tiles, and blend decoded tiles into a picture."""

from __future__ import annotations

import numpy as np

from onedpiece.grid import TILE, Grid

WANTED_OVERLAP = 32
OVERLAP_STEP = 8


def free_overlap(width: int, height: int) -> int:
    """The largest overlap, up to 32 pixels, that needs no more tiles than none would."""
    fewest = Grid(width, height, 0).count
    overlaps = range(WANTED_OVERLAP, -1, -OVERLAP_STEP)
    return next(overlap for overlap in overlaps if Grid(width, height, overlap).count == fewest)


def split(pixels: np.ndarray, grid: Grid) -> np.ndarray:
    """uint8 (H, W, 3) -> tiles uint8 (grid.count, 256, 256, 3), row by row.

    What lies beyond the right and lower edges is the picture mirrored.
    """
    right, bottom = (max(corner) + TILE for corner in zip(*grid.corners(), strict=True))
    margins = ((0, bottom - grid.height), (0, right - grid.width), (0, 0))
    padded = np.pad(pixels, margins, mode="reflect")
    return np.stack([padded[y : y + TILE, x : x + TILE] for x, y in grid.corners()])


def join(tiles: np.ndarray, grid: Grid) -> np.ndarray:
    """Tiles float (grid.count, 256, 256, 3) in 0..255 -> picture uint8 (H, W, 3).

    Where tiles overlap, one fades into the other linearly; the weights of a pixel add up to 1.
    """
    canvas = np.zeros((grid.height, grid.width, 3), np.float32)
    for tile, (x, y) in zip(tiles, grid.corners(), strict=True):
        height, width = min(TILE, grid.height - y), min(TILE, grid.width - x)
        across = _fade(grid.overlap, x > 0, x + TILE < grid.width)[:width]
        down = _fade(grid.overlap, y > 0, y + TILE < grid.height)[:height]
        weight = (down[:, None] * across)[..., None]
        canvas[y : y + height, x : x + width] += weight * tile[:height, :width]
    return canvas.round().clip(0, 255).astype(np.uint8)


def _fade(overlap: int, before: bool, after: bool) -> np.ndarray:
    """Weights (256,) of a tile along one axis, given whether it has neighbours on either side."""
    weights = np.ones(TILE, np.float32)
    ramp = (np.arange(overlap, dtype=np.float32) + 0.5) / max(overlap, 1)
    if before:
        weights[:overlap] = ramp
    if after:
        weights[TILE - overlap :] = ramp[::-1]
    return weights
