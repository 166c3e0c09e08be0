"""Run a model on ONNX Runtime, for encoding and decoding."""

from __future__ import annotations

import contextlib
import ctypes
import io
import os
import re
import sys
import threading
import warnings
from concurrent.futures import Future, ThreadPoolExecutor
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

from onedpiece.constants import CODEBOOK_SIZE, MAX_TOKENS, TILE
from onedpiece.errors import DeviceError, ModelError
from onedpiece.models.manifest import ENCODER, SEARCH, DecoderInfo, Model
from onedpiece.runtime import blend

CUDA = "CUDAExecutionProvider"
CPU = "CPUExecutionProvider"
GRAIN = "grain"
"""An input of decoders of earlier versions: strength of noise that is added, here none."""

DEVICES = ("auto", "cpu", "cuda")
SPIN = 1000
"""Microseconds for which a thread without work stays awake: longer than between two operations.

Versions of ONNX Runtime that do not know the setting ignore it.
"""

_STDOUT = threading.Lock()  # standard output is shared by all threads
_STARTED: dict[tuple[Path, int | None], Future[Any]] = {}


class OnnxRuntime:
    """A model's ONNX graphs, each loaded on first use: a `Runtime`.

    device: "cuda", "cpu" or "auto" (CUDA if it works, else the CPU).
    threads: CPU threads of a network; all cores if None.

    Several threads may use one object. Raises ValueError for another device. The methods raise
    DeviceError if `device` is "cuda" and CUDA does not work, and ModelError if a graph cannot be
    loaded.
    """

    def __init__(self, model: Model, device: str = "auto", threads: int | None = None) -> None:
        if device not in DEVICES:
            raise ValueError(f"device must be one of {', '.join(DEVICES)}")
        self._model, self._threads = model, threads
        self._sessions: dict[str, Any] = {}
        self._loading = threading.Lock()
        self._explicit = device == "cuda"
        self.device = "cuda" if _wants_cuda(device) else "cpu"

    def encode(self, tiles: np.ndarray) -> np.ndarray:
        (tokens,) = self._run(self._session(ENCODER), {"pixels": tiles}, (len(tiles), MAX_TOKENS))
        return self._checked(tokens).astype(np.uint16)

    def decode(self, tokens: np.ndarray, realism: float = 1.0) -> np.ndarray:
        pixels: np.ndarray = blend(
            self._model,
            realism,
            lambda decoder: self._paint(_graph_of(self._model, decoder, self.device), tokens),
        )
        return pixels

    def _paint(self, graph: str, tokens: np.ndarray) -> np.ndarray:
        """The picture of one decoder, as `decode` returns it."""
        session, inputs = self._session(graph), {"tokens": tokens.astype(np.int32)}
        if any(entry.name == GRAIN for entry in session.get_inputs()):
            inputs[GRAIN] = np.zeros(1, np.float32)
        (pixels,) = self._run(session, inputs, (len(tokens), TILE, TILE, 3))
        return pixels

    def propose(
        self,
        tiles: np.ndarray,
        tokens: np.ndarray,
        num_tokens: np.ndarray,
        valid_size: np.ndarray,
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        # The names of the graph's inputs in installed models; they cannot be changed.
        numbers = {"tokens": tokens, "keep": num_tokens, "shown": valid_size}
        inputs = {name: value.astype(np.int32) for name, value in numbers.items()}
        per_tile, per_token = (len(tiles),), (len(tiles), MAX_TOKENS)
        inputs["pixels"] = tiles
        search = self._session(SEARCH)
        cost, codes, gains = self._run(search, inputs, per_tile, per_token, per_token)
        return cost, self._checked(codes), gains

    def _run(
        self, session: Any, inputs: dict[str, np.ndarray], *shapes: tuple[int, ...]
    ) -> list[np.ndarray]:
        """The outputs of a network.

        Raises ModelError unless they have the given shapes, DeviceError if the network fails.
        """
        try:
            results: list[np.ndarray] = session.run(None, inputs)
        except Exception as error:  # ONNX Runtime's exceptions have no common base
            raise DeviceError(f"the network failed on {self.device}: {error}") from error
        if [result.shape for result in results] != list(shapes):
            raise ModelError(f"a network of {self._model.name} has outputs of the wrong shape")
        return results

    def _checked(self, tokens: np.ndarray) -> np.ndarray:
        """The tokens. Raises ModelError unless all are in 0..4095."""
        if tokens.size and not 0 <= tokens.min() <= tokens.max() < CODEBOOK_SIZE:
            raise ModelError(f"{self._model.name} gives tokens that do not exist")
        return tokens

    def _session(self, name: str) -> Any:
        """The loaded graph of this file name."""
        with self._loading:  # threads that need the same graph wait for the first one
            if name not in self._sessions:
                self._sessions[name] = self._load(name)
            return self._sessions[name]

    def _load(self, name: str) -> Any:
        graph = self._model.path / name
        if self.device == "cpu" and (started := _STARTED.pop((graph, self._threads), None)):
            session = started.result()
            if session is not None:
                return session
        if self.device == "cuda":
            # ONNX Runtime prints when a provider fails, and standard output may carry a picture.
            with _STDOUT, contextlib.redirect_stdout(io.StringIO()):
                session = _create(self._model, name, [CUDA, CPU], self._threads)
            if session is not None and session.get_providers()[0] == CUDA:
                return session
            if self._explicit:
                raise DeviceError("CUDA does not work here: see docs/cli.md, section GPUs")
            warnings.warn("CUDA does not work here, using the CPU", RuntimeWarning, stacklevel=2)
            self.device = "cpu"
        session = _create(self._model, name, [CPU], self._threads)
        if session is None:
            raise ModelError(f"{graph} cannot be loaded")
        return session


def start_loading(
    model: Model,
    device: str = "auto",
    threads: int | None = None,
    realism: float = 1.0,
    once: bool = False,
) -> None:
    """Load a decoder in a thread of its own, for the next `OnnxRuntime` with these arguments.

    once: the decoder will run once. A graph of floating-point numbers is then taken as it is: to
        make it faster takes longer than that gains, and twice the memory.

    A process that decodes one file can import its other modules at the same time. Does nothing
    where CUDA may be used.
    """
    if _wants_cuda(device):
        return
    decoder = model.decoder if realism else model.faithful.decoder
    name = _graph_of(model, decoder, "cpu")
    import_runtime()  # two threads that import at once would wait for each other
    pool = ThreadPoolExecutor(1)
    as_it_is = once and name == decoder.graph
    loading = pool.submit(_create, model, name, [CPU], threads, as_it_is)
    _STARTED[model.path / name, threads] = loading
    pool.shutdown(wait=False)


def _graph_of(model: Model, decoder: DecoderInfo, device: str) -> str:
    """The graph of a decoder that is the fastest on a device."""
    integers = device == "cpu" and decoder.int8_graph in model.files and has_vnni()
    return decoder.int8_graph if integers else decoder.graph


def _is_optimised(model: Model, graph: str) -> bool:
    """Whether ONNX Runtime can run a graph as fast as it is.

    `onedpiece.export.dense_int8` writes such graphs. ONNX Runtime would find nothing to improve,
    and takes longer to find that out than for the rest of loading.
    """
    return any(
        graph == decoder.int8_graph and bool((decoder.config or model.config).get("natural"))
        for decoder in model.decoders
    )


@cache
def has_vnni() -> bool:
    """Whether this is Linux on an x86 processor with instructions for products of 8-bit integers.

    Without them, ONNX Runtime adds such products in 16 bits, which overflow, or takes a way that is
    slower than floating-point numbers.
    """
    try:
        flags = Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return False
    return re.search(r"^flags\b.*_vnni\b", flags, re.MULTILINE) is not None


def _wants_cuda(device: str) -> bool:
    return device == "cuda" or (device == "auto" and has_driver())


def _create(
    model: Model, graph: str, providers: list[str], threads: int | None, as_it_is: bool = False
) -> Any:
    """The loaded graph; None if it cannot be loaded. Raises ModelError without ONNX Runtime.

    as_it_is: ONNX Runtime does not look for faster operations.
    """
    onnxruntime = import_runtime()
    if CUDA in providers:
        if CUDA not in onnxruntime.get_available_providers():
            return None
        onnxruntime.preload_dlls()
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4
    options.intra_op_num_threads = threads or 0
    # Planning which buffers share memory takes longer than all the rest of loading, and saves none.
    options.enable_mem_reuse = False
    if as_it_is or _is_optimised(model, graph):
        options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    # A thread without work waits for some by asking again and again. Left alone, it does so for
    # most of loading, on a core that the rest of the program needs.
    options.add_session_config_entry("session.intra_op.spin_duration_us", str(SPIN))
    # Processors are slow on numbers below 1e-38, of which attention makes many.
    options.add_session_config_entry("session.set_denormal_as_zero", "1")
    try:
        # The thread that creates a session treats such numbers as zero from then on, in all
        # computations. A temporary thread keeps this from the caller's thread.
        with ThreadPoolExecutor(1) as thread:
            session = thread.submit(
                onnxruntime.InferenceSession, model.path / graph, options, providers=providers
            ).result()
    except Exception:  # ONNX Runtime's exceptions have no common base
        return None
    session.disable_fallback()  # it would print to stdout and change the device silently
    return session


def import_runtime() -> Any:
    """The module `onnxruntime`, silent. Raises ModelError if it does not load."""
    # Some of its builds collect data about their use, and leave a file in the user's folder.
    os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")
    try:
        import onnxruntime

        onnxruntime.set_default_logger_severity(4)
    except (ImportError, AttributeError, OSError) as error:
        raise ModelError(
            "ONNX Runtime does not load: install exactly one of the packages onnxruntime and "
            f"onnxruntime-gpu ({error})"
        ) from error
    return onnxruntime


def has_driver() -> bool:
    """Whether there is an NVIDIA driver. Without one, ONNX Runtime takes time to print warnings."""
    try:
        ctypes.CDLL("nvcuda.dll" if sys.platform == "win32" else "libcuda.so.1")
    except OSError:
        return False
    return True
