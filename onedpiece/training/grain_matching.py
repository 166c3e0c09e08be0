"""Restore the strength of the grain after fine-tuning.

The strength depends on the decoder's features, which fine-tuning changes. The perceptual networks
that the grain was trained with are not part of an installation, so the grain is trained to match
the strengths that the original model gives for the same tokens.
"""

from __future__ import annotations

import contextlib
import time
from itertools import count

import torch
import torch.nn.functional as F

from onedpiece.tokenizer.onedpiece import SpectralOneDPiece
from onedpiece.training.data import Pictures
from onedpiece.training.feed import feed
from onedpiece.training.precision import autocast
from onedpiece.training.recipe import Recipe
from onedpiece.training.schedule import is_finished, learning_rate_factor


def match_grain(
    model: SpectralOneDPiece, original: SpectralOneDPiece, pictures: Pictures, recipe: Recipe
) -> None:
    """Train the grain of `model` to be as strong as that of `original`; freezes all else.

    Runs on the CPU. Only batch, schedule, seed, drawings and `grain_learning_rate` of the recipe
    are used.
    """
    assert model.grain is not None
    model.requires_grad_(False)
    model.grain.requires_grad_(True)
    optimizer = torch.optim.Adam(model.grain.parameters())
    device, start = torch.device("cpu"), time.monotonic()
    with contextlib.closing(feed(pictures, recipe, 0, device)) as batches:
        for step in count():
            seconds = time.monotonic() - start
            if is_finished(recipe, step, seconds):
                return
            factor = learning_rate_factor(recipe, step, seconds)
            optimizer.param_groups[0]["lr"] = recipe.grain_learning_rate * factor
            batch = next(batches)
            with torch.no_grad(), autocast(device):
                tokens = original.encode(batch.targets())
                target = original.strengths(tokens, batch.num_tokens)
            with autocast(device):
                strengths = model.strengths(tokens, batch.num_tokens)
            optimizer.zero_grad(set_to_none=True)
            F.mse_loss(strengths, target).backward()
            optimizer.step()
