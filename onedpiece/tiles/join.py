"""Cut a picture into tiles, and make a picture of decoded tiles whose seams do not show."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import numpy as np
from PIL import Image

from onedpiece.tiles.grid import TILE, Grid

REACH = 12  # pixels on either side of a seam that mending changes
SMOOTH = 7  # pixels along the seam that are mended alike


def scale(pixels: np.ndarray, width: int, height: int) -> np.ndarray:
    """uint8 (H, W, 3) -> uint8 (height, width, 3), bicubic, antialiased where it gets smaller."""
    if pixels.shape[:2] == (height, width):
        return pixels
    image = Image.fromarray(pixels).resize((width, height), Image.Resampling.BICUBIC)
    return np.asarray(image)


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

    Where tiles overlap, one fades into the other; where they only meet, their edges are mended.
    Beside the picture, only two rows of tiles are held as float.
    """
    bands = _bands(iter(tiles), grid)
    return _blend(bands, grid) if grid.overlap else _mend_bands(bands, grid)


def _bands(tiles: Iterator[np.ndarray], grid: Grid) -> Iterator[np.ndarray]:
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
                _mend(band.transpose(1, 0, 2), column * TILE)
        yield band


def _blend(bands: Iterator[np.ndarray], grid: Grid) -> np.ndarray:
    """Bands that overlap -> picture: a linear cross-fade whose weights add up to 1."""
    picture = np.empty((grid.height, grid.width, 3), np.uint8)
    above = np.zeros((grid.overlap, grid.width, 3), np.float32)
    for row, band in enumerate(bands):
        last = row == grid.rows - 1
        band = band * _fade(grid.overlap, row > 0, not last)[:, None, None]
        band[: grid.overlap] += above
        above = band[grid.stride :]
        _put(picture, row * grid.stride, band if last else band[: grid.stride])
    return picture


def _mend_bands(bands: Iterator[np.ndarray], grid: Grid) -> np.ndarray:
    """Bands that only meet -> picture."""
    picture = np.empty((grid.height, grid.width, 3), np.uint8)
    waiting = next(bands)  # its lower edge is mended when the next band is there
    for row, band in enumerate(bands, 1):
        # A last band may be lower than mending reaches; what it shows of itself is mended all the same.
        both = np.concatenate((waiting, band))
        _mend(both, TILE)
        _put(picture, (row - 1) * TILE, both[:TILE])
        waiting = both[TILE:]
    _put(picture, (grid.rows - 1) * TILE, waiting)
    return picture


def _put(picture: np.ndarray, top: int, band: np.ndarray) -> None:
    """Round a band into the picture from row `top` on; what lies below the picture is dropped."""
    height = min(len(band), len(picture) - top)
    picture[top : top + height] = band[:height].round().clip(0, 255)


def _mend(picture: np.ndarray, seam: int) -> None:
    """Take the step out of a seam between row seam - 1 and row `seam` of float (H, W, 3), in place.

    The step is what the edge rows differ by beyond the slope on both sides of them. Its mean over SMOOTH pixels along
    the seam is what the tiles disagree in; half of it is taken from either side, less and less away from the seam. What
    else there is of a step is texture, and stays.
    """
    reach = min(REACH, len(picture) - seam)
    far, above, below = picture[seam - 2], picture[seam - 1], picture[seam]
    slope = (above - far) if reach < 2 else ((above - far) + (picture[seam + 1] - below)) / 2
    half = _smooth(below - above - slope) / 2
    ramp = (1 - (np.arange(REACH, dtype=np.float32) + 0.5) / REACH)[:, None, None]
    picture[seam - REACH : seam] += half * ramp[::-1]
    picture[seam : seam + reach] -= half * ramp[:reach]


def _smooth(line: np.ndarray) -> np.ndarray:
    """Moving average over SMOOTH pixels of (W, 3); the ends are repeated."""
    padded = np.pad(line, ((SMOOTH // 2, SMOOTH // 2), (0, 0)), "edge")
    windows = np.lib.stride_tricks.sliding_window_view(padded, SMOOTH, axis=0)
    return windows.mean(-1, dtype=np.float32)


def _fade(overlap: int, before: bool, after: bool) -> np.ndarray:
    """Weights (256,) of a tile along one axis, given whether it has neighbours on either side."""
    weights = np.ones(TILE, np.float32)
    ramp = (np.arange(overlap, dtype=np.float32) + 0.5) / max(overlap, 1)
    if before:
        weights[:overlap] = ramp
    if after:
        weights[TILE - overlap :] = ramp[::-1]
    return weights
