"""An exponential moving average of the weights: what is evaluated and exported."""

from __future__ import annotations

import torch
from torch import Tensor

from onedpiece.tokenizer.config import Config
from onedpiece.tokenizer.onedpiece import OneDPiece, build


class Ema:
    """`weights` has an entry for every parameter and buffer of the model."""

    def __init__(self, model: OneDPiece, decay: float) -> None:
        self.decay = decay
        self.weights = {name: value.detach().clone() for name, value in model.state_dict().items()}

    @torch.no_grad()
    def update(self, model: OneDPiece, step: int) -> None:
        """Take in the weights after a step. Early steps decay faster, to forget the start."""
        decay = min(self.decay, (1 + step) / (10 + step))
        for name, value in model.state_dict().items():
            if value.is_floating_point():
                self.weights[name].lerp_(value, 1 - decay)


def with_weights(config: Config, weights: dict[str, Tensor]) -> OneDPiece:
    """A model with the given weights, in evaluation mode on the CPU."""
    model = build(config)
    model.load_state_dict(weights)
    return model.eval()
