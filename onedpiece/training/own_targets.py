"""Train a natural decoder on other pictures, without the teacher.

The decoder's own network is the teacher: shown the picture itself made small, it paints better than
from the small picture that the tokens describe, and that is what it learns to paint from these.
"""

from __future__ import annotations

import copy

import numpy as np
import torch

from onedpiece.tokenizer.natural import NaturalOneDPiece, resample, small_side
from onedpiece.training.data import Crops, Pictures
from onedpiece.training.targets import LENGTHS, Batch


class OwnTargets:
    """Pairs for `Distillation`, drawn from pictures as they are needed."""

    def __init__(self, decoder: NaturalOneDPiece, pictures: Pictures) -> None:
        self._teacher, self._pictures = copy.deepcopy(decoder).eval(), pictures

    @torch.no_grad()
    def batch(self, size: int, rng: np.random.Generator) -> Batch:
        """Random squares of random pictures, with one number of tokens."""
        num_tokens = int(rng.choice(LENGTHS))
        chosen = rng.integers(len(self._pictures), size=size)
        squares = self._pictures.crops(Crops.draw(self._pictures.index, chosen, rng))
        pixels = torch.from_numpy(squares).permute(0, 3, 1, 2).float() / 255
        small = resample(pixels, small_side(num_tokens)).clamp(0, 1)
        tokens = self._teacher.encode(pixels)[:, :num_tokens]
        return Batch(tokens, self._teacher.paint(small).clamp(0, 1))
