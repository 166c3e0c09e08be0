"""Write an installed model in another precision, and measure what that changes.

float32  every number as it is.
float16  large parameters are stored as float16; the arithmetic stays float32.
int8     also, the transformers' matrices are stored and multiplied as int8, which is faster on
         CPUs. Convolutions and the choice of codes stay as in float16.

The token set is the same file in every precision.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from PIL import Image

from onedpiece.constants import MAX_TOKENS, TILE
from onedpiece.errors import ModelError
from onedpiece.export.int8 import export_int8
from onedpiece.export.model_directory import add_decoder, copy_token_set, export
from onedpiece.metrics import psnr
from onedpiece.models.folder import complete
from onedpiece.models.manifest import TOKEN_SET, Model, read_model
from onedpiece.runtime import Runtime
from onedpiece.runtime.onnx import OnnxRuntime
from onedpiece.tokenizer.onedpiece import OneDPiece
from onedpiece.tokenizer.weights import load_installed

LENGTHS = (16, MAX_TOKENS)
RUNS = 5


def export_variant(model: Model, folder: Path, precision: str) -> Model:
    """Write the model directory `folder`, which appears when it is complete.

    The new model has the token set of the old one, byte for byte: files of either decode with both.

    precision: "float32", "float16" or "int8".

    Raises ModelError if the model is int8 already, or if it has a spectral start and int8 is asked
    for.
    """
    module = load_installed(model.faithful)
    if precision == "int8" and module.config.spectral:
        raise ModelError(f"{model.name} has too little in its transformers for int8")
    name = folder.resolve().name
    with complete(folder) as partial:
        if precision == "int8":
            export_int8(model, partial, name)
        else:
            _export_float(model, module, partial, name, precision)
    return read_model(folder)


def _export_float(model: Model, module: OneDPiece, folder: Path, name: str, precision: str) -> None:
    """Write the model with all its decoders; `module` has that of the least error."""
    variant = export(
        module,
        folder,
        name,
        replace(model.faithful.decoder, graph="", weights=""),
        precision=precision,
        token_set=copy_token_set(model, folder),
        keep=[TOKEN_SET],
        source=model.source,
    )
    for decoder in model.decoders:
        if decoder != model.faithful.decoder:
            variant = add_decoder(load_installed(model.with_decoder(decoder)), variant, decoder)


@dataclass(frozen=True)
class Comparison:
    """One model beside a reference model of the same token set.

    equal:    share of tokens that are the same, 0..1.
    decibels: by number of tokens, PSNR of the images decoded by one model against those decoded
              by the other from the same tokens.
    encoding: seconds for one image, (of the reference, of this model).
    decoding: the same for decoding.
    """

    equal: float
    decibels: dict[int, float]
    encoding: tuple[float, float]
    decoding: tuple[float, float]

    def __str__(self) -> str:
        psnrs = ", ".join(f"{db:.1f} dB at {count}" for count, db in self.decibels.items())
        times = [f"{1e3 * a:.0f} -> {1e3 * b:.0f} ms" for a, b in (self.encoding, self.decoding)]
        return (
            f"{100 * self.equal:.2f} % of the tokens are the same; "
            f"from the same tokens pictures differ by {psnrs} tokens; "
            f"encoding {times[0]}, decoding {times[1]}"
        )


def compare(reference: Model, model: Model, pictures: list[Path]) -> Comparison:
    """Compare a model with a reference, on the CPU, for image files scaled to one tile."""
    runtimes = OnnxRuntime(reference, "cpu"), OnnxRuntime(model, "cpu")
    tiles = np.stack([_tile(path) for path in pictures])
    tokens, other_tokens = (runtime.encode(tiles) for runtime in runtimes)
    return Comparison(
        float((other_tokens == tokens).mean()),
        {count: _psnr(runtimes, tokens[:, :count]) for count in LENGTHS},
        _seconds(runtimes, lambda runtime: runtime.encode(tiles[:1])),
        _seconds(runtimes, lambda runtime: runtime.decode(tokens[:1])),
    )


def _tile(path: Path) -> np.ndarray:
    with Image.open(path) as picture:
        return np.asarray(picture.convert("RGB").resize((TILE, TILE), Image.Resampling.BICUBIC))


def _psnr(runtimes: tuple[Runtime, Runtime], tokens: np.ndarray) -> float:
    pixels, other_pixels = (runtime.decode(tokens) for runtime in runtimes)
    return psnr(pixels, other_pixels)


def _seconds(
    runtimes: tuple[Runtime, Runtime], action: Callable[[Runtime], object]
) -> tuple[float, float]:
    """The fastest of some runs of each runtime.

    The runs take turns, so that other load on the machine disturbs both alike.
    """
    best = [float("inf")] * 2
    for _ in range(RUNS):
        for index, runtime in enumerate(runtimes):
            start = time.perf_counter()
            action(runtime)
            best[index] = min(best[index], time.perf_counter() - start)
    return best[0], best[1]
