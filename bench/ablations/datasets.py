"""How fast a token dataset is written and read, and what it takes on the disk and in memory.

    python -m onedpiece.bench.ablations.datasets COUNT FOLDER PICTURES...

Makes COUNT pictures of 256x256 pixels in FOLDER from crops of PICTURES, some of them mirrored, and
compares `odp dataset encode` with a plain loop over `Codec.encode_many` on one thread. Both read
JPEG files. Each run of the command is a process of its own; a tenth of the pictures shows whether
memory grows with their number. Needs the extras `datasets` and `torch`.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, ImageOps

from onedpiece.codec import Codec
from onedpiece.constants import TILE
from onedpiece.data import TokenDataset, TokenStream
from onedpiece.datasets import convert

CHUNK = 32  # pictures that the plain loop encodes together
QUALITY = 90  # of the JPEG files

# The peak memory of a process includes that of the one that started it: keep ours out of it.
_LAUNCHER = "import subprocess, sys; subprocess.run(sys.argv[1:], check=True)"


def main(count: int, folder: Path, sources: list[Path]) -> None:
    """Print tables of speed and memory, of storage, and of reading."""
    pictures = folder / "pictures"
    make_pictures(count, pictures, sources)
    tenth = folder / "tenth"
    shutil.rmtree(tenth, ignore_errors=True)
    tenth.mkdir()
    for path in sorted(pictures.iterdir())[: count // 10]:
        shutil.copy(path, tenth)
    print(f"{count} pictures, {os.cpu_count()} cores\n")
    print_speed(pictures, tenth, folder)
    print_storage(pictures, folder)
    print_reading(folder / "tokens")


def make_pictures(count: int, folder: Path, sources: list[Path]) -> None:
    """Crops of 256x256 pixels, every other one mirrored."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    random = np.random.default_rng(0)
    for number in range(count):
        with Image.open(sources[number % len(sources)]) as source:
            picture = source.convert("RGB")
        smallest = min(picture.size)
        side = int(random.integers(smallest // 2, smallest, endpoint=True))
        left, top = (int(random.integers(0, edge - side, endpoint=True)) for edge in picture.size)
        crop = picture.crop((left, top, left + side, top + side)).resize((TILE, TILE))
        crop = ImageOps.mirror(crop) if number % 2 else crop
        crop.save(folder / f"{number:06d}.jpg", quality=QUALITY)


def print_speed(pictures: Path, tenth: Path, folder: Path) -> None:
    """End to end, from the start of the process on."""
    loop = plain_loop(sorted(pictures.iterdir()))
    print("| | pictures/s | of the loop | main process, MiB | largest worker, MiB |")
    print("|---" * 5 + "|")
    print(f"| plain loop | {loop:.1f} | 1 | | |")
    for name, source, workers in (
        ("1 worker, a tenth", tenth, 1),
        ("1 worker", pictures, 1),
        ("a worker a core", pictures, os.cpu_count() or 1),
    ):
        seconds, facts = encode(source, folder / "tokens", workers)
        speed, memory = facts["done"] / seconds, facts["peak_memory"]
        sizes = [f"{memory.get(who, 0) >> 20}" for who in ("main", "largest_worker")]
        print(f"| {name} | {speed:.1f} | {speed / loop:.2f} | {' | '.join(sizes)} |")


def plain_loop(paths: list[Path]) -> float:
    """Pictures per second of the simplest program, without the start of the networks."""
    codec = Codec(device="cpu", threads=1)
    with Image.open(paths[0]) as first:
        codec.encode(first)
    start = time.perf_counter()
    for number in range(0, len(paths), CHUNK):
        codec.encode_many([Image.open(path) for path in paths[number : number + CHUNK]])
    return len(paths) / (time.perf_counter() - start)


def encode(source: Path, out: Path, workers: int) -> tuple[float, dict[str, Any]]:
    """Wall time in seconds of `odp dataset encode`, and what it reports."""
    shutil.rmtree(out, ignore_errors=True)
    verb = [sys.executable, "-m", "onedpiece.cli", "dataset", "encode", str(source), str(out)]
    start = time.perf_counter()
    done = subprocess.run(
        [sys.executable, "-c", _LAUNCHER, *verb, "--workers", str(workers), "--json"],
        check=True,
        stdout=subprocess.PIPE,
    )
    return time.perf_counter() - start, json.loads(done.stdout)


def print_storage(pictures: Path, folder: Path) -> None:
    """Bytes of the same pictures in several forms; on the disk, a file fills whole blocks."""
    for to in ("tar", "folder"):
        shutil.rmtree(folder / to, ignore_errors=True)
    convert(folder / "tokens", folder / "tar", "tar")
    convert(folder / "tokens", folder / "folder", "folder")
    forms = {
        f"JPEG, quality {QUALITY}": pictures,
        ".odp files": folder / "folder",
        ".odp files in a tar": folder / "tar",
        "Parquet": folder / "tokens",
    }
    count = len(list(pictures.iterdir()))
    print("\n| | bytes a picture | on the disk |")
    print("|---" * 3 + "|")
    for name, path in forms.items():
        stats = [file.stat() for file in path.rglob("*") if file.is_file()]
        size = sum(stat.st_size for stat in stats) / count
        blocks = 512 * sum(getattr(stat, "st_blocks", 0) for stat in stats) / count
        print(f"| {name} | {size:.0f} | {blocks:.0f} |")


def print_reading(tokens: Path) -> None:
    """Rows per second in one process."""
    whole, prefix = TokenDataset(tokens), TokenDataset(tokens, 32)
    ways: dict[str, Callable[[], list[Any]]] = {
        "TokenDataset, 256 tokens": lambda: [whole[index] for index in range(len(whole))],
        "TokenDataset, 32 tokens": lambda: [prefix[index] for index in range(len(prefix))],
        "TokenStream, 256 tokens": lambda: list(TokenStream(tokens, shuffle=True)),
    }
    print("\n| | rows/s |")
    print("|---|---|")
    for name, read in ways.items():
        start = time.perf_counter()
        rows = len(read())
        print(f"| {name} | {rows / (time.perf_counter() - start):.0f} |")


if __name__ == "__main__":
    main(int(sys.argv[1]), Path(sys.argv[2]), [Path(path) for path in sys.argv[3:]])
