"""A critic of patches: hinge loss (Lim and Ye, arXiv 1705.02894) with LeCam regularisation (arXiv 2104.03310)."""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.utils.parametrizations import spectral_norm

LECAM_WEIGHT = 0.1
LECAM_DECAY = 0.99


def _conv(channels_in: int, channels: int, size: int, stride: int) -> nn.Module:
    return spectral_norm(nn.Conv2d(channels_in, channels, size, stride, size // 2 - 1 + size % 2))


def patch_critic(width: int) -> nn.Module:
    """Pixels in 0..1 (B, 3, H, W) -> one score for each patch of 16x16 pixels with its surroundings."""
    slope = 0.2
    return nn.Sequential(
        _conv(3, width, 4, 2),
        nn.LeakyReLU(slope),
        _conv(width, 2 * width, 4, 2),
        nn.LeakyReLU(slope),
        _conv(2 * width, 4 * width, 4, 2),
        nn.LeakyReLU(slope),
        _conv(4 * width, 4 * width, 3, 1),
        nn.LeakyReLU(slope),
        _conv(4 * width, 1, 1, 1),
    )


class Adversary:
    """The critic, its optimiser, and its mean scores of real and decoded pictures."""

    def __init__(self, rate: float, width: int = 48, device: torch.device | None = None) -> None:
        self.critic = patch_critic(width).to(device)
        self.optimizer = torch.optim.AdamW(self.critic.parameters(), rate, betas=(0.5, 0.9))
        self.real_mean = torch.zeros((), device=device)
        self.decoded_mean = torch.zeros((), device=device)

    def scores(self, pixels: Tensor) -> Tensor:
        with torch.autocast(pixels.device.type, torch.bfloat16):
            return self.critic(pixels * 2 - 1).float()

    def complaint(self, decoded: Tensor) -> Tensor:
        """What the decoder is to make small (scalar)."""
        return -self.scores(decoded).mean()

    def learn(self, real: Tensor, decoded: Tensor, factor: float) -> None:
        """One step of the critic at `factor` of its rate."""
        of_real, of_decoded = self.scores(torch.cat((real, decoded))).chunk(2)
        hinge = F.relu(1 - of_real).mean() + F.relu(1 + of_decoded).mean()
        lecam = (
            F.relu(of_real - self.decoded_mean).square().mean()
            + F.relu(self.real_mean - of_decoded).square().mean()
        )
        self.optimizer.param_groups[0]["lr"] = self.optimizer.defaults["lr"] * factor
        self.optimizer.zero_grad(set_to_none=True)
        (hinge + LECAM_WEIGHT * lecam).backward()
        self.optimizer.step()
        self.real_mean.lerp_(of_real.detach().mean(), 1 - LECAM_DECAY)
        self.decoded_mean.lerp_(of_decoded.detach().mean(), 1 - LECAM_DECAY)

    def state_dict(self) -> dict[str, Any]:
        return {
            "critic": self.critic.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "means": torch.stack((self.real_mean, self.decoded_mean)),
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.critic.load_state_dict(state["critic"])
        self.optimizer.load_state_dict(state["optimizer"])
        self.real_mean.copy_(state["means"][0])
        self.decoded_mean.copy_(state["means"][1])
