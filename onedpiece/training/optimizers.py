"""Which optimiser trains which parameter, at which learning rate and weight decay."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from onedpiece.tokenizer.onedpiece import OneDPiece, PaperOneDPiece
from onedpiece.training.muon import Muon
from onedpiece.training.recipe import Recipe

# Prefixes of parameter names.
CODEBOOKS = "quantize.codebooks"
ENCODER = ("encoder.", "latent_tokens", "quantize.embedding")
PIXEL_DECODER = ("pixel_quantize.", "pixel_decoder.")
MUON = ("decoder.transformer.", "repair.from_patches.", "repair.stem.", "repair.blocks.")
# Parts of names in the paper's model, whose matrices are looked up or added, not multiplied with.
NOT_DECAYED = ("embedding", "latent_tokens", "mask_token")


def build_optimizers(model: OneDPiece, recipe: Recipe) -> list[torch.optim.Optimizer]:
    """AdamW, and Muon if the recipe uses it; freezes all parameters whose learning rate is 0.

    Every parameter group has its peak learning rate as `peak`.
    """
    adamw, muon = _parameter_groups(model, recipe)
    optimizers: list[torch.optim.Optimizer] = [
        torch.optim.AdamW(adamw, lr=recipe.learning_rate, betas=(0.9, recipe.beta2))
    ]
    if muon:
        optimizers.append(Muon(muon, lr=recipe.muon_learning_rate))
    return optimizers


def set_learning_rates(optimizers: list[torch.optim.Optimizer], factor: float) -> None:
    """Set every learning rate to `factor` times its peak."""
    for optimizer in optimizers:
        for group in optimizer.param_groups:
            group["lr"] = group["peak"] * factor


def _parameter_groups(
    model: OneDPiece, recipe: Recipe
) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """Groups of equal learning rate and weight decay, for AdamW and for Muon."""
    groups: dict[tuple[bool, float, float], list[Tensor]] = {}
    for name, parameter in model.named_parameters():
        peak = _peak_learning_rate(name, recipe)
        parameter.requires_grad_(peak > 0)
        use_muon = recipe.muon_learning_rate > 0 and parameter.ndim > 1 and name.startswith(MUON)
        decay = recipe.weight_decay if _is_decayed(model, name, parameter) else 0.0
        key = use_muon, recipe.muon_learning_rate if use_muon else peak, decay
        groups.setdefault(key, []).append(parameter)
    adamw: list[dict[str, Any]] = []
    muon: list[dict[str, Any]] = []
    for (use_muon, peak, decay), parameters in groups.items():
        group = {"params": parameters, "peak": peak, "weight_decay": decay}
        (muon if use_muon else adamw).append(group)
    return adamw, muon


def _peak_learning_rate(name: str, recipe: Recipe) -> float:
    if recipe.proxy and name.startswith(PIXEL_DECODER):
        return 0.0
    if name == CODEBOOKS:
        return recipe.codebook_learning_rate
    if name.startswith(ENCODER):
        return recipe.encoder_learning_rate
    return recipe.learning_rate


def _is_decayed(model: OneDPiece, name: str, parameter: Tensor) -> bool:
    """Weight decay is for matrices that are multiplied with."""
    if isinstance(model, PaperOneDPiece) and any(part in name for part in NOT_DECAYED):
        return False
    return parameter.ndim > 1 and name != CODEBOOKS
