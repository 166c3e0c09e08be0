"""What a training step minimises: the weighted sum of the losses that the recipe names."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from onedpiece.tokenizer.onedpiece import OneDPiece, PaperOneDPiece
from onedpiece.training.convnext import ConvNext
from onedpiece.training.discriminator import Discriminator
from onedpiece.training.features import Vgg, random_view
from onedpiece.training.frozen_vq import FrozenVq
from onedpiece.training.losses import log_mse
from onedpiece.training.precision import autocast
from onedpiece.training.recipe import Recipe
from onedpiece.training.schedule import learning_rate_factor

Forward = Callable[..., tuple[Tensor, Tensor]]


@dataclass(frozen=True)
class FrozenNetworks:
    """Networks that losses need and that are not trained; None for those not at hand."""

    vgg: Vgg | None = None
    perceptual: ConvNext | None = None
    vq: FrozenVq | None = None

    @classmethod
    def load(cls, features: Path | None, vq: Path | None) -> FrozenNetworks:
        """Load those whose files are in the folder `features`, and the tokenizer in `vq`."""

        def has(*names: str) -> bool:
            return all((features / name).exists() for name in names) if features else False

        return cls(
            vgg=Vgg.load(features) if features and has(Vgg.FILE) else None,
            perceptual=ConvNext.load(features) if features and has(ConvNext.FILE) else None,
            vq=FrozenVq.load(vq) if vq else None,
        )


@dataclass
class Losses:
    """Unweighted losses by recipe setting, and the pictures that the discriminator is shown.

    original, decoded: the same random square of each picture, (B, 3, H, H) in 0..1.
    """

    terms: dict[str, Tensor]
    original: Tensor
    decoded: Tensor


class Objective:
    """The losses of a recipe, with the discriminator if it has one."""

    def __init__(
        self, recipe: Recipe, model: OneDPiece, networks: FrozenNetworks, device: torch.device
    ) -> None:
        """Raises ValueError if the recipe does not suit the model or lacks a network."""
        _check(recipe, model, networks)
        self.recipe, self.device = recipe, device
        self.vgg = networks.vgg.to(device) if networks.vgg and recipe.vgg else None
        self.perceptual = (
            networks.perceptual.to(device) if networks.perceptual and recipe.perceptual else None
        )
        self.vq = networks.vq.to(device) if networks.vq and recipe.proxy else None
        self.discriminator = (
            Discriminator(recipe.discriminator_learning_rate, device=device)
            if recipe.generator_loss
            else None
        )

    def compile(self) -> None:
        """Run the feature networks through torch.compile."""
        if self.vgg:
            self.vgg = torch.compile(self.vgg, dynamic=False)  # type: ignore[assignment]

    def losses(self, forward: Forward, pixels: Tensor, num_tokens: Tensor, step: int) -> Losses:
        """Decode a batch and compare.

        forward:    the model's forward.
        pixels:     (B, 3, 256, 256) in 0..1.
        num_tokens: (B,), of each picture.
        """
        if self.vq:
            return Losses(self._proxy_terms(self.vq, forward, pixels, num_tokens), pixels, pixels)
        with autocast(self.device):
            decoded, quantiser = forward(pixels, num_tokens)
        decoded = decoded.float()
        terms = self._pixel_terms(decoded, pixels, quantiser)
        rng = np.random.default_rng((self.recipe.seed, step, 1))
        decoded, original = self._random_square(decoded, pixels, rng)
        with autocast(self.device):
            if self.vgg:
                terms["vgg"] = self.vgg(*random_view(decoded, original, rng)).mean()
        if self.discriminator and step >= self.recipe.discriminator_start:
            terms["generator_loss"] = self.discriminator.generator_loss(decoded)
        return Losses(terms, original, decoded)

    def total(self, losses: Losses) -> Tensor:
        """The weighted sum (scalar)."""
        weighted = [getattr(self.recipe, name) * term for name, term in losses.terms.items()]
        return torch.stack(weighted).sum()

    def train_discriminator(self, losses: Losses, step: int, seconds: float) -> None:
        """Train the discriminator, if there is one and its schedule has begun, for one step."""
        first = self.recipe.discriminator_start
        if self.discriminator and step >= first:
            factor = learning_rate_factor(self.recipe, step, seconds, first)
            self.discriminator.train_step(losses.original, losses.decoded.detach(), factor)

    def _pixel_terms(self, decoded: Tensor, pixels: Tensor, quantiser: Tensor) -> dict[str, Tensor]:
        """Losses of whole pictures."""
        terms = {"log_mse": log_mse(decoded, pixels)} if self.recipe.log_mse else {}
        terms["quantiser"] = quantiser
        if self.recipe.mse:
            terms["mse"] = F.mse_loss(decoded, pixels)
        if self.perceptual:
            terms["perceptual"] = self.perceptual(decoded, pixels).mean()
        return terms

    def _proxy_terms(
        self, vq: FrozenVq, forward: Forward, pixels: Tensor, num_tokens: Tensor
    ) -> dict[str, Tensor]:
        """Losses of the codes that the frozen tokenizer gives; no picture is decoded."""
        with autocast(self.device):
            logits, quantiser = forward(pixels, num_tokens, proxy=True)
        proxy = F.cross_entropy(logits.float().flatten(2), vq.codes(pixels))
        return {"quantiser": quantiser, "proxy": proxy}

    def _random_square(
        self, decoded: Tensor, pixels: Tensor, rng: np.random.Generator
    ) -> tuple[Tensor, Tensor]:
        """The same square of `window` pixels of all pictures."""
        size = self.recipe.window
        top, left = rng.integers(pixels.shape[-1] - size + 1, size=2)
        rows, columns = slice(top, top + size), slice(left, left + size)
        return decoded[:, :, rows, columns], pixels[:, :, rows, columns]


def _check(recipe: Recipe, model: OneDPiece, networks: FrozenNetworks) -> None:
    for name in ("vgg", "perceptual"):
        if getattr(recipe, name) and getattr(networks, name) is None:
            raise ValueError(f"this recipe needs the weights of a feature network ({name})")
    if recipe.proxy and networks.vq is None:
        raise ValueError("this recipe needs the frozen tokenizer whose codes are to be learned")
    if (recipe.proxy or recipe.mse) and not isinstance(model, PaperOneDPiece):
        raise ValueError("this recipe is for the paper's configurations")
