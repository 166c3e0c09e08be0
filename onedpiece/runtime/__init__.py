"""Run a model's networks, on ONNX Runtime or on PyTorch."""

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

    def propose(
        self, tiles: np.ndarray, tokens: np.ndarray, keep: np.ndarray, shown: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """What the first keep[b] tokens of each tile cost, and for each token the code that promises most.

        tiles uint8 (B, 256, 256, 3), tokens (B, 256), keep (B,), shown (B, 2), the width and height that count of each
        tile -> cost float32 (B,), codes int32 (B, 256) and gains float32 (B, 256), by how much the cost would fall.
        For models that are `Model.searchable`.
        """
