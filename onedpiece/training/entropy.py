"""Entropy of tokens, and the frequency tables that code them."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from onedpiece.constants import CODEBOOK_SIZE
from onedpiece.entropy.tables import bits, frequencies
from onedpiece.tokenizer.onedpiece import OneDPiece, SpectralOneDPiece
from onedpiece.training.data import Pictures

BATCH = 32
HELD_OUT = 8  # every eighth picture
CALIBRATION_PICTURES = 64


@torch.inference_mode()
def all_tokens(model: OneDPiece, pictures: Pictures, most: int | None = None) -> np.ndarray:
    """Tokens of the centre of every picture, int64 (N, 256), or of at most so many pictures."""
    batches, count = [], min(len(pictures), most or len(pictures))
    for start in range(0, count, BATCH):
        batch = range(start, min(start + BATCH, count))
        pixels = torch.from_numpy(np.stack([pictures.centre(i) for i in batch]))
        batches.append(model.encode(pixels.permute(0, 3, 1, 2).float() / 255).numpy())
    return np.concatenate(batches)


def calibration_tokens(model: OneDPiece, pictures: Pictures) -> np.ndarray:
    """Those of some pictures, (N, 256), on which `export` measures the ranges of activations."""
    return all_tokens(model, pictures, CALIBRATION_PICTURES)


def position_entropy(tokens: np.ndarray) -> np.ndarray:
    """Entropy in bits of each position's histogram over the pictures, (256,).

    For N pictures the estimate is about 2048 / N bits too low, as few samples leave bins empty.
    """
    return np.array([_bits(np.bincount(column, minlength=CODEBOOK_SIZE)) for column in tokens.T])


def frequency_tables(tokens: np.ndarray, blocks: tuple[int, ...]) -> Tensor:
    """`SpectralQuantizer.frequency` of tokens (N, 256): int32 (blocks, groups)."""
    counts = [
        np.bincount(block.ravel(), minlength=CODEBOOK_SIZE)
        for block in np.split(tokens, np.cumsum(blocks)[:-1], axis=1)
    ]
    return torch.from_numpy(np.stack([frequencies(count) for count in counts])).int()


def held_out_bits(tokens: np.ndarray, blocks: tuple[int, ...]) -> float:
    """Mean bits of a token, tokens (N, 256), with tables measured on other pictures."""
    held_out = np.arange(len(tokens)) % HELD_OUT == 0
    return mean_bits(tokens[held_out], frequency_tables(tokens[~held_out], blocks), blocks)


def mean_bits(tokens: np.ndarray, frequency: Tensor, blocks: tuple[int, ...]) -> float:
    """Mean bits of a token, tokens (N, 256), with the tables of `frequency_tables`."""
    columns = np.split(tokens, np.cumsum(blocks)[:-1], axis=1)
    rows = zip(frequency.numpy(), columns, strict=True)
    return sum(float(bits(table)[x].sum()) for table, x in rows) / tokens.size


def refit_tables(model: SpectralOneDPiece, pictures: Pictures) -> None:
    """Measure the tables of a model again, if that saves bits on pictures that are held out."""
    tokens, blocks = all_tokens(model, pictures), model.quantize.shape.blocks
    present = mean_bits(tokens[::HELD_OUT], model.quantize.frequency, blocks)
    if len(tokens) > HELD_OUT and held_out_bits(tokens, blocks) < present:
        model.quantize.frequency.copy_(frequency_tables(tokens, blocks))


def _bits(counts: np.ndarray) -> float:
    probability = counts[counts > 0] / counts.sum()
    return float(-(probability * np.log2(probability)).sum())
