"""After fine-tuning: grain as the model before would have added it.

How strong grain is follows from the decoder's features, which fine-tuning moves. The networks that it was learned from are
not at hand on a user's machine; the model before is, and what that says of the same tokens is learned.
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
from onedpiece.training.loop import learning_rate
from onedpiece.training.precision import autocast
from onedpiece.training.recipe import Recipe


def follow_grain(
    model: SpectralOneDPiece, before: SpectralOneDPiece, pictures: Pictures, recipe: Recipe
) -> None:
    """Train the grain of `model`, and nothing else of it, to be as strong as that of `before`, on the CPU.

    Of the recipe hold batch, schedule, seed and `grain_rate`.
    """
    assert model.grain is not None
    model.requires_grad_(False)
    model.grain.requires_grad_(True)
    optimizer = torch.optim.Adam(model.grain.parameters())
    device, start = torch.device("cpu"), time.monotonic()
    with contextlib.closing(feed(pictures, recipe, 0, device)) as batches:
        for step in count():
            seconds = time.monotonic() - start
            if (recipe.seconds and seconds >= recipe.seconds) or step == recipe.steps > 0:
                return
            optimizer.param_groups[0]["lr"] = recipe.grain_rate * learning_rate(
                recipe, step, seconds
            )
            batch = next(batches)
            with torch.no_grad(), autocast(device):
                tokens = before.encode(batch.targets())
                wanted = before.strengths(tokens, batch.keep)
            with autocast(device):
                strengths = model.strengths(tokens, batch.keep)
            optimizer.zero_grad(set_to_none=True)
            F.mse_loss(strengths, wanted).backward()
            optimizer.step()
