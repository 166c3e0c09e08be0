"""How many of their 12 bits tokens use, and the tables by which they are coded."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from onedpiece.constants import CODEBOOK_SIZE, MAX_TOKENS
from onedpiece.entropy.tables import bits, frequencies
from onedpiece.tokenizer.onedpiece import OneDPiece
from onedpiece.training.data import Pictures

BATCH = 32
HELD_OUT = 8  # one picture of so many


@torch.inference_mode()
def all_tokens(model: OneDPiece, pictures: Pictures) -> np.ndarray:
    """Tokens of the centre of every picture, int64 (N, 256)."""
    parts = []
    for start in range(0, len(pictures), BATCH):
        chosen = range(start, min(start + BATCH, len(pictures)))
        pixels = torch.from_numpy(np.stack([pictures.centre(i) for i in chosen]))
        parts.append(model.encode(pixels.permute(0, 3, 1, 2).float() / 255).numpy())
    return np.concatenate(parts)


def position_entropy(tokens: np.ndarray) -> np.ndarray:
    """Entropy in bits of each position's histogram over the pictures, (256,).

    Too low by about 2048 / N bits for N pictures, because a histogram of few samples has holes.
    """
    return np.array([_bits(np.bincount(column, minlength=CODEBOOK_SIZE)) for column in tokens.T])


def frequency_tables(tokens: np.ndarray, blocks: tuple[int, ...]) -> Tensor:
    """Frequencies for `SpectralQuantizer.frequency`, from tokens (N, 256): int32 (blocks, GROUPS)."""
    counts = [
        np.bincount(part.ravel(), minlength=CODEBOOK_SIZE)
        for part in np.split(tokens, np.cumsum(blocks)[:-1], axis=1)
    ]
    return torch.from_numpy(np.stack([frequencies(count) for count in counts])).int()


def held_out_bits(tokens: np.ndarray, blocks: tuple[int, ...]) -> float:
    """Bits a token by tables like those in files, on pictures that the tables were not made from."""
    held = np.arange(len(tokens)) % HELD_OUT == 0
    tables = frequency_tables(tokens[~held], blocks).numpy()
    parts = np.split(tokens[held], np.cumsum(blocks)[:-1], axis=1)
    total = sum(float(bits(table)[part].sum()) for table, part in zip(tables, parts, strict=True))
    return total / (held.sum() * MAX_TOKENS)


def _bits(counts: np.ndarray) -> float:
    share = counts[counts > 0] / counts.sum()
    return float(-(share * np.log2(share)).sum())
