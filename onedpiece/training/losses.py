"""Losses on pixels."""

from __future__ import annotations

import torch
from torch import Tensor

FLOOR = 2e-4  # errors below this, a PSNR of 37 dB, matter little


def log_mse(decoded: Tensor, pixels: Tensor) -> Tensor:
    """Mean over pictures (B, 3, H, W) of the log of the squared error, the PSNR up to a factor.

    It weighs easy and hard pictures, and short and long prefixes, alike. With the plain squared
    error, hard pictures and the first few tokens make up nearly all of the gradient.
    """
    return torch.log((decoded - pixels).square().mean((1, 2, 3)) + FLOOR).mean()
