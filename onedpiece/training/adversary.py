"""Critics of patches: hinge loss (Lim and Ye, arXiv 1705.02894) with LeCam regularisation (arXiv 2104.03310)."""

from __future__ import annotations

import itertools
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.utils.parametrizations import spectral_norm

from onedpiece.training.distributed import average_
from onedpiece.training.precision import autocast


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


class _Blur(nn.Module):
    """Halves a picture after a binomial filter of 4x4 (BlurPool: Zhang, arXiv 1904.11486)."""

    kernel: Tensor

    def __init__(self, channels: int) -> None:
        super().__init__()
        row = torch.tensor([1.0, 3.0, 3.0, 1.0]) / 8
        kernel = (row[:, None] * row).expand(channels, 1, 4, 4).clone()
        self.register_buffer("kernel", kernel, persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        return F.conv2d(x, self.kernel, stride=2, padding=1, groups=x.shape[1])


def paper_critic(width: int) -> nn.Module:
    """The critic of TiTok and One-D-Piece: pixels in 0..1 (B, 3, H, W) -> scores (B, 1, 16, 16)."""
    slope = 0.1
    widths = [width, width, 2 * width, 4 * width]
    layers: list[nn.Module] = [nn.Conv2d(3, width, 5, padding=2), nn.LeakyReLU(slope)]
    for before, after in itertools.pairwise(widths):
        layers += [
            nn.Conv2d(before, after, 3, padding=1),
            _Blur(after),
            nn.GroupNorm(32, after),
            nn.LeakyReLU(slope),
        ]
    last = widths[-1]
    return nn.Sequential(
        *layers,
        nn.AdaptiveMaxPool2d((16, 16)),
        nn.Conv2d(last, last, 1),
        nn.LeakyReLU(slope),
        nn.Conv2d(last, 1, 5, padding=2),
    )


class Adversary:
    """The critic, its optimiser, and its mean scores of real and decoded pictures."""

    HINGE, LECAM, LECAM_DECAY = 1.0, 0.1, 0.99

    def __init__(self, rate: float, width: int = 48, device: torch.device | None = None) -> None:
        self.critic = patch_critic(width).to(device)
        self.optimizer = torch.optim.AdamW(self.critic.parameters(), rate, betas=(0.5, 0.9))
        self._remember_nothing(device)

    def _remember_nothing(self, device: torch.device | None) -> None:
        self.real_mean = torch.zeros((), device=device)
        self.decoded_mean = torch.zeros((), device=device)

    def scores(self, pixels: Tensor) -> Tensor:
        with autocast(pixels.device):
            return self.critic(pixels * 2 - 1).float()

    def complaint(self, decoded: Tensor) -> Tensor:
        """What the decoder is to make small (scalar)."""
        return -self.scores(decoded).mean()

    def learn(self, real: Tensor, decoded: Tensor, factor: float) -> None:
        """One step of the critic at `factor` of its rate."""
        of_real, of_decoded = self.scores(torch.cat((real, decoded))).chunk(2)
        hinge = F.relu(1 - of_real).mean() + F.relu(1 + of_decoded).mean()
        for group in self.optimizer.param_groups:
            group["lr"] = self.optimizer.defaults["lr"] * factor
        self.optimizer.zero_grad(set_to_none=True)
        (self.HINGE * hinge + self.LECAM * self._lecam(of_real, of_decoded)).backward()
        average_(p.grad for p in self.critic.parameters() if p.grad is not None)
        self._step()
        means = torch.stack((of_real.detach().mean(), of_decoded.detach().mean()))
        average_([means])
        self.real_mean.lerp_(means[0], 1 - self.LECAM_DECAY)
        self.decoded_mean.lerp_(means[1], 1 - self.LECAM_DECAY)

    def _lecam(self, of_real: Tensor, of_decoded: Tensor) -> Tensor:
        return (
            F.relu(of_real - self.decoded_mean).square().mean()
            + F.relu(self.real_mean - of_decoded).square().mean()
        )

    def _step(self) -> None:
        self.optimizer.step()

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


class PaperAdversary(Adversary):
    """The critic of the paper's second stage, in float32, with its hyper-parameters."""

    HINGE, LECAM, LECAM_DECAY = 0.5, 0.001, 0.999
    CLIP = 1.0

    def __init__(self, rate: float, width: int = 128, device: torch.device | None = None) -> None:
        self.critic = paper_critic(width).to(device)
        matrices = [p for p in self.critic.parameters() if p.ndim > 1]
        others = [p for p in self.critic.parameters() if p.ndim <= 1]
        self.optimizer = torch.optim.AdamW(
            [{"params": matrices, "weight_decay": 1e-4}, {"params": others, "weight_decay": 0.0}],
            rate,
            betas=(0.9, 0.999),
        )
        self._remember_nothing(device)

    def scores(self, pixels: Tensor) -> Tensor:
        return self.critic(pixels.float())

    def _lecam(self, of_real: Tensor, of_decoded: Tensor) -> Tensor:
        return super()._lecam(of_real.mean(), of_decoded.mean())

    def _step(self) -> None:
        torch.nn.utils.clip_grad_norm_(self.critic.parameters(), self.CLIP)
        self.optimizer.step()


ADVERSARIES = {"patches": Adversary, "paper": PaperAdversary}
