"""Run a model's networks, on ONNX Runtime or on PyTorch."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol

import numpy as np

from onedpiece.models.manifest import DecoderInfo, Model


class Proposer(Protocol):
    """Proposes better tokens. B is any number of tiles."""

    def propose(
        self,
        tiles: np.ndarray,
        tokens: np.ndarray,
        num_tokens: np.ndarray,
        valid_size: np.ndarray,
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """The cost of tiles, and for each token the code that is expected to reduce it most.

        tiles:      uint8 (B, 256, 256, 3).
        tokens:     (B, 256) of 0..4095.
        num_tokens: (B,), 1..256: only this many tokens of each tile are used.
        valid_size: (B, 2), width and height in pixels of the part of each tile in the picture.

        Returns costs float32 (B,), codes int32 (B, 256), and gains float32 (B, 256), the expected
        reductions of the cost. For models that are `Model.searchable`.
        """


class Runtime(Proposer, Protocol):
    """The networks of a model. B is any number of tiles.

    device: the device that is really used, "cpu" or "cuda".
    """

    device: str

    def encode(self, tiles: np.ndarray) -> np.ndarray:
        """Tiles, uint8 (B, 256, 256, 3) -> all tokens, uint16 (B, 256) of 0..4095."""

    def decode(self, tokens: np.ndarray, realism: float = 1.0) -> np.ndarray:
        """The first K tokens, integers (B, K), 1 <= K <= 256 -> float32 (B, 256, 256, 3) in 0..255.

        realism: 0 for the least squared error, up to 1 for the most realistic look.
        """


def blend(model: Model, realism: float, paint: Callable[[DecoderInfo], Any]) -> Any:
    """The picture of a realism between 0 and 1 from those of the model's decoders.

    paint: gives the pixels of a decoder, an array or a tensor of floating-point numbers.
    """
    if not model.has_realism or realism == 1:
        return paint(model.decoder)
    least = paint(model.faithful.decoder)
    return least if realism == 0 else realism * paint(model.decoder) + (1 - realism) * least
