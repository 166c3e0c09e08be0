"""Metrics that several parts of the package use."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

PEAK = 255.0
"""Largest value of an 8-bit sample."""


def psnr(reference: NDArray[Any], other: NDArray[Any], peak: float = PEAK) -> float:
    """Peak signal-to-noise ratio in decibels over all samples of two arrays; inf if they are equal.

    The arrays have one shape. They are compared row by row, so that large pictures take little
    memory.
    """
    squares = sum(
        float(np.square(a.astype(np.float32) - b).sum(dtype=np.float64))
        for a, b in zip(reference, other, strict=True)
    )
    return psnr_of_mse(squares / reference.size, peak)


def psnr_of_mse(mse: float, peak: float = PEAK) -> float:
    """Decibels of a mean squared error, in the units of `peak`; inf for 0."""
    return float("inf") if mse == 0 else float(10 * np.log10(peak**2 / mse))
