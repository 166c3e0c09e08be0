"""An installed model in another precision, and what that changes.

float32  every number as it is.
float16  large parameters stored in half the bytes; the arithmetic stays float32.
int8     besides, the matrices of the transformers in a quarter of the bytes, and their products in integers:
         faster on CPUs. The convolutions, the codebooks and what decides between codes stay as in float16.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image

from onedpiece.constants import TILE
from onedpiece.errors import ModelError
from onedpiece.export.int8 import export_int8
from onedpiece.export.model_directory import export
from onedpiece.models.folder import complete
from onedpiece.models.registry import Model, read_model
from onedpiece.runtime import Runtime
from onedpiece.runtime.onnx import OnnxRuntime
from onedpiece.tokenizer.weights import load_installed

LENGTHS = (16, 256)
RUNS = 5


def export_variant(model: Model, folder: Path, precision: str) -> Model:
    """Write the model directory `folder`, which appears when it is complete. Raises ModelError.

    The new model has the fingerprint of the old one: files of either decode with both.
    """
    module = load_installed(model)
    if precision == "int8" and module.config.spectral:
        raise ModelError(f"{model.name} has too little in its transformers for int8")
    write = export_int8 if precision == "int8" else export
    facts = {"fingerprint": model.fingerprint, "source": model.source}
    with complete(folder) as partial:
        write(module, partial, folder.resolve().name, precision=precision, **facts)
    return read_model(folder)


@dataclass(frozen=True)
class Comparison:
    """One model beside another of the same fingerprint.

    equal:    share of tokens that are the same.
    decibels: PSNR of the decoded pictures against those of the other model, from the same tokens, by their number.
    seconds:  for one picture, (of the other model, of this one): encoding, decoding.
    """

    equal: float
    decibels: dict[int, float]
    encoding: tuple[float, float]
    decoding: tuple[float, float]

    def __str__(self) -> str:
        pictures = ", ".join(f"{db:.1f} dB at {count}" for count, db in self.decibels.items())
        times = [f"{1e3 * a:.0f} -> {1e3 * b:.0f} ms" for a, b in (self.encoding, self.decoding)]
        return (
            f"{100 * self.equal:.2f} % of the tokens are the same; from the same tokens pictures differ by "
            f"{pictures} tokens; encoding {times[0]}, decoding {times[1]}"
        )


def compare(model: Model, other: Model, pictures: list[Path]) -> Comparison:
    """What `other` gives, beside what `model` gives, on the CPU for pictures scaled to one tile."""
    ours, theirs = (OnnxRuntime(one, "cpu") for one in (model, other))
    tiles = np.stack([_tile(path) for path in pictures])
    tokens = ours.encode(tiles)
    return Comparison(
        float((theirs.encode(tiles) == tokens).mean()),
        {
            count: _psnr(ours.decode(tokens[:, :count]), theirs.decode(tokens[:, :count]))
            for count in LENGTHS
        },
        _seconds(ours, theirs, lambda runtime: runtime.encode(tiles[:1])),
        _seconds(ours, theirs, lambda runtime: runtime.decode(tokens[:1])),
    )


def _tile(path: Path) -> np.ndarray:
    with Image.open(path) as picture:
        return np.asarray(picture.convert("RGB").resize((TILE, TILE), Image.Resampling.BICUBIC))


def _psnr(one: np.ndarray, other: np.ndarray) -> float:
    error = float(np.square(one - other, dtype=np.float64).mean())
    return float("inf") if error == 0 else 10 * float(np.log10(255**2 / error))


def _seconds(
    ours: Runtime, theirs: Runtime, action: Callable[[Runtime], object]
) -> tuple[float, float]:
    """The best of some runs of each, in turn, so that whatever else the machine does disturbs both alike."""
    best = [float("inf")] * 2
    for _ in range(RUNS):
        for index, runtime in enumerate((ours, theirs)):
            start = time.perf_counter()
            action(runtime)
            best[index] = min(best[index], time.perf_counter() - start)
    return best[0], best[1]
