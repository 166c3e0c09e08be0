"""Fréchet distance between the features of all originals and of all decoded pictures (rFID)."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from onedpiece.bench.metrics import Metric
from onedpiece.errors import ModelError

RFID = Metric("rfid", "Fréchet distance of features", lambda *pictures: float("nan"), False)
"""Defined for a set of pictures; the score of a single one is NaN."""

Features = Callable[[np.ndarray], np.ndarray]
"""uint8 (H, W, 3) -> float64 (D,)."""


class OnnxFeatures:
    """Features by a network in an ONNX file: pixels (1, 3, H, W) in 0..1 to features (1, D).

    Pictures are scaled to the input size of the network, if it has a fixed one.
    Raises ModelError if the file cannot be loaded.
    """

    def __init__(self, path: Path) -> None:
        import onnxruntime

        try:
            self._session: Any = onnxruntime.InferenceSession(
                path, providers=["CPUExecutionProvider"]
            )
        except Exception as error:  # the exceptions of ONNX Runtime have no common base class
            raise ModelError(f"{path} cannot be loaded: {error}") from error
        self._input = self._session.get_inputs()[0]

    def __call__(self, pixels: np.ndarray) -> np.ndarray:
        """uint8 (H, W, 3) -> float64 (D,)."""
        height, width = self._input.shape[2:]
        image = Image.fromarray(pixels)
        if isinstance(height, int) and isinstance(width, int):
            image = image.resize((width, height), Image.Resampling.BICUBIC)
        batch = np.asarray(image, np.float32).transpose(2, 0, 1)[None] / 255
        return self._session.run(None, {self._input.name: batch})[0].ravel().astype(np.float64)


def frechet(one: np.ndarray, other: np.ndarray) -> float:
    """Distance of the Gaussians fitted to two sets of features (N, D) (Heusel et al., 1706.08500).

    With fewer pictures than features the estimate is too small, but distances between sets of the
    same pictures can still be compared.
    """
    means = np.sum((one.mean(0) - other.mean(0)) ** 2)
    first, second = (np.atleast_2d(np.cov(features, rowvar=False)) for features in (one, other))
    # The trace of the square root of first @ second, by symmetric matrices, whose roots are real.
    root = _square_root(first)
    cross = np.sqrt(np.linalg.eigvalsh(root @ second @ root).clip(min=0)).sum()
    return float(max(0.0, means + np.trace(first) + np.trace(second) - 2 * cross))


def _square_root(matrix: np.ndarray) -> np.ndarray:
    """Square root of a symmetric positive semi-definite matrix."""
    values, vectors = np.linalg.eigh(matrix)
    return (vectors * np.sqrt(values.clip(min=0))) @ vectors.T
