"""How much of the device's arithmetic a training step uses."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch.utils.flop_counter import FlopCounterMode

from onedpiece.training.precision import compute_dtype

ROUNDS = 8


@dataclass(frozen=True)
class StepCost:
    """flops: floating-point operations of a step; peak: the most the device does in a second."""

    flops: float
    peak: float


def count_flops(step: Callable[[], None]) -> float:
    """Operations of the matrix products and convolutions of one call, run without compilation."""
    with FlopCounterMode(display=False) as counter:
        step()
    return float(counter.get_total_flops())


def peak_flops(device: torch.device) -> float:
    """Operations a second of a large matrix product in the data type of training."""
    size = 8192 if device.type == "cuda" else 1024
    a = torch.randn(size, size, device=device, dtype=compute_dtype(device))
    a @ a
    _synchronize(device)
    start = time.perf_counter()
    for _ in range(ROUNDS):
        a @ a
    _synchronize(device)
    return ROUNDS * 2 * size**3 / (time.perf_counter() - start)


def _synchronize(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)
