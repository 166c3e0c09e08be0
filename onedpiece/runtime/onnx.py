"""ONNX Runtime: what encoding and decoding use."""

from __future__ import annotations

import contextlib
import ctypes
import io
import sys
import threading
import warnings
from concurrent.futures import ThreadPoolExecutor
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from onedpiece.constants import CODEBOOK_SIZE, MAX_TOKENS, TILE
from onedpiece.errors import DeviceError, ModelError
from onedpiece.models.registry import Model

CUDA = "CUDAExecutionProvider"
CPU = "CPUExecutionProvider"
DEVICES = ("auto", "cpu", "cuda")
_LOADING = threading.Lock()


class OnnxRuntime:
    """A model's ONNX graphs. Each is loaded when it is first needed.

    device: "cuda", "cpu" or "auto" (CUDA where there is a working one).
    threads: CPU threads of a network; all cores if None.
    grain:   how much detail that no token describes is added to pictures, for models that can; 1 as learned.

    Raises DeviceError if CUDA was asked for and does not work, ModelError if a graph does not load.
    """

    def __init__(
        self, model: Model, device: str = "auto", threads: int | None = None, grain: float = 1.0
    ) -> None:
        if device not in DEVICES:
            raise ValueError(f"device must be one of {', '.join(DEVICES)}")
        self._model, self._threads, self._grain = model, threads, grain
        self._explicit = device == "cuda"
        self.device = "cuda" if self._explicit or (device == "auto" and _has_driver()) else "cpu"

    def encode(self, tiles: np.ndarray) -> np.ndarray:
        (tokens,) = self._run(self._encoder, {"pixels": tiles}, (len(tiles), MAX_TOKENS))
        return self._existing(tokens).astype(np.uint16)

    def decode(self, tokens: np.ndarray) -> np.ndarray:
        inputs = {"tokens": tokens.astype(np.int32)}
        if any(entry.name == "grain" for entry in self._decoder.get_inputs()):
            inputs["grain"] = np.array([self._grain], np.float32)
        (pixels,) = self._run(self._decoder, inputs, (len(tokens), TILE, TILE, 3))
        return pixels

    def propose(
        self, tiles: np.ndarray, tokens: np.ndarray, keep: np.ndarray, shown: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        numbers = {"tokens": tokens, "keep": keep, "shown": shown}
        inputs = {name: value.astype(np.int32) for name, value in numbers.items()}
        one, each = (len(tiles),), (len(tiles), MAX_TOKENS)
        inputs["pixels"] = tiles
        cost, codes, gains = self._run(self._search, inputs, one, each, each)
        return cost, self._existing(codes), gains

    def _run(
        self, session: Any, inputs: dict[str, np.ndarray], *shapes: tuple[int, ...]
    ) -> list[np.ndarray]:
        """What the network gives, which must have these shapes."""
        try:
            results = session.run(None, inputs)
        except Exception as error:  # its own exceptions have no common base
            raise DeviceError(f"the network failed on {self.device}: {error}") from error
        if [result.shape for result in results] != list(shapes):
            raise ModelError(f"a network of {self._model.name} does not give what it should")
        return results

    def _existing(self, tokens: np.ndarray) -> np.ndarray:
        if tokens.size and not 0 <= tokens.min() <= tokens.max() < CODEBOOK_SIZE:
            raise ModelError(f"{self._model.name} gives tokens that do not exist")
        return tokens

    @cached_property
    def _encoder(self) -> Any:
        return self._load(self._model.path / "encoder.onnx")

    @cached_property
    def _decoder(self) -> Any:
        return self._load(self._model.path / "decoder.onnx")

    @cached_property
    def _search(self) -> Any:
        return self._load(self._model.path / "search.onnx")

    def _load(self, graph: Path) -> Any:
        # ONNX Runtime prints to stdout when a provider fails, and stdout may carry a picture. It is all threads' stdout.
        with _LOADING, contextlib.redirect_stdout(io.StringIO()):
            if self.device == "cuda":
                session = self._session(graph, [CUDA, CPU])
                if session is not None and session.get_providers()[0] == CUDA:
                    return session
                if self._explicit:
                    raise DeviceError("CUDA does not work here: see the notes on GPUs in README")
                warnings.warn(
                    "CUDA does not work here, using the CPU", RuntimeWarning, stacklevel=2
                )
                self.device = "cpu"
            session = self._session(graph, [CPU])
        if session is None:
            raise ModelError(f"{graph} cannot be loaded")
        return session

    def _session(self, graph: Path, providers: list[str]) -> Any:
        try:
            import onnxruntime

            if CUDA in providers:
                if CUDA not in onnxruntime.get_available_providers():
                    return None
                onnxruntime.preload_dlls()
            onnxruntime.set_default_logger_severity(4)
            options = onnxruntime.SessionOptions()
            options.log_severity_level = 4
            options.intra_op_num_threads = self._threads or 0
            # Attention and its gradient are full of numbers below 1e-38, on which processors are slow.
            options.add_session_config_entry("session.set_denormal_as_zero", "1")
        except (ImportError, AttributeError, OSError) as error:
            raise ModelError(
                "ONNX Runtime does not load: have exactly one of the packages onnxruntime and "
                f"onnxruntime-gpu installed ({error})"
            ) from error
        try:
            # In a thread of its own: the one that makes a session treats such numbers as zero from then on.
            with ThreadPoolExecutor(1) as thread:
                session = thread.submit(
                    onnxruntime.InferenceSession, graph, options, providers=providers
                ).result()
        except Exception:  # its own exceptions have no common base
            return None
        session.disable_fallback()  # it would print to stdout and change the device unasked
        return session


def _has_driver() -> bool:
    """Whether there is an NVIDIA driver; asking ONNX Runtime without one costs time and noise."""
    try:
        ctypes.CDLL("nvcuda.dll" if sys.platform == "win32" else "libcuda.so.1")
    except OSError:
        return False
    return True
