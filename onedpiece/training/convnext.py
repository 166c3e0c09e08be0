"""The paper's perceptual distance (arXiv 2501.10064, section 4): ImageNet logits of ConvNeXt-S."""

from __future__ import annotations

from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor, nn


class _Block(nn.Module):
    """ConvNeXt's block (Liu et al., arXiv 2201.03545, figure 4)."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.block = nn.ModuleDict(
            {
                "0": nn.Conv2d(width, width, 7, padding=3, groups=width),
                "2": nn.LayerNorm(width, eps=1e-6),
                "3": nn.Linear(width, 4 * width),
                "5": nn.Linear(4 * width, width),
            }
        )
        self.layer_scale = nn.Parameter(torch.ones(width, 1, 1))

    def forward(self, x: Tensor) -> Tensor:
        y = self.block["0"](x).permute(0, 2, 3, 1)
        y = self.block["5"](F.gelu(self.block["3"](self.block["2"](y))))
        return x + self.layer_scale * y.permute(0, 3, 1, 2)


class _ChannelNorm(nn.LayerNorm):
    """Layer norm over the channels of (B, C, H, W)."""

    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x.permute(0, 2, 3, 1)).permute(0, 3, 1, 2)


class ConvNext(nn.Module):
    """Squared difference of the ImageNet logits of ConvNeXt-S (Liu et al., arXiv 2201.03545).

    `load` reads `convnext_small_torchvision.pt`, torchvision's weights (IMAGENET1K_V1), from a
    folder. Parameter names are torchvision's.
    """

    FILE = "convnext_small_torchvision.pt"
    SIZE = 224
    mean: Tensor
    deviation: Tensor

    def __init__(
        self,
        widths: tuple[int, ...] = (96, 192, 384, 768),
        depths: tuple[int, ...] = (3, 3, 27, 3),
    ) -> None:
        super().__init__()
        stem = nn.Sequential(nn.Conv2d(3, widths[0], 4, 4), _ChannelNorm(widths[0], eps=1e-6))
        stages: list[nn.Module] = [stem]
        for level, (width, depth) in enumerate(zip(widths, depths, strict=True)):
            if level:
                previous = widths[level - 1]
                stages.append(
                    nn.Sequential(
                        _ChannelNorm(previous, eps=1e-6), nn.Conv2d(previous, width, 2, 2)
                    )
                )
            stages.append(nn.Sequential(*(_Block(width) for _ in range(depth))))
        self.features = nn.Sequential(*stages)
        self.classifier = nn.ModuleDict(
            {"0": _ChannelNorm(widths[-1], eps=1e-6), "2": nn.Linear(widths[-1], 1000)}
        )
        mean, deviation = torch.tensor([[0.485, 0.456, 0.406], [0.229, 0.224, 0.225]])
        self.register_buffer("mean", mean.view(1, 3, 1, 1), persistent=False)
        self.register_buffer("deviation", deviation.view(1, 3, 1, 1), persistent=False)
        self.requires_grad_(False).eval()

    @classmethod
    def load(cls, folder: Path) -> ConvNext:
        """Raises FileNotFoundError if the file is missing."""
        model = cls()
        model.load_state_dict(torch.load(folder / cls.FILE, map_location="cpu", weights_only=True))
        return model

    def forward(self, decoded: Tensor, original: Tensor) -> Tensor:
        """Pixels (B, 3, H, W) in 0..1 -> (B,); gradients flow into `decoded` only."""
        with torch.no_grad():
            target = self._logits(original)
        return (self._logits(decoded) - target).square().mean(1)

    def _logits(self, pixels: Tensor) -> Tensor:
        size = (self.SIZE, self.SIZE)
        x = F.interpolate(pixels, size, mode="bilinear", align_corners=False, antialias=True)
        x = self.features((x - self.mean) / self.deviation)
        x = self.classifier["0"](x.mean((2, 3), keepdim=True)).flatten(1)
        return self.classifier["2"](x)
