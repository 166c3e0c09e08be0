"""Ways to run the natural decoder on a GPU, one beside the other.

`odp bench speed` prints this for CUDA. All but CUDA graphs also run on a CPU, where the tests
compare what they decode.
"""

from __future__ import annotations

import contextlib
import io
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from onedpiece.bench.timing import repeat
from onedpiece.constants import MAX_TOKENS, TILE
from onedpiece.models.registry import Model
from onedpiece.runtime.onnx import CPU, CUDA, import_runtime

BATCHES = (1, 8, 64)
"""Tiles that are decoded at once."""
IN_TURN = range(1, 9)
"""Sizes of batches that follow each other."""
INPUT, OUTPUT = "tokens", "pixels"

Row = tuple[str, ...]


@dataclass(frozen=True)
class Variant:
    """One way to run a decoder.

    options: those of ONNX Runtime's CUDA provider.
    bound:   tokens and pixels have buffers on the device, which every call uses again.
    half:    the convolutions compute in float16.
    """

    name: str
    options: dict[str, str] = field(default_factory=dict)
    bound: bool = False
    half: bool = False


QUICK = {"cudnn_conv_algo_search": "HEURISTIC"}
GRAPH = {**QUICK, "enable_cuda_graph": "1"}
SHIPPED = Variant("as odp runs it")
VARIANTS = (
    SHIPPED,
    Variant("convolutions chosen by heuristic", QUICK),
    Variant("+ buffers on the GPU", QUICK, bound=True),
    Variant("+ CUDA graph", GRAPH, bound=True),
    Variant("+ float16", GRAPH, bound=True, half=True),
    Variant("float16, without CUDA graph", QUICK, bound=True, half=True),
)


class Network:
    """A model's decoder by one `Variant`, for batches of one size if the variant is bound.

    Raises what ONNX Runtime raises where the device or an option does not work, and ImportError for
    half precision without the package onnx.
    """

    def __init__(self, model: Model, variant: Variant, device: str, batch: int) -> None:
        self._session = _session(model, variant, device)
        self._binding = None
        if variant.bound:
            value = import_runtime().OrtValue
            tokens, pixels = (batch, MAX_TOKENS), (batch, TILE, TILE, 3)
            self._tokens = value.ortvalue_from_numpy(np.zeros(tokens, np.int32), device, 0)
            self._pixels = value.ortvalue_from_shape_and_type(pixels, np.float32, device, 0)
            self._binding = self._session.io_binding()
            self._binding.bind_ortvalue_input(INPUT, self._tokens)
            self._binding.bind_ortvalue_output(OUTPUT, self._pixels)

    def decode(self, tokens: np.ndarray) -> np.ndarray:
        """Tokens, int32 (B, 256) -> float32 (B, 256, 256, 3) in 0..255."""
        if self._binding is None:
            pixels: np.ndarray = self._session.run([OUTPUT], {INPUT: tokens})[0]
            return pixels
        self._tokens.update_inplace(tokens)
        self._session.run_with_iobinding(self._binding)
        pixels = self._pixels.numpy()
        return pixels


def compare(model: Model, runs: int, device: str = "cuda") -> Iterator[Row]:
    """For each variant: its name, milliseconds of one tile, and tiles a second of larger batches.

    Where a variant does not work, the reason is in the place of its numbers.
    """
    for variant in VARIANTS:
        cells = []
        for batch in BATCHES:
            try:
                network = Network(model, variant, device, batch)
                spread = repeat(partial(network.decode, _tokens(batch)), runs)
            except Exception as error:  # ONNX Runtime's exceptions have no common base
                cells.append(_reason(error))
                continue
            one = spread.milliseconds() if batch == 1 else f"{batch / spread.median:.1f}"
            cells.append(one)
        yield variant.name, *cells


def in_turn(model: Model, device: str = "cuda", sizes: Sequence[int] = IN_TURN) -> Iterator[Row]:
    """Whether it costs time that the size of a batch differs from that of the one before.

    A row holds the variant's name and seconds: of a first and of a second pass over the sizes, and
    of as many batches of the largest size.
    """
    for variant in VARIANTS[:2]:
        try:
            network = Network(model, variant, device, max(sizes))
            network.decode(_tokens(max(sizes)))
            passes = [_seconds(network, sizes) for _ in range(2)]
            alike = _seconds(network, [max(sizes)] * len(sizes))
        except Exception as error:  # as in `compare`
            yield variant.name, _reason(error), "", ""
            continue
        yield variant.name, *(f"{seconds:.2f}" for seconds in (*passes, alike))


def _seconds(network: Network, sizes: Sequence[int]) -> float:
    started = time.perf_counter()
    for size in sizes:
        network.decode(_tokens(size))
    return time.perf_counter() - started


def _tokens(batch: int) -> np.ndarray:
    generator = np.random.default_rng(0)
    return generator.integers(0, 4096, (batch, MAX_TOKENS), np.int32)


def _reason(error: Exception) -> str:
    """An error in a cell of a table."""
    return "failed: " + " ".join(str(error).replace("|", "/").split())[:120]


def _session(model: Model, variant: Variant, device: str) -> Any:
    onnxruntime = import_runtime()
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4
    graph: Path | bytes = model.path / model.decoder.graph
    if variant.half:
        from onedpiece.bench.half import half_precision

        graph = half_precision(model.path / model.decoder.graph)
    providers: list[Any] = [CPU]
    with contextlib.redirect_stdout(io.StringIO()):  # it prints what it cannot load
        if device == "cuda":
            onnxruntime.preload_dlls()
            providers = [(CUDA, variant.options), CPU]
        session = onnxruntime.InferenceSession(graph, options, providers=providers)
    if device == "cuda" and session.get_providers()[0] != CUDA:
        raise RuntimeError("CUDA does not work here")
    return session
