"""Which density of the tiles is best for so many bytes, and how pictures are scaled for it.

    python -m onedpiece.bench.ablations.density filters PICTURES...
    python -m onedpiece.bench.ablations.density seams PICTURES...
    python -m onedpiece.bench.ablations.density 4 PICTURES...  # densities up to 4
    python -m onedpiece.bench.ablations.density looks LPIPS PICTURES...

The first three code pictures in their own size, and decode them for the least error; PSNR of whole
files stands beside that of the best WebP and AVIF files of the same size. The last one scores
pictures of 256x256 pixels at realism 1; LPIPS is a folder of weights as for `odp bench rd`.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from PIL import Image

from onedpiece.bench import Protocol
from onedpiece.bench.codecs import Ladder, available
from onedpiece.bench.metrics import available as available_metrics
from onedpiece.bench.odp import Odp, from_pixels
from onedpiece.bench.protocol import read
from onedpiece.bench.tiling import seam_gradient
from onedpiece.codec import Codec
from onedpiece.constants import MAX_TOKENS, MAX_TOKENS_OF_PICTURE, TILE
from onedpiece.encoded_image import EncodedImage
from onedpiece.encoder import Encoder
from onedpiece.images.picture import Picture
from onedpiece.metrics import psnr
from onedpiece.models.registry import DEFAULT, find
from onedpiece.rate_control import Densities, Target
from onedpiece.runtime.onnx import OnnxRuntime
from onedpiece.tiles.grid import Grid
from onedpiece.tiles.join import join
from onedpiece.tiles.split import split

BYTES = (200, 250, 300, 350, 400, 500, 700, 900)  # for 256x256 pixels
CONVENTIONAL = ("webp", "avif")
TOKENS = (64, 128, 256)  # of each tile, where filters are compared
SEAM_TOKENS = (64, 160, 256)  # of each tile
LOOKS_BYTES, LOOKS_DENSITIES = (700, 900, 1400), (2, 3, 4)
LOOKS = ("psnr", "lpips_squeeze", "efficientnet_lite1")
UP = (Image.Resampling.BILINEAR, Image.Resampling.BICUBIC, Image.Resampling.LANCZOS)
DOWN = (Image.Resampling.BOX, Image.Resampling.HAMMING, *UP)


def sizes(pictures: list[np.ndarray], densities: Sequence[int]) -> None:
    """Print PSNR by bytes for each density, for rate control's choice and for other codecs."""
    codec, odp = Codec(device="cpu"), Odp(realism=0)
    formats = [known for known in available()[0] if known.name in CONVENTIONAL]
    ladders = {known.name: [Ladder(known, pixels) for pixels in pictures] for known in formats}
    columns = [*(f"density {density}" for density in densities), "rate control", *ladders]
    print(f"| bytes for 256x256 | {' | '.join(columns)} | bytes used | seams, density 2 |")
    print("|---" * (len(columns) + 3) + "|")
    for size in BYTES:
        limits = [size * pixels[..., 0].size // TILE**2 for pixels in pictures]
        images = {density: _images(codec, pictures, density, limits) for density in densities}
        decoded = {density: _decoded(codec, images[density]) for density in densities}
        cells = [_psnr_of(pictures, images[density], decoded[density]) for density in densities]
        files = [
            odp.encode(from_pixels(pixels), max_bytes=limit)
            for pixels, limit in zip(pictures, limits, strict=True)
        ]
        cells.append(_mean(pictures, odp.decode_many(files)))
        cells += [_conventional(ladder, pictures, limits) for ladder in ladders.values()]
        used = np.mean(
            [len(data) * size / limit for data, limit in zip(files, limits, strict=True)]
        )
        seams = _seams(pictures, decoded[2])
        print(f"| {size} | {' | '.join(cells)} | {used:.0f} | {seams:.2f} |", flush=True)


def _images(
    codec: Codec, pictures: list[np.ndarray], density: int, limits: list[int]
) -> list[EncodedImage]:
    """Pictures at one density, each within so many bytes."""
    measures = codec._measure_psnr, codec._estimate_psnr, codec._measure_errors
    runtime = codec._runtime(codec.model)
    encoder = Encoder(codec.model, runtime, runtime, codec.batch, *measures)
    usable = Densities((density,), crowded=1)
    return [
        encoder.encode([Picture(pixels, grey=False)], Target(max_bytes=limit), densities=usable)[0]
        for pixels, limit in zip(pictures, limits, strict=True)
    ]


def _decoded(codec: Codec, images: list[EncodedImage], realism: float = 0) -> list[np.ndarray]:
    return [picture.pixels for picture in codec.decode_pictures(images, realism=realism)]


def _psnr_of(
    pictures: list[np.ndarray], images: list[EncodedImage], decoded: list[np.ndarray]
) -> str:
    """PSNR of a density, in brackets if it has not enough tokens to fill the files."""
    score = _mean(pictures, decoded)
    most = [MAX_TOKENS * image.header.grid.count for image in images]
    short = any(image.allocation.total == full for image, full in zip(images, most, strict=True))
    return f"({score})" if short else score


def _conventional(ladders: list[Ladder], pictures: list[np.ndarray], limits: list[int]) -> str:
    """PSNR of the best files of another codec; "no file" unless all pictures have one."""
    best = [ladder.best(limit) for ladder, limit in zip(ladders, limits, strict=True)]
    decoded = [candidate.pixels for candidate in best if candidate is not None]
    return _mean(pictures, decoded) if len(decoded) == len(pictures) else "no file"


def _seams(pictures: list[np.ndarray], decoded: list[np.ndarray]) -> float:
    """Gradient across the seams of density 2 over that elsewhere, relative to the original's.

    1 means invisible.
    """
    ratios = [
        seam_gradient(other, TILE // 2) / seam_gradient(pixels, TILE // 2)
        for pixels, other in zip(pictures, decoded, strict=True)
    ]
    return float(np.mean(ratios))


def _doubled(pixels: np.ndarray) -> tuple[int, int]:
    return 2 * pixels.shape[1], 2 * pixels.shape[0]


def _mean(pictures: list[np.ndarray], decoded: list[np.ndarray]) -> str:
    scores = [psnr(pixels, other) for pixels, other in zip(pictures, decoded, strict=True)]
    return f"{np.mean(scores):.2f}"


def filters(pictures: list[np.ndarray]) -> None:
    """Print PSNR of density 2 by the filters that scale up and down."""
    runtime = OnnxRuntime(find(DEFAULT), "cpu")
    print(f"| up | down | {' | '.join(f'{count} tokens a tile' for count in TOKENS)} |")
    print("|---" * (len(TOKENS) + 2) + "|")
    for up in UP:
        scores: dict[tuple[Image.Resampling, int], list[float]] = {}
        for pixels in pictures:
            grid = Grid.filled(*_doubled(pixels))
            image = Image.fromarray(pixels)
            big = np.asarray(image.resize((grid.width, grid.height), up))
            tokens = runtime.encode(np.stack(list(split(big, grid))))
            for count in TOKENS:
                joined = Image.fromarray(join(iter(runtime.decode(tokens[:, :count], 0)), grid))
                for down in DOWN:
                    small = np.asarray(joined.resize(image.size, down))
                    scores.setdefault((down, count), []).append(psnr(pixels, small))
        for down in DOWN:
            cells = [f"{np.mean(scores[down, count]):.3f}" for count in TOKENS]
            print(f"| {up.name.lower()} | {down.name.lower()} | {' | '.join(cells)} |", flush=True)


def seams(pictures: list[np.ndarray]) -> None:
    """Print the gradient across seams for density 2 with the same tokens for every tile.

    Relative to the gradient elsewhere and to the original's; 1 means invisible.
    """
    codec = Codec(device="cpu")
    full = [
        codec.encode_pictures([Picture(p, grey=False)], MAX_TOKENS_OF_PICTURE) for p in pictures
    ]
    print("| tokens of each tile | gradient across seams |\n|---|---|")
    for count in SEAM_TOKENS:
        images = [
            image.truncate(count * image.header.grid.count // image.header.base_tiles)
            for (image,) in full
        ]
        print(f"| {count} | {_seams(pictures, _decoded(codec, images)):.2f} |", flush=True)


def looks(pictures: list[np.ndarray], lpips: Path) -> None:
    """Print scores at realism 1 of each density."""
    codec = Codec(device="cpu")
    metrics = [metric for metric in available_metrics(lpips)[0] if metric.name in LOOKS]
    print(f"| bytes | density | {' | '.join(metric.label for metric in metrics)} |")
    print("|---" * (len(metrics) + 2) + "|")
    for size in LOOKS_BYTES:
        for density in LOOKS_DENSITIES:
            images = _images(codec, pictures, density, [size] * len(pictures))
            pairs = list(zip(pictures, _decoded(codec, images, realism=1), strict=True))
            scores = [np.mean([metric.score(*pair) for pair in pairs]) for metric in metrics]
            cells = " | ".join(f"{score:.3f}" for score in scores)
            print(f"| {size} | {density} | {cells} |", flush=True)


def main(verb: str, paths: Sequence[Path]) -> None:
    """Print one of the tables."""
    if verb == "looks":
        lpips, *paths = paths
        looks([read(path, Protocol.paper).pixels for path in paths], lpips)
        return
    pictures = [read(path, Protocol.native).pixels for path in paths]
    if verb == "filters":
        filters(pictures)
    elif verb == "seams":
        seams(pictures)
    else:
        sizes(pictures, range(1, int(verb) + 1))


if __name__ == "__main__":
    main(sys.argv[1], list(map(Path, sys.argv[2:])))
