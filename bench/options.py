"""What AVIF reaches with each set of encoder options alone: python -m onedpiece.bench.options BYTES PICTURES...

Shows which of the options that `codecs` tries, and of what they are, makes its files better.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np

from onedpiece.bench.codecs import Ladder, avif
from onedpiece.bench.metrics import psnr
from onedpiece.bench.protocol import read

TUNES = ("psnr", "ssim")  # libaom's default is ssim


def main(budget: int, pictures: Sequence[Path]) -> None:
    """Print a table: mean PSNR over the pictures for each set of options."""
    print(f"| AVIF's options, {budget} bytes, {len(pictures)} pictures | PSNR, dB |")
    print("|---|---|")
    with ProcessPoolExecutor() as pool:
        scores = list(pool.map(partial(_scores, budget), pictures))
    for name in scores[0]:
        print(f"| {name} | {np.mean([found[name] for found in scores]):.2f} |")


def _scores(budget: int, path: Path) -> dict[str, float]:
    """Options -> PSNR of the best file of one picture at any scale; nan if none fits."""
    pixels = read(path, "native").pixels
    scores = {}
    for tune in TUNES:
        form = avif(tune)
        for name, encode in form.encoders.items():
            best = Ladder(replace(form, encoders={name: encode}), pixels).best(budget)
            scores[f"tune {tune}, {name}"] = psnr(pixels, best.pixels) if best else np.nan
    return scores


if __name__ == "__main__":
    main(int(sys.argv[1]), list(map(Path, sys.argv[2:])))
