"""Cut a picture into tiles."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from PIL import Image

from onedpiece.constants import TILE
from onedpiece.tiles.grid import Grid


def scale(pixels: np.ndarray, width: int, height: int) -> np.ndarray:
    """uint8 (H, W, 3) -> uint8 (height, width, 3), bicubic, with antialiasing when reduced."""
    if pixels.shape[:2] == (height, width):
        return pixels
    image = Image.fromarray(pixels).resize((width, height), Image.Resampling.BICUBIC)
    return np.asarray(image)


def split(pixels: np.ndarray, grid: Grid) -> Iterator[np.ndarray]:
    """uint8 (H, W, 3) -> grid.count tiles uint8 (256, 256, 3), row by row.

    Beyond the right and lower edges, tiles are filled with the mirrored picture.
    """
    for x, y in grid.corners():
        if x + TILE <= grid.width and y + TILE <= grid.height:
            yield pixels[y : y + TILE, x : x + TILE]  # no copy
            continue
        yield pixels[_mirrored(y, grid.height)[:, None], _mirrored(x, grid.width)]


def _mirrored(start: int, size: int) -> np.ndarray:
    """Indices of 256 pixels from `start` on, along an axis of `size` pixels with mirrored ends."""
    period = max(1, 2 * (size - 1))
    index = np.arange(start, start + TILE) % period
    return np.minimum(index, period - index)
