"""Everything a training run can vary."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Recipe:
    """Phase A: distortion.

    seconds:       length of the learning-rate schedule (warm-up, then cosine), in seconds of training.
    batch:         pictures in a step.
    rate:          peak learning rate of AdamW; codebooks learn at `codebook_rate`.
    average:       decay of the moving average of the weights, which is what is evaluated and exported.
    """

    seconds: float = 5400.0
    batch: int = 12
    rate: float = 8e-4
    codebook_rate: float = 0.0
    warmup_steps: int = 200
    decay: float = 0.02
    average: float = 0.999
    clip: float = 1.0
    seed: int = 0
