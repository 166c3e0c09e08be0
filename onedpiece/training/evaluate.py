"""Scores of a model over a folder of pictures, for several numbers of tokens."""

from __future__ import annotations

import io
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from onedpiece import metrics
from onedpiece.tokenizer.onedpiece import OneDPiece
from onedpiece.training.data import centre_crop, iterate_sources, normalise

LENGTHS = (1, 16, 32, 64, 128, 208, 256)
BATCH = 8

Score = Callable[[Tensor, Tensor], Tensor]
"""Decoded and original pictures, uint8 (B, 256, 256, 3) -> (B,)."""


def load_folder(folder: Path) -> Tensor:
    """All pictures of a folder as uint8 (N, 256, 256, 3): short edge scaled to 256, centre crop."""
    files = iterate_sources([folder])
    squares = [centre_crop(normalise(Image.open(io.BytesIO(data)))) for _, data in files]
    return torch.from_numpy(np.stack(squares))


def psnr(decoded: Tensor, original: Tensor) -> Tensor:
    """Decibels of each picture of two uint8 batches, (B,)."""
    pairs = zip(original.numpy(), decoded.numpy(), strict=True)
    return torch.tensor([metrics.psnr(a, b) for a, b in pairs])


@torch.inference_mode()
def evaluate(
    model: OneDPiece,
    pictures: Tensor,
    lengths: tuple[int, ...] = LENGTHS,
    score: Score = psnr,
) -> dict[int, Tensor]:
    """Score of every picture, uint8 (N, 256, 256, 3), for each number of tokens: {tokens: (N,)}."""
    scores: dict[int, list[Tensor]] = {length: [] for length in lengths}
    for batch in pictures.split(BATCH):
        tokens = model.encode(batch.permute(0, 3, 1, 2).float() / 255)
        for length in lengths:
            decoded = model.decode(tokens[:, :length]).clamp(0, 1).permute(0, 2, 3, 1)
            scores[length].append(score((decoded * 255).round().byte(), batch))
    return {length: torch.cat(values) for length, values in scores.items()}


def of_bytes(distance: Score) -> Score:
    """The score of uint8 pictures by a distance of float pixels (B, 3, H, W) in 0..1."""

    def score(decoded: Tensor, original: Tensor) -> Tensor:
        return distance(*(x.permute(0, 3, 1, 2).float() / 255 for x in (decoded, original)))

    return score
