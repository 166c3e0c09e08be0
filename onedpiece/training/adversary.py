"""Discriminators that tell painted pictures from photographs, and the losses that follow.

With the hinge loss (Lim and Ye, arXiv 1705.02894). `Vgg19Heads` is in the manner of projected GANs
(Sauer et al., arXiv 2111.01007), without their random projections: it only learns how to read
features of VGG-19, so that it finds missing texture after a minute of training. `Patches` learns
from nothing and needs no weights of others. `discriminator.py` has the paper's.
"""

from __future__ import annotations

import itertools
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from onedpiece.training.features import Scores, Vgg, random_square

WIDTH = 64  # channels of a head
PATCH_WIDTHS = (48, 96, 192)  # channels of `Patches`, whose sides are halved each time
SLOPE = 0.2  # of the leaky ReLUs
LEARNING_RATE = 4e-4
STEPS = 2  # of the discriminator for each one of the decoder
ALONE = 25  # batches from which only the discriminator learns


class Network(Protocol):
    """A discriminator without its optimizer."""

    @property
    def trained(self) -> nn.Module:
        """All that has parameters to train."""

    def features(self, pixels: Tensor) -> list[Tensor]:
        """Features of pictures (B, 3, H, W) in 0..1, which training does not change."""

    def logits(self, features: list[Tensor]) -> list[Tensor]:
        """Logits (B, 1, H, W) for each scale; higher where it looks more like a photograph."""


class Vgg19Heads:
    """A head for each output of VGG-19."""

    def __init__(self, vgg: Vgg, device: str = "cpu") -> None:
        self._vgg = vgg.to(device)
        self.trained = nn.ModuleList(_head(channels) for channels in Vgg.CHANNELS).to(device)

    def features(self, pixels: Tensor) -> list[Tensor]:
        return [feature.float() for feature in self._vgg.features(pixels)]

    def logits(self, features: list[Tensor]) -> list[Tensor]:
        return [head(feature) for head, feature in zip(self.trained, features, strict=True)]


class Patches:
    """Convolutions that see patches of 12, 30 and 66 pixels a side."""

    def __init__(self, device: str = "cpu") -> None:
        pairs = itertools.pairwise((3, *PATCH_WIDTHS))
        self.stages = nn.ModuleList(_stage(before, after) for before, after in pairs)
        self.heads = nn.ModuleList(nn.Conv2d(width, 1, 3, padding=1) for width in PATCH_WIDTHS)
        self.trained = nn.ModuleList([self.stages, self.heads]).to(device)

    def features(self, pixels: Tensor) -> list[Tensor]:
        return [2 * pixels.float() - 1]

    def logits(self, features: list[Tensor]) -> list[Tensor]:
        (x,) = features
        logits = []
        for stage, head in zip(self.stages, self.heads, strict=True):
            x = stage(x)
            logits.append(head(x))
        return logits


def _head(channels: int) -> nn.Module:
    """Features (B, channels, H, W) -> logits (B, 1, H, W)."""
    return nn.Sequential(
        nn.Conv2d(channels, WIDTH, 1),
        nn.LeakyReLU(SLOPE),
        nn.Conv2d(WIDTH, WIDTH, 3, padding=1),
        nn.LeakyReLU(SLOPE),
        nn.Conv2d(WIDTH, 1, 3, padding=1),
    )


def _stage(channels_in: int, channels: int) -> nn.Module:
    """(B, channels_in, H, W) -> (B, channels, H / 2, W / 2)."""
    return nn.Sequential(
        nn.Conv2d(channels_in, channels, 4, stride=2, padding=1),
        nn.LeakyReLU(SLOPE),
        nn.Conv2d(channels, channels, 3, padding=1),
        nn.LeakyReLU(SLOPE),
    )


class Adversary:
    """A discriminator and its optimizer, and SqueezeNet's scores beside it, if they are given."""

    def __init__(self, discriminator: Network, scores: Scores | None = None) -> None:
        self._discriminator, self._scores = discriminator, scores
        parameters = discriminator.trained.parameters()
        self.optimizer = torch.optim.AdamW(parameters, LEARNING_RATE, (0.5, 0.99))
        self.step = 0

    @classmethod
    def load(cls, folder: Path, device: str = "cpu") -> Adversary:
        """VGG-19 and SqueezeNet, from the files that `features` lists.

        Raises FileNotFoundError if one is missing.
        """
        return cls(Vgg19Heads(Vgg.load(folder), device), Scores.load(folder).to(device))

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
        terms = {}
        if self._scores is not None:
            terms["scores"] = self._scores.distance(decoded, original)
        square = random_square(original.shape[-1], rng)
        features = self._discriminator.features(decoded[square])
        with torch.no_grad():
            real = self._discriminator.features(original[square])
        with torch.autocast(decoded.device.type, enabled=False):
            for _ in range(STEPS):
                self._train_step(real, [feature.detach() for feature in features])
            self.step += 1
            if self.step > ALONE:
                logits = self._discriminator.logits(features)
                terms["adversarial"] = -torch.stack([x.mean() for x in logits]).mean()
        return terms

    def _train_step(self, real: list[Tensor], decoded: list[Tensor]) -> None:
        logits = self._discriminator.logits
        pairs = zip(logits(real), logits(decoded), strict=True)
        losses = [F.relu(1 - one).mean() + F.relu(1 + other).mean() for one, other in pairs]
        self.optimizer.zero_grad(set_to_none=True)
        torch.stack(losses).mean().backward()
        self.optimizer.step()

    def state_dict(self) -> dict[str, Any]:
        return {
            "discriminator": self._discriminator.trained.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "step": self.step,
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self._discriminator.trained.load_state_dict(state["discriminator"])
        self.optimizer.load_state_dict(state["optimizer"])
        self.step = state["step"]
