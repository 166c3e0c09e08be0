"""Train a natural decoder on other pictures, without the teacher: self-distillation.

Shown the picture itself made small, a frozen copy of the decoder paints better than from the small
picture that the tokens describe. The decoder learns to paint that from the tokens.
"""

from __future__ import annotations

import copy

import numpy as np
import torch

from onedpiece.tokenizer.natural import NaturalOneDPiece, correct, resample, small_side
from onedpiece.training.data import Pictures
from onedpiece.training.targets import LENGTHS, Batch, to_tensor


class OwnTargets:
    """Pairs for `Distillation`, drawn from pictures as they are needed."""

    def __init__(self, decoder: NaturalOneDPiece, pictures: Pictures) -> None:
        self._teacher, self._pictures = copy.deepcopy(decoder).eval(), pictures

    @torch.no_grad()
    def batch(self, size: int, rng: np.random.Generator) -> Batch:
        """Random squares of random pictures, with one number of tokens."""
        num_tokens = int(rng.choice(LENGTHS))
        pixels = to_tensor(self._pictures.random_crops(size, rng))
        small = resample(pixels, small_side(num_tokens)).clamp(0, 1)
        tokens = self._teacher.encode(pixels)[:, :num_tokens]
        return Batch(tokens, correct(self._teacher.paint(small), small).clamp(0, 1))
