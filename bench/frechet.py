"""How far the decoded pictures are from the originals as a crowd: rFID, with whatever network is given."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from onedpiece.bench.metrics import Metric
from onedpiece.errors import ModelError

RFID = Metric("rfid", "Fréchet distance of features", lambda original, decoded: float("nan"), False)
"""Of all pictures at once; it has no score of one."""


class Features:
    """A network in an ONNX file: pixels (1, 3, H, W) in 0..1 to features (1, D).

    Pictures are scaled to the size that the network asks for, if it asks for one. Raises ModelError.
    """

    def __init__(self, path: Path) -> None:
        import onnxruntime

        try:
            self._session: Any = onnxruntime.InferenceSession(
                path, providers=["CPUExecutionProvider"]
            )
        except Exception as error:  # its own exceptions have no common base
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
    """Distance of the Gaussians that fit two sets of features (N, D) (Heusel et al., arXiv 1706.08500).

    With fewer pictures than features it is too small, but still comparable between sets of the same pictures.
    """
    means = np.sum((one.mean(0) - other.mean(0)) ** 2)
    first, second = (np.atleast_2d(np.cov(features, rowvar=False)) for features in (one, other))
    # The trace of the root of first @ second, from symmetric matrices, which have real roots.
    root = _root(first)
    cross = np.sqrt(np.linalg.eigvalsh(root @ second @ root).clip(min=0)).sum()
    return float(max(0.0, means + np.trace(first) + np.trace(second) - 2 * cross))


def _root(matrix: np.ndarray) -> np.ndarray:
    """Square root of a symmetric matrix without negative eigenvalues."""
    values, vectors = np.linalg.eigh(matrix)
    return (vectors * np.sqrt(values.clip(min=0))) @ vectors.T
