"""How long Pillow takes to open many .odp files, beside as many QOI files.

    python -m onedpiece.bench.ablations.pillow_open [FILES]

Reads headers only: first as users do, where Pillow tries one format after the other, and then with
the format named, which leaves what the two plugins take. Both folders are written first, so that
all files are in the disk cache.
"""

from __future__ import annotations

import io
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
from PIL import Image

import onedpiece.pillow
from onedpiece import EncodedImage

FILES = 10_000
ROUNDS = 5  # of which the fastest counts
SIDE = 256  # pixels
TOKENS = 64


def write_odp(folder: Path, count: int) -> list[Path]:
    """Files of random tokens, written to the folder."""
    random = np.random.default_rng(0)
    paths = [folder / f"{index}.odp" for index in range(count)]
    for path in paths:
        tokens = random.integers(0, 4096, TOKENS)
        path.write_bytes(EncodedImage.from_tokens(tokens, SIDE, SIDE).to_bytes())
    return paths


def write_qoi(folder: Path, count: int) -> list[Path]:
    """Files of one grey picture, written to the folder."""
    file = io.BytesIO()
    Image.new("RGB", (SIDE, SIDE), "grey").save(file, "QOI")
    paths = [folder / f"{index}.qoi" for index in range(count)]
    for path in paths:
        path.write_bytes(file.getvalue())
    return paths


def seconds_to_open(paths: list[Path], formats: list[str] | None) -> float:
    """Seconds to open all files and read their sizes, with Pillow's argument `formats`."""
    start = time.perf_counter()
    for path in paths:
        with Image.open(path, formats=formats) as image:
            assert image.size == (SIDE, SIDE)
    return time.perf_counter() - start


def main(count: int) -> None:
    """Print the fastest round of each format."""
    onedpiece.pillow.register()
    with tempfile.TemporaryDirectory() as folder:
        odp, qoi = write_odp(Path(folder), count), write_qoi(Path(folder), count)
        for title, formats in (
            ("Image.open(path)", [None, None]),
            ("one format named", [["ODP"], ["QOI"]]),
        ):
            # The formats take turns, since other programs disturb both alike.
            rounds = [
                (seconds_to_open(odp, formats[0]), seconds_to_open(qoi, formats[1]))
                for _ in range(ROUNDS)
            ]
            first, second = (min(times) for times in zip(*rounds, strict=True))
            print(
                f"{title}: {count} files, odp {first:.2f} s, QOI {second:.2f} s, "
                f"{first / second:.1f} x"
            )


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else FILES)
