"""The discriminator of the paper's second stage.

Hinge loss (Lim and Ye, arXiv 1705.02894) with LeCam regularisation (Tseng et al., arXiv
2104.03310); network and hyper-parameters are those of TiTok (arXiv 2406.07550) and One-D-Piece.
"""

from __future__ import annotations

import itertools
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from onedpiece.training.distributed import all_reduce_mean_

SLOPE = 0.1  # of the leaky ReLUs
HINGE_WEIGHT, LECAM_WEIGHT, LECAM_DECAY = 0.5, 0.001, 0.999
WEIGHT_DECAY = 1e-4
MAX_GRAD_NORM = 1.0


class _BlurPool(nn.Module):
    """Halves a picture after a binomial filter of 4x4 pixels (Zhang, arXiv 1904.11486)."""

    kernel: Tensor

    def __init__(self, channels: int) -> None:
        super().__init__()
        row = torch.tensor([1.0, 3.0, 3.0, 1.0]) / 8
        kernel = (row[:, None] * row).expand(channels, 1, 4, 4).clone()
        self.register_buffer("kernel", kernel, persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        return F.conv2d(x, self.kernel, stride=2, padding=1, groups=x.shape[1])


def patch_discriminator(width: int) -> nn.Module:
    """Network: pixels in 0..1 (B, 3, H, W) -> one logit for each of 16x16 patches, (B, 1, 16, 16).

    width: channels at full resolution, a multiple of 32.
    """
    widths = [width, width, 2 * width, 4 * width]
    layers: list[nn.Module] = [nn.Conv2d(3, width, 5, padding=2), nn.LeakyReLU(SLOPE)]
    for channels_in, channels in itertools.pairwise(widths):
        layers += [
            nn.Conv2d(channels_in, channels, 3, padding=1),
            _BlurPool(channels),
            nn.GroupNorm(32, channels),
            nn.LeakyReLU(SLOPE),
        ]
    last = widths[-1]
    return nn.Sequential(
        *layers,
        nn.AdaptiveMaxPool2d((16, 16)),
        nn.Conv2d(last, last, 1),
        nn.LeakyReLU(SLOPE),
        nn.Conv2d(last, 1, 5, padding=2),
    )


class Discriminator:
    """The network, its optimiser, and the moving averages of its logits that LeCam needs."""

    def __init__(
        self, learning_rate: float, width: int = 128, device: torch.device | None = None
    ) -> None:
        self.network = patch_discriminator(width).to(device)
        matrices = [p for p in self.network.parameters() if p.ndim > 1]
        others = [p for p in self.network.parameters() if p.ndim <= 1]
        self.optimizer = torch.optim.AdamW(
            [
                {"params": matrices, "weight_decay": WEIGHT_DECAY},
                {"params": others, "weight_decay": 0.0},
            ],
            learning_rate,
            betas=(0.9, 0.999),
        )
        self.real_ema = torch.zeros((), device=device)
        self.decoded_ema = torch.zeros((), device=device)

    def logits(self, pixels: Tensor) -> Tensor:
        """Computed in float32; higher means that the pictures look more like originals."""
        return self.network(pixels.float())

    def generator_loss(self, decoded: Tensor) -> Tensor:
        """What the decoder minimises (scalar)."""
        return -self.logits(decoded).mean()

    def train_step(self, real: Tensor, decoded: Tensor, factor: float) -> None:
        """Train the network for one step, at `factor` times its learning rate."""
        real_logits, decoded_logits = self.logits(torch.cat((real, decoded))).chunk(2)
        hinge = F.relu(1 - real_logits).mean() + F.relu(1 + decoded_logits).mean()
        loss = HINGE_WEIGHT * hinge + LECAM_WEIGHT * self._lecam(real_logits, decoded_logits)
        for group in self.optimizer.param_groups:
            group["lr"] = self.optimizer.defaults["lr"] * factor
        self.optimizer.zero_grad(set_to_none=True)
        loss.backward()
        all_reduce_mean_(p.grad for p in self.network.parameters() if p.grad is not None)
        torch.nn.utils.clip_grad_norm_(self.network.parameters(), MAX_GRAD_NORM)
        self.optimizer.step()
        self._update_ema(real_logits.detach().mean(), decoded_logits.detach().mean())

    def _lecam(self, real_logits: Tensor, decoded_logits: Tensor) -> Tensor:
        real, decoded = real_logits.mean(), decoded_logits.mean()
        return (
            F.relu(real - self.decoded_ema).square().mean()
            + F.relu(self.real_ema - decoded).square().mean()
        )

    def _update_ema(self, real: Tensor, decoded: Tensor) -> None:
        means = torch.stack((real, decoded))
        all_reduce_mean_([means])
        self.real_ema.lerp_(means[0], 1 - LECAM_DECAY)
        self.decoded_ema.lerp_(means[1], 1 - LECAM_DECAY)

    def state_dict(self) -> dict[str, Any]:
        return {
            "network": self.network.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "ema": torch.stack((self.real_ema, self.decoded_ema)),
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.network.load_state_dict(state["network"])
        self.optimizer.load_state_dict(state["optimizer"])
        self.real_ema.copy_(state["ema"][0])
        self.decoded_ema.copy_(state["ema"][1])
