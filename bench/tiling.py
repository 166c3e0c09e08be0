"""How pictures are best cut into tiles: overlap, what fills the last tiles, and who gets the tokens."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path

import numpy as np
from PIL import Image

from onedpiece.bench import Protocol
from onedpiece.bench.metrics import psnr
from onedpiece.bench.protocol import read
from onedpiece.bitstream import Allocation, truncate
from onedpiece.codec import Codec
from onedpiece.models.registry import DEFAULT, find
from onedpiece.rate_control import Target
from onedpiece.runtime.onnx import OnnxRuntime
from onedpiece.tiles import join as tiles
from onedpiece.tiles.grid import TILE, Grid

OVERLAPS = (8, 16, 32, 64)
TOKENS = (64, 256)  # for each tile where tiles do not overlap; the same in all where they do
ADAPTED = (50, 100, 230)  # bytes
SMALL = ((180, 140), (300, 200))


def tiling(paths: Iterable[Path], device: str) -> None:
    """Print tables over a folder of pictures of several tiles, decoded without grain."""
    runtime = OnnxRuntime(find(DEFAULT), device, grain=0)
    pictures = [read(path, Protocol.native).pixels for path in paths]
    _overlaps(runtime, pictures)
    _adaptive(Codec(device=device, grain=0), pictures)
    _fillings(runtime, pictures)


def _overlaps(runtime: OnnxRuntime, pictures: list[np.ndarray]) -> None:
    print("overlap: PSNR and gradient across seams (1: as elsewhere), equal tokens in all")
    ways: dict[str, tuple[int, Callable]] = {"none": (0, _abut), "none, mended": (0, tiles.join)}
    ways |= {f"{overlap} pixels": (overlap, tiles.join) for overlap in OVERLAPS}
    for name, (overlap, join) in ways.items():
        told = []
        for tokens in TOKENS:
            scores = []
            for pixels in pictures:
                grid = _grid(pixels, overlap)
                total = tokens * _grid(pixels, 0).count
                counts = _counts(grid.count, Allocation(total))
                picture = join(iter(_coded(runtime, tiles.split(pixels, grid), counts)), grid)
                scores.append((psnr(pixels, picture), seam(picture, grid) / seam(pixels, grid)))
            told.append("{:.2f} dB {:.2f}".format(*np.mean(scores, 0)))
        print(f"  {name:14s} " + "   ".join(told), flush=True)


def _adaptive(codec: Codec, pictures: list[np.ndarray]) -> None:
    print(f"adaptive: PSNR of whole files of {ADAPTED} bytes for each tile, even and adapted")
    even, adapted = [], []
    for pixels in pictures:
        image, tile_count = Image.fromarray(pixels), _grid(pixels, 0).count
        whole = codec.encode(image)
        for size in (tile_count * one for one in ADAPTED):
            even.append(_psnr(codec, truncate(whole, max_bytes=size), pixels))
            adapted.append(_psnr(codec, codec.encode(image, Target(max_bytes=size)), pixels))
    for name, scores in (("even", even), ("adapted", adapted)):
        means = np.reshape(scores, (len(pictures), -1)).mean(0)
        print(f"  {name:14s} " + "  ".join(f"{mean:.2f} dB" for mean in means), flush=True)


def _psnr(codec: Codec, data: bytes, pixels: np.ndarray) -> float:
    return psnr(pixels, np.asarray(codec.decode(data)))


def _fillings(runtime: OnnxRuntime, pictures: list[np.ndarray]) -> None:
    print(
        "smaller pictures: PSNR with 64 tokens a tile, filled up by mirroring or repeating, or scaled to one tile"
    )
    for width, height in SMALL:
        scores = []
        for pixels in pictures:
            crop = pixels[100 : 100 + height, 100 : 100 + width]
            grid = _grid(crop, 0)
            repeated = np.pad(
                crop,
                ((0, grid.rows * TILE - height), (0, grid.columns * TILE - width), (0, 0)),
                "edge",
            )
            row = []
            for filled in (tiles.split(crop, grid), tiles.split(repeated, _grid(repeated, 0))):
                counts = np.full(grid.count, 64)
                row.append(psnr(crop, tiles.join(iter(_coded(runtime, filled, counts)), grid)))
            one = np.asarray(Image.fromarray(crop).resize((TILE, TILE), Image.Resampling.BICUBIC))
            (tile,) = _coded(runtime, [one], np.array([64 * grid.count]))
            small = Image.fromarray(tile.round().clip(0, 255).astype(np.uint8))
            row.append(
                psnr(crop, np.asarray(small.resize((width, height), Image.Resampling.BICUBIC)))
            )
            scores.append(row)
        told = "mirrored {:.2f}, repeated {:.2f}, scaled {:.2f} dB".format(*np.mean(scores, 0))
        print(f"  {width}x{height}: {told}", flush=True)


def seam(pixels: np.ndarray, grid: Grid) -> float:
    """Mean absolute gradient across the seams, or within the overlaps, over that of the rest."""
    borders, rest = [], []
    for axis, size, starts in (
        (0, grid.height, range(grid.stride, grid.height, grid.stride)),
        (1, grid.width, range(grid.stride, grid.width, grid.stride)),
    ):
        steps = np.abs(np.diff(pixels.astype(float), axis=axis)).mean((1 - axis, 2))
        at = np.zeros(size - 1, bool)
        for start in starts:
            at[start - 1 : start + grid.overlap] = True
        borders.append(steps[at])
        rest.append(steps[~at])
    return float(np.concatenate(borders).mean() / np.concatenate(rest).mean())


def _grid(pixels: np.ndarray, overlap: int) -> Grid:
    return Grid(pixels.shape[1], pixels.shape[0], overlap)


def _counts(count: int, allocation: Allocation) -> np.ndarray:
    tile, _ = allocation.sequence(count, allocation.total)
    return np.bincount(tile, minlength=count)


def _coded(runtime: OnnxRuntime, cut: Iterable[np.ndarray], counts: np.ndarray) -> list[np.ndarray]:
    """Tiles after encoding and decoding with so many tokens each."""
    known = runtime.encode(np.stack(list(cut)))
    return [
        runtime.decode(tokens[None, :count])[0] for tokens, count in zip(known, counts, strict=True)
    ]


def _abut(painted: Iterable[np.ndarray], grid: Grid) -> np.ndarray:
    """Tiles side by side, their edges as they are."""
    picture = np.zeros((grid.rows * TILE, grid.columns * TILE, 3), np.uint8)
    for (x, y), tile in zip(grid.corners(), painted, strict=True):
        picture[y : y + TILE, x : x + TILE] = tile.round().clip(0, 255)
    return picture[: grid.height, : grid.width]
