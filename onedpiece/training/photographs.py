"""Photographs, and what a natural decoder painted of them before it was trained further."""

from __future__ import annotations

import copy

import numpy as np
import torch

from onedpiece.tokenizer.natural import NaturalOneDPiece
from onedpiece.training.data import Pictures
from onedpiece.training.drawings import draw
from onedpiece.training.precision import autocast
from onedpiece.training.targets import DRAWINGS_EVERY, LENGTHS, Batch, to_tensor


class Photographs:
    """Batches for `Distillation`, drawn from pictures as they are needed.

    What the decoder painted holds it to its colours and shapes. One batch of ten is of drawings,
    which it is to paint as they are.
    """

    def __init__(self, decoder: NaturalOneDPiece, pictures: Pictures, device: str = "cpu") -> None:
        self._device, self._pictures = torch.device(device), pictures
        self._start = copy.deepcopy(decoder).to(self._device).eval()

    @torch.no_grad()
    def batch(self, size: int, rng: np.random.Generator) -> Batch:
        """Random squares of random pictures, with one number of tokens."""
        num_tokens = int(rng.choice(LENGTHS))
        is_drawing = rng.integers(DRAWINGS_EVERY) == 0
        if is_drawing:
            squares = np.stack([draw(rng) for _ in range(size)])
        else:
            squares = self._pictures.random_crops(size, rng)
        pixels = to_tensor(squares).to(self._device)
        tokens = self._start.encode(pixels)[:, :num_tokens]
        if is_drawing:
            return Batch(tokens, pixels)
        with autocast(self._device):
            painted = self._start.decode(tokens).float().clamp(0, 1)
        return Batch(tokens, painted, pixels)
