"""Wall time and peak memory for one very large picture, each command in a process of its own."""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

import numpy as np
from PIL import Image

from onedpiece.bench.demo import PICTURES
from onedpiece.bench.timing import machine, process

TOKENS = 16  # per tile
EDGE = 500  # pixels of a photograph in the mosaic


def large(side: int, threads: int) -> None:
    """Encode and decode side x side pixels, a mosaic of the bundled photographs; print a table."""
    print(f"{machine()}, {threads} threads")
    with tempfile.TemporaryDirectory() as folder:
        names = ("in.jpg", "in.png", "x.odp", "out.png")
        source, transparent, coded, decoded = (Path(folder) / name for name in names)
        picture = _mosaic(side)
        picture.save(source, quality=90)
        picture.putalpha(Image.linear_gradient("L").resize(picture.size))
        picture.save(transparent, compress_level=1)
        for verb, mode, arguments in (
            ("encode", "RGBA", [transparent, coded, "--tokens", TOKENS]),
            ("encode", "RGB", [source, coded, "--force", "--tokens", TOKENS]),
            ("decode", "RGB", [coded, decoded]),
        ):
            options = [*map(str, arguments), "--threads", str(threads)]
            seconds, peak = process([sys.executable, "-m", "onedpiece.cli", verb, *options])
            size = f"{side}x{side} {mode}"
            print(f"odp {verb}  {size}  {seconds:6.1f} s  peak {peak / 1e6:5.0f} MB", flush=True)


def _mosaic(side: int) -> Image.Image:
    photographs = [
        Image.open(path).convert("RGB").resize((EDGE, EDGE))
        for path in sorted(PICTURES.glob("*.png"))
    ]
    across = -(-side // EDGE)
    row = np.concatenate([np.asarray(photographs[i % len(photographs)]) for i in range(across)], 1)
    rows = [np.roll(row, EDGE * i, 1) for i in range(across)]
    return Image.fromarray(np.concatenate(rows)[:side, :side])
