"""Time and peak memory of one very large picture, in processes of their own."""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

import numpy as np
from PIL import Image

from onedpiece.bench.demo import PICTURES
from onedpiece.bench.measure import machine, process

TOKENS = 16


def large(side: int, threads: int) -> None:
    """Encode and decode side x side pixels, the photographs of the demo repeated; print a table."""
    print(machine(threads))
    with tempfile.TemporaryDirectory() as folder:
        source, coded, back = (Path(folder) / name for name in ("in.jpg", "x.odp", "out.png"))
        _mosaic(side).save(source, quality=90)
        odp = [sys.executable, "-m", "onedpiece.cli"]
        options = ["--threads", str(threads)]
        for verb, arguments in (
            ("encode", [str(source), str(coded), "--tokens", str(TOKENS), *options]),
            ("decode", [str(coded), str(back), *options]),
        ):
            seconds, peak = process([*odp, verb, *arguments])
            print(
                f"odp {verb}  {side}x{side}  {seconds:6.1f} s  peak {peak / 1e6:5.0f} MB",
                flush=True,
            )


def _mosaic(side: int) -> Image.Image:
    photographs = [
        Image.open(path).convert("RGB").resize((500, 500))
        for path in sorted(PICTURES.glob("*.png"))
    ]
    across = -(-side // 500)
    row = np.concatenate([np.asarray(photographs[i % len(photographs)]) for i in range(across)], 1)
    rows = [np.roll(row, 500 * i, 1) for i in range(across)]
    return Image.fromarray(np.concatenate(rows)[:side, :side])
