"""A published model on ONNX Runtime, compared with a plain PyTorch run of the same weights.

The two take turns, so that other load on the machine affects both alike.
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
from onedpiece.bench.timing import machine, process, spread
from onedpiece.errors import missing_extra
from onedpiece.models.registry import Model, find
from onedpiece.runtime.onnx import OnnxRuntime

PICTURE = PICTURES / "coffee.png"
REST_SECONDS = 0.2  # threads keep spinning after a run, which would slow the other runtime
BATCHES = (1, 64)  # on a GPU
GPU_TYPES = ("float32", "bfloat16")


@dataclass(frozen=True)
class Runs:
    """Number of runs of each measurement, at least two."""

    warm: int = 15
    cold: int = 5


@dataclass(frozen=True)
class Comparison:
    """Seconds of all runs of the two runtimes, which took turns."""

    onnx: list[float]
    pytorch: list[float]

    @property
    def speedup(self) -> float:
        """How many times faster ONNX Runtime is: the median over pairs of neighbouring runs."""
        pairs = zip(self.onnx, self.pytorch, strict=True)
        return statistics.median(pytorch / onnx for onnx, pytorch in pairs)

    def __str__(self) -> str:
        onnx, pytorch = (spread(seconds).milliseconds(0) for seconds in (self.onnx, self.pytorch))
        return f"{onnx:>28s} {pytorch:>28s} {self.speedup:8.2f}"


def published(
    name: str,
    in_pytorch: str | None,
    threads: int,
    device: str = "cpu",
    runs: Runs = Runs(),
) -> None:
    """Print the speed of both runtimes, warm and cold, and their peak memory.

    name:       name or directory of the model for ONNX Runtime.
    in_pytorch: the same model in another precision for PyTorch, which cannot run int8; the same
                if None.
    threads:    CPU threads of each runtime.
    device:     "cpu" or "cuda".

    Raises OdpError if PyTorch is not installed.
    """
    try:
        import torch  # noqa: F401
    except ImportError as error:
        raise missing_extra("the comparison", error) from error
    model = find(name)
    reference = find(in_pytorch) if in_pytorch else model
    print(f"{machine()}, {threads} threads, device {device};", end=" ")
    print(f"{model.name}, {model.precision}, 256 tokens\n")
    print(f"{'ms':24s} {'ONNX Runtime':>28s} {'PyTorch eager':>28s} {'faster':>8s}")
    if device == "cuda":
        _on_gpu(model, reference, threads, runs)
    else:
        _warm(model, reference, threads, runs)
        _cold(model, reference, threads, runs)


def compare(
    onnx: Callable[[], object],
    pytorch: Callable[[], object],
    runs: int,
    synchronize: Callable[[], object] = lambda: None,
) -> Comparison:
    """Time both in turn, with rests, after one run of each to warm up.

    runs:        number of timed runs of each.
    synchronize: waits until a device has finished.
    """
    times: tuple[list[float], list[float]] = ([], [])
    for run in range(runs + 1):
        for action, seconds in zip((onnx, pytorch), times, strict=True):
            time.sleep(REST_SECONDS)
            start = time.perf_counter()
            action()
            synchronize()
            if run:
                seconds.append(time.perf_counter() - start)
    return Comparison(*times)


def _warm(model: Model, reference: Model, threads: int, runs: Runs) -> None:
    from onedpiece.bench.eager import eager

    onnx, tile = OnnxRuntime(model, "cpu", threads), _tile()
    with eager(reference, threads) as pytorch:
        tokens = pytorch.encode(tile)
        for verb, inputs in (("encode", tile), ("decode", tokens)):
            first, second = (partial(getattr(run, verb), inputs) for run in (onnx, pytorch))
            print(f"{verb + ', warm':24s} {compare(first, second, runs.warm)}", flush=True)


def _tile() -> np.ndarray:
    with Image.open(PICTURE) as picture:
        return np.asarray(picture.convert("RGB"))[None]


def _cold(model: Model, reference: Model, threads: int, runs: Runs) -> None:
    with tempfile.TemporaryDirectory() as folder:
        for verb, commands in _commands(model, reference, threads, Path(folder)).items():
            results = [[process(command) for command in commands] for _ in range(runs.cold)]
            seconds = [[pair[side][0] for pair in results] for side in (0, 1)]
            print(f"{verb + ', whole process':24s} {Comparison(*seconds)}", flush=True)
            peaks = [max(pair[side][1] for pair in results) / 1e6 for side in (0, 1)]
            print(f"{'  its peak memory, MB':24s} {peaks[0]:28.0f} {peaks[1]:28.0f}", flush=True)


def _commands(
    model: Model, reference: Model, threads: int, folder: Path
) -> dict[str, tuple[list[str], list[str]]]:
    """For each verb, the command of `odp` and the command of the PyTorch run."""
    odp = [sys.executable, "-m", "onedpiece.cli"]
    options = ["--force", "--device", "cpu", "--threads", str(threads)]
    options += ["--model", str(model.path)]
    coded, tokens = str(folder / "x.odp"), str(folder / "x.npy")

    def eager(verb: str, source: str, out: str) -> list[str]:
        program = [sys.executable, "-m", "onedpiece.bench.eager", verb, str(reference.path)]
        return [*program, source, out, str(threads)]

    return {
        "encode": (
            [*odp, "encode", *options, str(PICTURE), coded],
            eager("encode", str(PICTURE), tokens),
        ),
        "decode": (
            [*odp, "decode", *options, coded, str(folder / "x.png")],
            eager("decode", tokens, str(folder / "y.png")),
        ),
    }


def _on_gpu(model: Model, reference: Model, threads: int, runs: Runs) -> None:
    """Time each batch size, with PyTorch in each data type."""
    import torch

    from onedpiece.bench.eager import eager

    onnx, tile = OnnxRuntime(model, "cuda"), _tile()
    with eager(reference, threads, "cuda") as pytorch:
        for batch, dtype in product(BATCHES, GPU_TYPES):
            tiles = np.repeat(tile, batch, 0)
            tokens = pytorch.encode(tiles)
            with torch.autocast("cuda", getattr(torch, dtype), enabled=dtype != "float32"):
                for verb, inputs in (("encode", tiles), ("decode", tokens)):
                    first, second = (partial(getattr(run, verb), inputs) for run in (onnx, pytorch))
                    comparison = compare(first, second, runs.warm, torch.cuda.synchronize)
                    print(f"{f'{verb}, {batch}, {dtype}':24s} {comparison}", flush=True)
