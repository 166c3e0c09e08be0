"""A discriminator that tells painted pictures from photographs by their features in VGG-19.

In the manner of projected GANs (Sauer et al., arXiv 2111.01007), without their random projections;
with the hinge loss (Lim and Ye, arXiv 1705.02894). It only learns how to read features of VGG-19,
so that it finds missing texture after a minute of training. `discriminator.py` has the paper's,
which learns from nothing.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from onedpiece.training.features import Scores, Vgg, random_square

WIDTH = 64  # channels
SLOPE = 0.2  # of the leaky ReLUs
LEARNING_RATE = 4e-4
STEPS = 2  # of the discriminator for each one of the decoder
ALONE = 25  # batches from which only the discriminator learns


def _head(channels: int) -> nn.Module:
    """Features (B, channels, H, W) -> logits (B, 1, H, W)."""
    return nn.Sequential(
        nn.Conv2d(channels, WIDTH, 1),
        nn.LeakyReLU(SLOPE),
        nn.Conv2d(WIDTH, WIDTH, 3, padding=1),
        nn.LeakyReLU(SLOPE),
        nn.Conv2d(WIDTH, 1, 3, padding=1),
    )


class Adversary:
    """A head for each output of VGG-19, their optimizer, and SqueezeNet's scores beside them."""

    def __init__(self, vgg: Vgg, scores: Scores, device: str = "cpu") -> None:
        self._vgg, self._scores = vgg.to(device), scores.to(device)
        self.heads = nn.ModuleList(_head(channels) for channels in Vgg.CHANNELS).to(device)
        self.optimizer = torch.optim.AdamW(self.heads.parameters(), LEARNING_RATE, (0.5, 0.99))
        self.step = 0

    @classmethod
    def load(cls, folder: Path, device: str = "cpu") -> Adversary:
        """From the files that `features` lists. Raises FileNotFoundError if one is missing."""
        return cls(Vgg.load(folder), Scores.load(folder), device)

    def terms(
        self,
        decoded: Tensor,
        painted: Tensor,
        original: Tensor | None = None,
        *,
        rng: np.random.Generator,
    ) -> dict[str, Tensor]:
        """Train the discriminator; then losses of the decoder (scalars) by name.

        All pictures are (B, 3, 256, 256) in 0..1. Without originals there are no losses.
        """
        if original is None:
            return {}
        terms = {"scores": self._scores.distance(decoded, original)}
        square = random_square(original.shape[-1], rng)
        features = [feature.float() for feature in self._vgg.features(decoded[square])]
        with torch.no_grad():
            real = [feature.float() for feature in self._vgg.features(original[square])]
        with torch.autocast(decoded.device.type, enabled=False):
            for _ in range(STEPS):
                self._train_step(real, [feature.detach() for feature in features])
            self.step += 1
            if self.step > ALONE:
                logits = self._logits(features)
                terms["adversarial"] = -torch.stack([x.mean() for x in logits]).mean()
        return terms

    def _logits(self, features: list[Tensor]) -> list[Tensor]:
        """Of each output of VGG-19; higher means that it looks more like a photograph."""
        return [head(feature) for head, feature in zip(self.heads, features, strict=True)]

    def _train_step(self, real: list[Tensor], decoded: list[Tensor]) -> None:
        pairs = zip(self._logits(real), self._logits(decoded), strict=True)
        losses = [F.relu(1 - one).mean() + F.relu(1 + other).mean() for one, other in pairs]
        self.optimizer.zero_grad(set_to_none=True)
        torch.stack(losses).mean().backward()
        self.optimizer.step()

    def state_dict(self) -> dict[str, Any]:
        return {
            "heads": self.heads.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "step": self.step,
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.heads.load_state_dict(state["heads"])
        self.optimizer.load_state_dict(state["optimizer"])
        self.step = state["step"]
