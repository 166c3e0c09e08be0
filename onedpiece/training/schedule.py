"""The learning rate over a run, and when the run ends."""

from __future__ import annotations

import math

from onedpiece.training.recipe import Recipe


def learning_rate_factor(recipe: Recipe, step: int, seconds: float, first: int = 0) -> float:
    """Fraction of the peak learning rate at a step: linear warm-up, then a cosine.

    seconds: training time so far.
    first:   step at which the schedule begins.
    """
    by_time = seconds / recipe.seconds if recipe.seconds else 0.0
    by_steps = (step - first) / (recipe.steps - first) if recipe.steps else 0.0
    progress = min(1.0, max(by_time, by_steps))
    warmup = min(1.0, (step - first + 1) / max(1, recipe.warmup_steps))
    cosine = (1 + math.cos(math.pi * progress)) / 2
    return warmup * (recipe.final_factor + (1 - recipe.final_factor) * cosine)


def is_finished(recipe: Recipe, step: int, seconds: float) -> bool:
    """Whether a run of `step` steps and `seconds` seconds of training has reached its end."""
    out_of_time = recipe.seconds > 0 and seconds >= recipe.seconds
    return out_of_time or (recipe.steps > 0 and step >= recipe.steps)
