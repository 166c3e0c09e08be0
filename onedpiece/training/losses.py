"""What training minimises."""

from __future__ import annotations

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from onedpiece.constants import MAX_TOKENS, PATCH

REPEATS = 4


def log_distortion(decoded: Tensor, pixels: Tensor) -> Tensor:
    """Mean over pictures of log(MSE), that is, of minus the PSNR.

    Equal weight for easy and hard pictures and for short and long prefixes; with a plain MSE the hard pictures and
    the first few tokens are nearly all of the gradient. The constant ends the interest at 37 dB.
    """
    return torch.log((decoded - pixels).square().mean((1, 2, 3)) + 2e-4).mean()


def lattice(decoded: Tensor, pixels: Tensor) -> Tensor:
    """How much of the error repeats from patch to patch: 1 is as much as chance gives, more is a stamped pattern.

    Errors of PATCH x PATCH pixels are averaged over 4x4 neighbouring patches. What survives, of errors within a patch,
    is 1/16 of their square if they have nothing to do with each other.
    """
    error = (decoded - pixels).unflatten(3, (-1, PATCH)).unflatten(2, (-1, PATCH))
    error = error.permute(0, 1, 3, 5, 2, 4).flatten(1, 3)
    error = error.unflatten(1, (3, -1))
    error = (error - error.mean(2, keepdim=True)).flatten(1, 2)
    repeated = F.avg_pool2d(error, REPEATS, REPEATS // 2).square().mean((1, 2, 3))
    return (REPEATS**2 * repeated / error.detach().square().mean((1, 2, 3))).mean()


def draw_lengths(count: int, rng: np.random.Generator) -> np.ndarray:
    """Tail Token Drop (paper, section 3.2): tokens to keep, 1..256; half of them uniform, half log-uniform."""
    uniform = rng.integers(1, MAX_TOKENS + 1, count)
    logarithmic = np.floor(np.exp(rng.random(count) * np.log(MAX_TOKENS + 1))).astype(np.int64)
    return np.where(rng.random(count) < 0.5, uniform, logarithmic.clip(1, MAX_TOKENS))
