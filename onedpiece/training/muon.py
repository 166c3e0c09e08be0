"""Muon (Jordan et al., 2024): momentum whose singular values are all made one.

For the matrices and convolutions inside a network it needs a few times fewer pictures than AdamW
(docs/training.md). Steps have the size of AdamW's (Liu et al., arXiv 2502.16982, section 2.2), so
that learning rate and weight decay mean the same for both. PyTorch's own Muon computes in bfloat16,
which is very slow on processors without such instructions, and does not take convolutions.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor

MOMENTUM = 0.95
STEP_RMS = 0.2  # of a step at learning rate 1, typical of AdamW
ITERATIONS = 5
# Jordan's coefficients: small singular values grow fast, and all end near one.
QUINTIC = (3.4445, -4.7750, 2.0315)


class Muon(torch.optim.Optimizer):
    """Orthogonalised Nesterov momentum; a convolution is a matrix (out, in * height * width)."""

    def __init__(self, params: Iterable[Tensor] | Iterable[dict[str, Any]], lr: float) -> None:
        super().__init__(params, {"lr": lr, "weight_decay": 0.0})

    @torch.no_grad()
    def step(self, closure: None = None) -> None:  # type: ignore[override]
        for group in self.param_groups:
            for parameter in group["params"]:
                if parameter.grad is None:
                    continue
                state = self.state[parameter]
                if not state:
                    state["momentum"] = torch.zeros_like(parameter)
                state["momentum"].lerp_(parameter.grad, 1 - MOMENTUM)
                nesterov = parameter.grad.lerp(state["momentum"], MOMENTUM)
                parameter.mul_(1 - group["lr"] * group["weight_decay"])
                parameter.add_(scaled_step(nesterov), alpha=-group["lr"])


def scaled_step(momentum: Tensor) -> Tensor:
    """Orthogonalise (out, ...) and scale it to a root mean square of STEP_RMS."""
    matrix = momentum.flatten(1)
    scale = STEP_RMS * math.sqrt(max(matrix.shape))
    return orthogonalise(matrix).mul_(scale).reshape(momentum.shape)


def orthogonalise(matrix: Tensor) -> Tensor:
    """(m, n) with all singular values brought to 0.7..1.2, by Newton-Schulz iterations."""
    tall = matrix.shape[0] > matrix.shape[1]
    x = matrix.T if tall else matrix
    x = x / x.norm().clamp(min=1e-7)
    a, b, c = QUINTIC
    for _ in range(ITERATIONS):
        square = x @ x.T
        x = a * x + (b * square + c * square @ square) @ x
    return x.T if tall else x
