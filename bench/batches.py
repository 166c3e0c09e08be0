"""Speed of `odp encode` and `odp decode` for a folder of many small pictures.

    python -m onedpiece.bench.batches [COUNT] [--tokens N]

Prints pictures a second, how many cores were busy on average, and the peak memory of each verb.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from pathlib import Path

from PIL import Image, ImageChops

from onedpiece.bench.demo import PICTURES
from onedpiece.bench.timing import machine, usage

COUNT = 1000
SIDE = 256


def batches(count: int, tokens: int) -> None:
    """Encode and decode `count` small pictures, made of the bundled ones; print a table."""
    print(f"{machine()}; {count} pictures of {SIDE}x{SIDE} pixels, {tokens} tokens\n")
    print("| verb | pictures/s | cores busy | peak memory, MB |\n|---|---|---|---|", flush=True)
    with tempfile.TemporaryDirectory() as folder:
        pictures, coded, decoded = (Path(folder, name) for name in ("in", "coded", "out"))
        write_pictures(pictures, count)
        commands = {
            "odp encode": ["encode", str(pictures), "--out-dir", str(coded), "-n", str(tokens)],
            "odp decode": ["decode", str(coded), "--out-dir", str(decoded)],
        }
        for name, arguments in commands.items():
            command = [sys.executable, "-m", "onedpiece.cli", *arguments, "--quiet"]
            seconds, peak, cpu = usage(command)
            cells = [name, f"{count / seconds:.1f}", f"{cpu / seconds:.2f}", f"{peak / 1e6:.0f}"]
            print(f"| {' | '.join(cells)} |", flush=True)


def write_pictures(folder: Path, count: int) -> None:
    """Write `count` pictures that differ as JPEG files."""
    folder.mkdir()
    photographs = [Image.open(path).convert("RGB") for path in sorted(PICTURES.glob("*.png"))]
    for index in range(count):
        photograph = photographs[index % len(photographs)]
        moved = ImageChops.offset(photograph, 37 * index, 23 * index)
        moved.crop((0, 0, SIDE, SIDE)).save(folder / f"{index:06d}.jpg", quality=90)


def main() -> None:
    """Run with the arguments of the command line."""
    parser = argparse.ArgumentParser(description="Speed of odp for many small pictures.")
    parser.add_argument("count", type=int, nargs="?", default=COUNT)
    parser.add_argument("--tokens", type=int, default=64)
    arguments = parser.parse_args()
    batches(arguments.count, arguments.tokens)


if __name__ == "__main__":
    main()
