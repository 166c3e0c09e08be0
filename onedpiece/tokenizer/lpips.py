"""LPIPS-squeeze (Zhang et al., arXiv 1801.03924): how different two pictures look.

The weights are not part of this project; `Lpips.load` takes a folder with these files:

    squeezenet1_1_torchvision.pt   torchvision's SqueezeNet 1.1 (Iandola et al., arXiv 1602.07360)
    lpips_squeeze_v0.1.pt          the linear heads, `lpips/weights/v0.1/squeeze.pth` of the package
                                   lpips; its tensors may also be called lin0 .. lin6
"""

from __future__ import annotations

from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor, nn

# Where features are nearly zero, their direction is noise; this bounds the gradient there.
EPSILON = 1e-8


def read_weights(path: Path) -> dict[str, Tensor]:
    """The tensors of a file that `torch.save` wrote."""
    return torch.load(path, map_location="cpu", weights_only=True)


def unit(features: Tensor) -> Tensor:
    """Scale the channel vector of every position to length 1."""
    return features * torch.rsqrt(features.square().sum(1, keepdim=True) + EPSILON)


class Squeeze(nn.Module):
    """SqueezeNet 1.1 up to its last fire module; parameters have torchvision's names."""

    POOL_BEFORE = (3, 6, 9)
    FIRES = (3, 4, 6, 7, 9, 10, 11, 12)
    OUTPUTS = (4, 7, 9, 10, 11, 12)

    def __init__(self, weights: dict[str, Tensor]) -> None:
        super().__init__()
        self.weights = nn.ParameterDict(
            {name.replace(".", "_"): nn.Parameter(value, False) for name, value in weights.items()}
        )

    def _conv(self, x: Tensor, name: str, **options: int) -> Tensor:
        weight, bias = (self.weights[f"features_{name}_{part}"] for part in ("weight", "bias"))
        return F.relu(F.conv2d(x, weight, bias, **options))

    def forward(self, x: Tensor) -> list[Tensor]:
        """Normalised pixels (B, 3, H, W) -> the seven activations that LPIPS compares."""
        x = self._conv(x, "0", stride=2)
        outputs = [x]
        for layer in self.FIRES:
            if layer in self.POOL_BEFORE:
                x = F.max_pool2d(x, 3, 2, ceil_mode=True)
            x = self._conv(x, f"{layer}_squeeze")
            x = torch.cat(
                (
                    self._conv(x, f"{layer}_expand1x1"),
                    self._conv(x, f"{layer}_expand3x3", padding=1),
                ),
                1,
            )
            if layer in self.OUTPUTS:
                outputs.append(x)
        return outputs


class Lpips(nn.Module):
    """LPIPS-squeeze v0.1: distance of two batches of pictures, one number for each pair."""

    FILES = ("squeezenet1_1_torchvision.pt", "lpips_squeeze_v0.1.pt")

    shift: Tensor
    scale: Tensor

    def __init__(self, network: dict[str, Tensor], heads: dict[str, Tensor]) -> None:
        super().__init__()
        self.network = Squeeze({k: v for k, v in network.items() if k.startswith("features.")})
        self.heads = nn.ParameterList(
            nn.Parameter(heads[f"lin{i}"].reshape(1, -1, 1, 1), False) for i in range(7)
        )
        self.register_buffer("shift", torch.tensor([-0.030, -0.088, -0.188]).view(1, 3, 1, 1))
        self.register_buffer("scale", torch.tensor([0.458, 0.448, 0.450]).view(1, 3, 1, 1))

    @classmethod
    def load(cls, folder: Path) -> Lpips:
        """Raises FileNotFoundError if a file is missing."""
        network, heads = (read_weights(folder / name) for name in cls.FILES)
        return cls(network, {name.partition(".")[0]: value for name, value in heads.items()})

    def forward(self, decoded: Tensor, original: Tensor) -> Tensor:
        """Pixels (B, 3, H, W) in 0..1 -> (B,)."""
        distance = decoded.new_zeros(len(decoded))
        target = self._features(original)
        for u, v, head in zip(self._features(decoded), target, self.heads, strict=True):
            distance = distance + ((u - v).square() * head).sum(1).mean((1, 2))
        return distance

    def _features(self, pixels: Tensor) -> list[Tensor]:
        pixels = (pixels * 2 - 1 - self.shift) / self.scale
        features = self.network(pixels.contiguous(memory_format=torch.channels_last))
        return [unit(x) for x in features]
