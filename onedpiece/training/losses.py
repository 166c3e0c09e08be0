"""What training minimises."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from onedpiece.tokenizer.config import TOKENS


def log_distortion(decoded: Tensor, pixels: Tensor) -> Tensor:
    """Mean over pictures of log(MSE), that is, of minus the PSNR.

    Equal weight for easy and hard pictures and for short and long prefixes; with a plain MSE the hard pictures and
    the first few tokens are nearly all of the gradient. The constant ends the interest at 37 dB.
    """
    return torch.log((decoded - pixels).square().mean((1, 2, 3)) + 2e-4).mean()


def draw_lengths(count: int, rng: np.random.Generator) -> np.ndarray:
    """Tail Token Drop (paper, section 3.2): tokens to keep, 1..256; half of them uniform, half log-uniform."""
    uniform = rng.integers(1, TOKENS + 1, count)
    logarithmic = np.floor(np.exp(rng.random(count) * np.log(TOKENS + 1))).astype(np.int64)
    return np.where(rng.random(count) < 0.5, uniform, logarithmic.clip(1, TOKENS))
