"""How fast a token dataset is written, how busy the cores are, and whether memory is bounded.

    python -m onedpiece.bench.ablations.datasets COUNT FOLDER PHOTOGRAPHS...

Makes COUNT JPEG files of 256x256 pixels in FOLDER from crops of PHOTOGRAPHS, every other one
mirrored, and compares `odp dataset encode` with a plain loop over `Codec.encode_many` that reads
the same files. PHOTOGRAPHS are what `odp dataset encode` takes: folders, tars, Parquet files. Each
run of the command is a process of its own, measured from its start to its end. A tenth of the
pictures shows whether memory grows with their number. Needs the extra `datasets`, and Linux or
macOS.
"""

from __future__ import annotations

import io
import itertools
import json
import os
import resource
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from PIL import Image, ImageOps

from onedpiece.codec import Codec
from onedpiece.constants import TILE
from onedpiece.datasets.encoding import read_item
from onedpiece.datasets.sources import Source
from onedpiece.images.reader import suffixes

CHUNK = 32  # pictures that the plain loop encodes together
QUALITY = 90  # of the JPEG files

# The peak memory of a process includes that of the one that started it: keep ours out of it.
_LAUNCHER = "import subprocess, sys; subprocess.run(sys.argv[1:], check=True)"


class Run(NamedTuple):
    """A measurement.

    speed: pictures per second.
    busy:  share of the time of all cores that it used, 0 to 1.
    memory: peak bytes of the main process and of the largest worker.
    """

    speed: float
    busy: float
    memory: dict[str, int]


def main(count: int, folder: Path, sources: list[str]) -> None:
    """Print a table of speed, of use of the cores and of memory."""
    pictures, tenth = folder / "pictures", folder / "tenth"
    make_pictures(count, pictures, sources)
    shutil.rmtree(tenth, ignore_errors=True)
    tenth.mkdir()
    paths = sorted(pictures.iterdir())
    for path in paths[: count // 10]:
        shutil.copy(path, tenth)
    cores = os.cpu_count() or 1
    print(f"{count} pictures, {cores} cores, load {os.getloadavg()[0]:.1f} at the start\n")
    print("| | pictures/s | of the loop | cores busy, % | main process, MiB | a worker, MiB |")
    print("|---" * 6 + "|")
    loop = plain_loop(paths, 1)
    print_run("plain loop, 1 thread", loop, loop)
    print_run(f"plain loop, {cores} threads", plain_loop(paths, cores), loop)
    print_run("1 worker, a tenth", encode(tenth, folder / "tokens", 1), loop)
    print_run("1 worker", encode(pictures, folder / "tokens", 1), loop)
    print_run("a worker a core", encode(pictures, folder / "tokens", cores), loop)
    print_run("plain loop, 1 thread, again", plain_loop(paths, 1), loop)


def make_pictures(count: int, folder: Path, sources: list[str]) -> None:
    """Square crops of the photographs, in turn, at half their shorter side or more."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    random = np.random.default_rng(0)
    for number, picture in zip(range(count), _photographs(sources), strict=False):
        smallest = min(picture.size)
        side = int(random.integers(smallest // 2, smallest, endpoint=True))
        left, top = (int(random.integers(0, edge - side, endpoint=True)) for edge in picture.size)
        crop = picture.crop((left, top, left + side, top + side)).resize((TILE, TILE))
        crop = ImageOps.mirror(crop) if number % 2 else crop
        crop.save(folder / f"{number:06d}.jpg", quality=QUALITY)


def _photographs(sources: list[str]) -> Iterator[Image.Image]:
    """The photographs in their order, again and again."""
    source = Source(sources, suffixes())
    for sample in itertools.chain.from_iterable(source.samples() for _ in itertools.count()):
        with Image.open(io.BytesIO(read_item(sample.found.data))) as picture:
            yield picture.convert("RGB")


def print_run(name: str, run: Run, loop: Run) -> None:
    """A row of the table."""
    sizes = [f"{run.memory[who] >> 20}" if run.memory else "" for who in ("main", "largest_worker")]
    cells = [name, f"{run.speed:.1f}", f"{run.speed / loop.speed:.2f}", f"{100 * run.busy:.0f}"]
    print(f"| {' | '.join(cells + sizes)} |", flush=True)


def plain_loop(paths: list[Path], threads: int) -> Run:
    """The simplest program, without the start of the networks."""
    codec = Codec(device="cpu", threads=threads)
    with Image.open(paths[0]) as first:
        codec.encode(first)
    start, used = time.perf_counter(), time.process_time()
    for number in range(0, len(paths), CHUNK):
        codec.encode_many([Image.open(path) for path in paths[number : number + CHUNK]])
    seconds = time.perf_counter() - start
    return Run(len(paths) / seconds, _busy(time.process_time() - used, seconds), {})


def encode(source: Path, out: Path, workers: int) -> Run:
    """`odp dataset encode`, from the start of its process to its end."""
    shutil.rmtree(out, ignore_errors=True)
    verb = [sys.executable, "-m", "onedpiece.cli", "dataset", "encode", str(source), str(out)]
    start, used = time.perf_counter(), _of_children()
    done = subprocess.run(
        [sys.executable, "-c", _LAUNCHER, *verb, "--workers", str(workers), "--json"],
        check=True,
        stdout=subprocess.PIPE,
    )
    seconds = time.perf_counter() - start
    facts: dict[str, Any] = json.loads(done.stdout)
    busy = _busy(_of_children() - used, seconds)
    return Run(facts["done"] / seconds, busy, facts["peak_memory"])


def _of_children() -> float:
    """Seconds of processor time of all processes that have ended, and of those they started."""
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    return usage.ru_utime + usage.ru_stime


def _busy(used: float, seconds: float) -> float:
    return used / seconds / (os.cpu_count() or 1)


if __name__ == "__main__":
    main(int(sys.argv[1]), Path(sys.argv[2]), sys.argv[3:])
