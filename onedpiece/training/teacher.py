"""Real-ESRGAN: what the natural decoder starts from, and a teacher of smaller ones.

Any module that maps pixels (B, 3, H, W) in 0..1 to (B, 3, 4H, 4W) will do as a teacher. This one is
Real-ESRGAN x4plus (Wang et al., arXiv 2107.10833), from its official weights or from any state dict
whose tensors are in the same order. It is BSD-3-Clause, Copyright (c) 2021 Xintao Wang: a decoder
that starts from it carries that notice.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from pathlib import Path

import torch
from torch import Tensor

from onedpiece.constants import TILE
from onedpiece.tokenizer.natural import RestorationNetwork, resample

# Sides in pixels of the picture that the teacher is shown.
SMALLEST, LARGEST = 24, 48

Teacher = Callable[[Tensor], Tensor]
"""Pixels (B, 3, H, W) in 0..1 -> (B, 3, 4H, 4W), not clamped."""


def load_restoration(path: Path, blocks: Sequence[int] | None = None) -> RestorationNetwork:
    """A restoration network from a state dict, in evaluation mode.

    blocks: which blocks of its body to keep, by number; all if None.

    Raises ValueError if the tensors are not those of such a network.
    """
    stored = torch.load(path, map_location="cpu", weights_only=True)
    stored = stored.get("params_ema", stored)
    per_block = len(RestorationNetwork(1).state_dict()) - len(RestorationNetwork(0).state_dict())
    ends = len(RestorationNetwork(0).state_dict())
    count, rest = divmod(len(stored) - ends, per_block)
    if rest or count < 1:
        raise ValueError(f"{path} is not a network of residual dense blocks")
    network = RestorationNetwork(count)
    # The official weights have this module's names; others have the same order.
    state = dict(zip(network.state_dict(), stored.values(), strict=True))
    if any(value.shape != state[name].shape for name, value in network.state_dict().items()):
        raise ValueError(f"{path} has tensors of other shapes")
    network.load_state_dict({name: value.float() for name, value in state.items()})
    if blocks is not None:
        network.body = torch.nn.ModuleList(network.body[number] for number in blocks)
    return network.eval().requires_grad_(False)


def teacher_side(num_tokens: int) -> int:
    """Side of what the teacher is shown: 24, 32, 40, 48 for 32, 64, 128, 256 tokens."""
    return max(SMALLEST, min(LARGEST, round(8 * math.log2(num_tokens)) - 16))


def teach(teacher: Teacher, pixels: Tensor, num_tokens: int) -> Tensor:
    """What the student is to paint, in 0..1.

    pixels: least-error pictures (B, 3, 256, 256) of `num_tokens` tokens.
    """
    small = resample(pixels.clamp(0, 1), teacher_side(num_tokens)).clamp(0, 1)
    return resample(teacher(small).float().clamp(0, 1), TILE).clamp(0, 1)
