"""Compare encoder options of AVIF, each alone, by the PSNR of the best file of a given size.

    python -m onedpiece.bench.ablations.avif_options BYTES PICTURES...

This is how the options in `onedpiece.bench.codecs` were chosen.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np

from onedpiece.bench import Protocol
from onedpiece.bench.codecs import Ladder, avif
from onedpiece.bench.protocol import read
from onedpiece.metrics import psnr

TUNES = ("psnr", "ssim")  # libaom's default is ssim


def main(budget: int, pictures: Sequence[Path]) -> None:
    """Print mean PSNR over the pictures for each set of options."""
    print(f"| AVIF's options, {budget} bytes, {len(pictures)} pictures | PSNR, dB |")
    print("|---|---|")
    with ProcessPoolExecutor() as pool:
        scores = list(pool.map(partial(_scores, budget), pictures))
    for name in scores[0]:
        print(f"| {name} | {np.mean([row[name] for row in scores]):.2f} |")


def _scores(budget: int, path: Path) -> dict[str, float]:
    """Options -> PSNR of the best file of one picture at any scale; NaN if none fits."""
    pixels = read(path, Protocol.native).pixels
    scores = {}
    for tune in TUNES:
        format = avif(tune)
        for name, encode in format.encoders.items():
            best = Ladder(replace(format, encoders={name: encode}), pixels).best(budget)
            scores[f"tune {tune}, {name}"] = psnr(pixels, best.pixels) if best else np.nan
    return scores


if __name__ == "__main__":
    main(int(sys.argv[1]), list(map(Path, sys.argv[2:])))
