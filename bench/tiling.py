"""Choices of tiling by PSNR: overlap, padding of the last tiles, and the share of each tile."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image

from onedpiece.bench import Protocol
from onedpiece.bench.odp import Odp, from_pixels, truncate
from onedpiece.bench.protocol import read
from onedpiece.constants import MAX_TOKENS, TILE
from onedpiece.metrics import psnr
from onedpiece.models.registry import DEFAULT, find
from onedpiece.runtime.onnx import OnnxRuntime
from onedpiece.tiles.grid import Grid
from onedpiece.tiles.join import join
from onedpiece.tiles.split import split


@dataclass(frozen=True)
class Choices:
    """What is compared.

    overlaps:    of neighbouring tiles, in pixels.
    tokens:      per tile of the grid without overlap; grids with overlap share the same total.
    bytes:       per tile, of files with equal and with adaptive shares.
    small_sizes: (width, height) of pictures that do not fill their tiles, in pixels.
    """

    overlaps: Sequence[int] = (8, 16, 32, 64)
    tokens: Sequence[int] = (64, 256)
    bytes: Sequence[int] = (50, 100, 230)
    small_sizes: Sequence[tuple[int, int]] = ((180, 140), (300, 200))


PADDED_TOKENS = 64  # per tile, where paddings are compared
CORNER = 100  # pixels from the left and from the top at which small pictures are cropped


def tiling(paths: Iterable[Path], device: str, choices: Choices = Choices()) -> None:
    """Print tables over pictures of several tiles, decoded for the least error."""
    runtime = OnnxRuntime(find(DEFAULT), device)
    pictures = [read(path, Protocol.native).pixels for path in paths]
    _overlaps(runtime, pictures, choices)
    _adaptive(Odp(device=device, realism=0), pictures, choices.bytes)
    _paddings(runtime, pictures, choices.small_sizes)


def _overlaps(runtime: OnnxRuntime, pictures: list[np.ndarray], choices: Choices) -> None:
    print("overlap: PSNR and gradient across seams (1: as elsewhere), equal tokens in all")
    variants: dict[str, tuple[int, Callable[..., np.ndarray]]] = {
        "none": (0, _join_plain),
        "none, mended": (0, join),
    }
    variants |= {f"{overlap} pixels": (overlap, join) for overlap in choices.overlaps}
    for name, (overlap, join_tiles) in variants.items():
        cells = []
        for tokens in choices.tokens:
            scores = []
            for pixels in pictures:
                grid = _grid(pixels, overlap)
                counts = _shares(tokens * _grid(pixels, 0).count, grid.count)
                decoded = _code(runtime, split(pixels, grid), counts)
                picture = join_tiles(iter(decoded), grid)
                after, before = (
                    seam_gradient(image, grid.stride, overlap) for image in (picture, pixels)
                )
                ratio = after / before
                scores.append((psnr(pixels, picture), ratio))
            cells.append("{:.2f} dB {:.2f}".format(*np.mean(scores, 0)))
        print(f"  {name:14s} " + "   ".join(cells), flush=True)


def _adaptive(codec: Odp, pictures: list[np.ndarray], sizes: Sequence[int]) -> None:
    print(f"adaptive: PSNR of whole files of {tuple(sizes)} bytes for each tile, even and adapted")
    even, adapted = [], []
    for pixels in pictures:
        picture, tile_count = from_pixels(pixels), _grid(pixels, 0).count
        longest = codec.encode(picture, MAX_TOKENS)
        for max_bytes in (tile_count * size for size in sizes):
            file = truncate(longest, max_bytes=max_bytes)
            even.append(psnr(pixels, codec.decode(file)))
            file = codec.encode(picture, max_bytes=max_bytes)
            adapted.append(psnr(pixels, codec.decode(file)))
    for name, scores in (("even", even), ("adapted", adapted)):
        means = np.reshape(scores, (len(pictures), -1)).mean(0)
        print(f"  {name:14s} " + "  ".join(f"{mean:.2f} dB" for mean in means), flush=True)


def _paddings(
    runtime: OnnxRuntime, pictures: list[np.ndarray], sizes: Sequence[tuple[int, int]]
) -> None:
    print(
        f"smaller pictures: PSNR with {PADDED_TOKENS} tokens a tile, padded by mirroring or by "
        "repeating, or scaled to one tile"
    )
    for width, height in sizes:
        scores = []
        for pixels in pictures:
            crop = pixels[CORNER : CORNER + height, CORNER : CORNER + width]
            grid = _grid(crop, 0)
            padding = (0, grid.rows * TILE - height), (0, grid.columns * TILE - width), (0, 0)
            repeated = np.pad(crop, padding, "edge")
            variants = split(crop, grid), split(repeated, _grid(repeated, 0))
            counts = np.full(grid.count, PADDED_TOKENS)
            row = [
                psnr(crop, join(iter(_code(runtime, padded, counts)), grid)) for padded in variants
            ]
            row.append(psnr(crop, _scaled_to_one_tile(runtime, crop, PADDED_TOKENS * grid.count)))
            scores.append(row)
        means = "mirrored {:.2f}, repeated {:.2f}, scaled {:.2f} dB".format(*np.mean(scores, 0))
        print(f"  {width}x{height}: {means}", flush=True)


def _scaled_to_one_tile(runtime: OnnxRuntime, pixels: np.ndarray, tokens: int) -> np.ndarray:
    """uint8 (H, W, 3) -> the same picture, coded as a single tile of another size."""
    height, width = pixels.shape[:2]
    scaled = Image.fromarray(pixels).resize((TILE, TILE), Image.Resampling.BICUBIC)
    (tile,) = _code(runtime, [np.asarray(scaled)], np.array([tokens]))
    decoded = Image.fromarray(tile.round().clip(0, 255).astype(np.uint8))
    return np.asarray(decoded.resize((width, height), Image.Resampling.BICUBIC))


def seam_gradient(pixels: np.ndarray, stride: int, overlap: int = 0) -> float:
    """Mean absolute gradient across seams, or within overlaps, relative to that elsewhere.

    stride: pixels from one seam to the next.
    """
    at_seams, elsewhere = [], []
    for axis, size in enumerate(pixels.shape[:2]):
        steps = np.abs(np.diff(pixels.astype(float), axis=axis)).mean((1 - axis, 2))
        mask = np.zeros(size - 1, bool)
        for start in range(stride, size, stride):
            mask[start - 1 : start + overlap] = True
        at_seams.append(steps[mask])
        elsewhere.append(steps[~mask])
    return float(np.concatenate(at_seams).mean() / np.concatenate(elsewhere).mean())


def _grid(pixels: np.ndarray, overlap: int) -> Grid:
    return Grid(pixels.shape[1], pixels.shape[0], overlap)


def _shares(total: int, count: int) -> np.ndarray:
    """Tokens of each of `count` tiles, as equal as possible, the first tiles first."""
    return total // count + (np.arange(count) < total % count)


def _code(
    runtime: OnnxRuntime, tiles: Iterable[np.ndarray], counts: np.ndarray
) -> list[np.ndarray]:
    """Tiles, encoded and decoded with `counts` tokens: float32 (256, 256, 3) each."""
    tokens = runtime.encode(np.stack(list(tiles)))
    return [
        runtime.decode(row[None, :count], 0)[0] for row, count in zip(tokens, counts, strict=True)
    ]


def _join_plain(decoded: Iterable[np.ndarray], grid: Grid) -> np.ndarray:
    """Tiles side by side, without smoothing the seams between them."""
    picture = np.zeros((grid.rows * TILE, grid.columns * TILE, 3), np.uint8)
    for (x, y), tile in zip(grid.corners(), decoded, strict=True):
        picture[y : y + TILE, x : x + TILE] = tile.round().clip(0, 255)
    return picture[: grid.height, : grid.width]
