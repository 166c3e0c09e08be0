"""Muon (Jordan et al., 2024): momentum whose singular values are all made one, for the matrices inside a network.

Beside AdamW, whose step is as long for a matrix of few directions as for one of many, it takes a few times fewer
pictures (docs/training.md). Steps are as long as AdamW's would be (Liu et al., arXiv 2502.16982, section 2.2), so that
rates and decay mean the same for both. PyTorch has a Muon for matrices in bfloat16, which processors without such
arithmetic take minutes for; this one does convolutions too, and works in float32 on them.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor

MOMENTUM = 0.95
LENGTH = 0.2  # root of the mean square of a step, in units of the rate, as is usual for AdamW
ROUNDS = 5
# Jordan's: fast for small singular values, and near enough to one.
QUINTIC = (3.4445, -4.7750, 2.0315)


class Muon(torch.optim.Optimizer):
    """Nesterov momentum, made orthogonal; a convolution is a matrix of one row for each channel it makes."""

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
                ahead = parameter.grad.lerp(state["momentum"], MOMENTUM)
                parameter.mul_(1 - group["lr"] * group["weight_decay"])
                parameter.add_(step_of(ahead), alpha=-group["lr"])


def step_of(momentum: Tensor) -> Tensor:
    """The orthogonal matrix nearest to (out, ...), about, scaled so that its entries' mean square is LENGTH**2."""
    matrix = momentum.flatten(1)
    scale = LENGTH * math.sqrt(max(matrix.shape))
    return orthogonal(matrix).mul_(scale).reshape(momentum.shape)


def orthogonal(matrix: Tensor) -> Tensor:
    """(m, n) with all singular values made about one (0.7 to 1.2), by Newton-Schulz rounds of a quintic."""
    tall = matrix.shape[0] > matrix.shape[1]
    x = matrix.T if tall else matrix
    x = x / x.norm().clamp(min=1e-7)
    a, b, c = QUINTIC
    for _ in range(ROUNDS):
        square = x @ x.T
        x = a * x + (b * square + c * square @ square) @ x
    return x.T if tall else x
