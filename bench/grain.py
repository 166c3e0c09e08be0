"""What grain costs and gains, and whether it is a pattern: python -m onedpiece.bench.grain PICTURES LPIPS

PICTURES: a folder; LPIPS: the folder of weights that `odp bench rd --lpips` takes.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from PIL import Image

from onedpiece.bench.metrics import available
from onedpiece.bench.protocol import Protocol, read
from onedpiece.codec import Codec
from onedpiece.tiles.grid import TILE

LENGTHS = (16, 64, 128, 256)
AMOUNTS = (0.0, 0.5, 1.0)
PERIODS = (4, 8, 16, 32)
SCORES = ("psnr", "ssim", "lpips_squeeze")


def main(folder: Path, lpips: Path) -> None:
    """Print two tables over the central squares of all pictures: scores by amount of grain, and what of it repeats."""
    pictures = [read(path, Protocol.paper).pixels for path in sorted(folder.iterdir())]
    metrics = [metric for metric in available(lpips)[0] if metric.name in SCORES]
    codecs = {amount: Codec(grain=amount) for amount in AMOUNTS}
    files = codecs[0.0].encode_many([Image.fromarray(pixels) for pixels in pictures])
    print(f"| tokens | grain | {' | '.join(metric.name for metric in metrics)} |")
    print("|---" * (2 + len(metrics)) + "|")
    repeated = {}
    for tokens in LENGTHS:
        decoded = {
            amount: [np.asarray(image) for image in codec.decode_many(files, tokens)]
            for amount, codec in codecs.items()
        }
        for amount, images in decoded.items():
            pairs = list(zip(pictures, images, strict=True))
            means = [np.mean([metric.score(*pair) for pair in pairs]) for metric in metrics]
            print(f"| {tokens} | {amount:g} | {' | '.join(f'{mean:.3f}' for mean in means)} |")
        detail = np.stack(decoded[1.0]).astype(np.float32) - np.stack(decoded[0.0])
        repeated[tokens] = list(_repeated(detail.mean(3)))
    titles = [f"every {period} pixels" for period in PERIODS] + ["in all pictures"]
    print(f"\n| tokens | {' | '.join(titles)} |")
    print("|---" * (1 + len(titles)) + "|")
    for tokens, shares in repeated.items():
        print(f"| {tokens} | {' | '.join(shares)} |")


def _repeated(detail: np.ndarray) -> Iterator[str]:
    """Of detail (N, 256, 256), the share of its energy that is the same everywhere, and what chance would give."""
    energy = np.square(detail).mean()
    for period in PERIODS:
        cells = TILE // period
        within = detail.reshape(-1, cells, period, cells, period).mean((1, 3))
        yield f"{np.square(within).mean() / energy:.2%} ({1 / cells**2:.2%})"
    yield f"{np.square(detail.mean(0)).mean() / energy:.1%} ({1 / len(detail):.1%})"


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
