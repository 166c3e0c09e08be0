"""What grain costs and gains by several metrics, and whether it is a repeating pattern.

    python -m onedpiece.bench.ablations.grain FOLDER LPIPS

FOLDER holds pictures; LPIPS is the folder of weights that `odp bench rd --lpips` reads.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from onedpiece.bench import Protocol
from onedpiece.bench.metrics import Metric, available
from onedpiece.bench.odp import Odp
from onedpiece.bench.protocol import read
from onedpiece.constants import TILE

LENGTHS = (16, 64, 128, 256)
AMOUNTS = (0.0, 0.5, 1.0)
PERIODS = (4, 8, 16, 32)  # pixels
METRICS = ("psnr", "ssim", "lpips_squeeze")

Decoded = dict[float, list[np.ndarray]]
"""Amount of grain -> decoded pictures."""


def main(folder: Path, lpips: Path) -> None:
    """Print scores by amount of grain, and the share of the grain that repeats.

    Both are measured over the central squares of all pictures.
    """
    pictures = [read(path, Protocol.paper) for path in sorted(folder.iterdir())]
    pixels = [picture.pixels for picture in pictures]
    metrics = [metric for metric in available(lpips)[0] if metric.name in METRICS]
    codecs = {amount: Odp(device="auto", grain=amount) for amount in AMOUNTS}
    files = codecs[0.0].encode_many(pictures)
    _line("tokens", "grain", *(metric.name for metric in metrics))
    _line(*["---"] * (2 + len(metrics)))
    repeated = {}
    for tokens in LENGTHS:
        decoded = {amount: codec.decode_many(files, tokens) for amount, codec in codecs.items()}
        _print_scores(tokens, pixels, decoded, metrics)
        grain = np.stack(decoded[1.0]).astype(np.float32) - np.stack(decoded[0.0])
        repeated[tokens] = list(_repeated(grain.mean(3)))
    print()
    titles = [f"every {period} pixels" for period in PERIODS] + ["in all pictures"]
    _line("tokens", *titles)
    _line(*["---"] * (1 + len(titles)))
    for tokens, shares in repeated.items():
        _line(str(tokens), *shares)


def _print_scores(
    tokens: int, originals: list[np.ndarray], decoded: Decoded, metrics: list[Metric]
) -> None:
    for amount, images in decoded.items():
        pairs = list(zip(originals, images, strict=True))
        means = [np.mean([metric.score(*pair) for pair in pairs]) for metric in metrics]
        _line(str(tokens), f"{amount:g}", *(f"{mean:.3f}" for mean in means))


def _repeated(grain: np.ndarray) -> Iterator[str]:
    """Shares of the energy of grain (N, 256, 256) that repeat; in brackets the share by chance.

    First the part that repeats within each picture, per period, then that common to all pictures.
    """
    energy = np.square(grain).mean()
    for period in PERIODS:
        cells = TILE // period
        within = grain.reshape(-1, cells, period, cells, period).mean((1, 3))
        yield f"{np.square(within).mean() / energy:.2%} ({1 / cells**2:.2%})"
    yield f"{np.square(grain.mean(0)).mean() / energy:.1%} ({1 / len(grain):.1%})"


def _line(*cells: str) -> None:
    print(f"| {' | '.join(cells)} |", flush=True)


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
