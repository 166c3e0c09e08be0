"""A published model on ONNX Runtime beside a straightforward PyTorch run of the same weights, in one run.

The runs take turns, so that whatever else the machine does disturbs both alike.
"""

from __future__ import annotations

import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from itertools import product
from pathlib import Path

import numpy as np
from PIL import Image

from onedpiece.bench.demo import PICTURES
from onedpiece.bench.measure import machine, process, spread
from onedpiece.errors import missing_extra
from onedpiece.models.registry import Model, find
from onedpiece.runtime.onnx import OnnxRuntime

PICTURE = PICTURES / "coffee.png"
WARM_RUNS = 15
COLD_RUNS = 5
REST_SECONDS = 0.2  # after a run, threads of its runtime spin for a while and slow the other one
BATCHES = (1, 64)  # on a GPU
GPU_TYPES = ("float32", "bfloat16")


@dataclass(frozen=True)
class Race:
    """Seconds of all runs of both, in turn."""

    ours: list[float]
    theirs: list[float]

    @property
    def ratio(self) -> float:
        """How many times faster ours is: the median over pairs of runs."""
        return statistics.median(b / a for a, b in zip(self.ours, self.theirs, strict=True))

    def __str__(self) -> str:
        return (
            f"{_milliseconds(self.ours):>28s} {_milliseconds(self.theirs):>28s} {self.ratio:8.2f}"
        )


def published(name: str, in_pytorch: str | None, threads: int, device: str = "cpu") -> None:
    """Print how fast both are, warm and cold, and how much memory they take.

    in_pytorch: the same model in a precision that PyTorch runs, if `name` is int8.

    Raises OdpError without PyTorch.
    """
    try:
        import torch  # noqa: F401
    except ImportError as error:
        raise missing_extra("the comparison", error) from error
    model = find(name)
    other = find(in_pytorch) if in_pytorch else model
    print(
        f"{machine()}, {threads} threads, device {device}; {model.name}, {model.precision}, 256 tokens\n"
    )
    print(f"{'ms':24s} {'ONNX Runtime':>28s} {'PyTorch eager':>28s} {'faster':>8s}")
    if device == "cuda":
        _on_gpu(model, other, threads)
    else:
        _warm(model, other, threads)
        _cold(model, other, threads)


def _warm(model: Model, other: Model, threads: int) -> None:
    from onedpiece.bench.eager import eager

    ours, tile = OnnxRuntime(model, "cpu", threads), _tile()
    with eager(other, threads) as theirs:
        tokens = theirs.encode(tile)
        for verb, here, there in (
            ("encode", lambda: ours.encode(tile), lambda: theirs.encode(tile)),
            ("decode", lambda: ours.decode(tokens), lambda: theirs.decode(tokens)),
        ):
            print(f"{verb + ', warm':24s} {race(here, there, WARM_RUNS)}", flush=True)


def _tile() -> np.ndarray:
    with Image.open(PICTURE) as picture:
        return np.asarray(picture.convert("RGB"))[None]


def race(
    ours: Callable[[], object],
    theirs: Callable[[], object],
    runs: int,
    finish: Callable[[], object] = lambda: None,
) -> Race:
    """Time both in turn, rested, after one run of each that does not count; finish: what waits for a device."""
    times: tuple[list[float], list[float]] = ([], [])
    for run in range(runs + 1):
        for action, seconds in zip((ours, theirs), times, strict=True):
            time.sleep(REST_SECONDS)
            start = time.perf_counter()
            action()
            finish()
            if run:
                seconds.append(time.perf_counter() - start)
    return Race(*times)


def _cold(model: Model, other: Model, threads: int) -> None:
    odp = [sys.executable, "-m", "onedpiece.cli"]
    options = ["--force", "--device", "cpu", "--threads", str(threads)]
    options += ["--model", str(model.path)]
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        coded, tokens = folder / "x.odp", folder / "x.npy"

        def eager(verb: str, source: Path, out: Path) -> list[str]:
            program = [sys.executable, "-m", "onedpiece.bench.eager", verb, str(other.path)]
            return [*program, str(source), str(out), str(threads)]

        rows = {
            "encode": (
                [*odp, "encode", *options, str(PICTURE), str(coded)],
                eager("encode", PICTURE, tokens),
            ),
            "decode": (
                [*odp, "decode", *options, str(coded), str(folder / "x.png")],
                eager("decode", tokens, folder / "y.png"),
            ),
        }
        for verb, commands in rows.items():
            runs = [[process(command) for command in commands] for _ in range(COLD_RUNS)]
            seconds = [[pair[side][0] for pair in runs] for side in (0, 1)]
            print(f"{verb + ', whole process':24s} {Race(*seconds)}", flush=True)
            peaks = [max(pair[side][1] for pair in runs) / 1e6 for side in (0, 1)]
            print(f"{'  its peak memory, MB':24s} {peaks[0]:28.0f} {peaks[1]:28.0f}", flush=True)


def _on_gpu(model: Model, other: Model, threads: int) -> None:
    """Pictures in batches; PyTorch in each type of number."""
    import torch

    from onedpiece.bench.eager import eager

    ours, tile = OnnxRuntime(model, "cuda"), _tile()
    with eager(other, threads, "cuda") as theirs:
        for batch, kind in product(BATCHES, GPU_TYPES):
            tiles = np.repeat(tile, batch, 0)
            tokens = theirs.encode(tiles)
            with torch.autocast("cuda", getattr(torch, kind), enabled=kind != "float32"):
                for verb, here, there in (
                    ("encode", partial(ours.encode, tiles), partial(theirs.encode, tiles)),
                    ("decode", partial(ours.decode, tokens), partial(theirs.decode, tokens)),
                ):
                    found = race(here, there, WARM_RUNS, torch.cuda.synchronize)
                    print(f"{f'{verb}, {batch}, {kind}':24s} {found}", flush=True)


def _milliseconds(seconds: list[float]) -> str:
    value = spread(seconds)
    return f"{1e3 * value.median:.0f} ({1e3 * value.low:.0f} to {1e3 * value.high:.0f})"
