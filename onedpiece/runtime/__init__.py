"""Run a model's two networks, on ONNX Runtime or on PyTorch."""

from __future__ import annotations

from typing import Protocol

import numpy as np


class Runtime(Protocol):
    """The two directions of a model. B is any number of tiles.

    device: "cpu" or "cuda", where it really runs.
    """

    device: str

    def encode(self, tiles: np.ndarray) -> np.ndarray:
        """uint8 (B, 256, 256, 3) -> all tokens, uint16 (B, 256) in 0..4095."""

    def decode(self, tokens: np.ndarray) -> np.ndarray:
        """The first K tokens, integers (B, K), 1 <= K <= 256 -> float32 (B, 256, 256, 3) in 0..255."""
