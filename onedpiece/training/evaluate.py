"""Scores of a model over a folder of 256x256 pictures, at several token counts."""

from __future__ import annotations

import io
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from onedpiece.tokenizer.onedpiece import OneDPiece
from onedpiece.training.data import central, iterate_sources, normalise

LENGTHS = (1, 16, 32, 64, 128, 208, 256)


def load_folder(folder: Path) -> Tensor:
    """All pictures of a folder as uint8 (N, 256, 256, 3), short edge scaled to 256 and centre cropped."""
    files = iterate_sources([folder])
    squares = [central(normalise(Image.open(io.BytesIO(data)))) for _, data in files]
    return torch.from_numpy(np.stack(squares))


def psnr(a: Tensor, b: Tensor) -> Tensor:
    """Decibels for each picture of two uint8 batches (N, ...)."""
    error = (a.float() - b.float()).square().flatten(1).mean(1).clamp(min=1e-9)
    return 10 * torch.log10(255**2 / error)


Score = Callable[[Tensor, Tensor], Tensor]


@torch.inference_mode()
def evaluate(
    model: OneDPiece,
    pictures: Tensor,
    lengths: tuple[int, ...] = LENGTHS,
    score: Score = psnr,
) -> dict[int, Tensor]:
    """Score of every picture at every token count: {tokens: (N,)}.

    score: of decoded and original pictures, uint8 (B, 256, 256, 3) -> (B,).
    """
    scores: dict[int, list[Tensor]] = {length: [] for length in lengths}
    for part in pictures.split(8):
        tokens = model.encode(part.permute(0, 3, 1, 2).float() / 255)
        for length in lengths:
            decoded = model.decode(tokens[:, :length]).clamp(0, 1).permute(0, 2, 3, 1)
            scores[length].append(score((decoded * 255).round().byte(), part))
    return {length: torch.cat(values) for length, values in scores.items()}


def of_pixels(distance: Score) -> Score:
    """A distance of float pixels (B, 3, H, W) in 0..1 as one of uint8 pictures."""

    def of_bytes(a: Tensor, b: Tensor) -> Tensor:
        return distance(*(x.permute(0, 3, 1, 2).float() / 255 for x in (a, b)))

    return of_bytes
