"""What frozen networks see: LPIPS-squeeze, VGG-19, and SqueezeNet's classes.

A decoder trained with LPIPS-squeeze against the original learns faint patterns that lower LPIPS and
that nobody wants to see (docs/training.md has the numbers). Against what a teacher paints it does
not, since that is a function of the tokens. The weights are not part of this project; `load` takes
a folder with these files:

    squeezenet1_1_torchvision.pt   torchvision's SqueezeNet 1.1 (Iandola et al., arXiv 1602.07360)
    lpips_squeeze_v0.1.pt          linear heads lin0 .. lin6 of LPIPS v0.1 (Zhang et al.,
                                   arXiv 1801.03924)
    vgg19_conv1_1_to_3_4.pt        conv1_1 .. conv3_4 of VGG-19 (Simonyan and Zisserman,
                                   arXiv 1409.1556)
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

# Where features are nearly zero, their direction is noise; this bounds the gradient there.
EPSILON = 1e-8


def _read(path: Path) -> dict[str, Tensor]:
    return torch.load(path, map_location="cpu", weights_only=True)


def _unit(features: Tensor) -> Tensor:
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
        return cls(*(_read(folder / name) for name in cls.FILES))

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
        return [_unit(x) for x in features]


class Scores(nn.Module):
    """SqueezeNet's scores of the 1000 classes of ImageNet."""

    mean: Tensor
    std: Tensor

    def __init__(self, weights: dict[str, Tensor]) -> None:
        super().__init__()
        self.network = Squeeze({k: v for k, v in weights.items() if k.startswith("features.")})
        self.weight = nn.Parameter(weights["classifier.1.weight"], False)
        self.bias = nn.Parameter(weights["classifier.1.bias"], False)
        self.register_buffer("mean", torch.tensor([0.485, 0.456, 0.406]).view(1, 3, 1, 1))
        self.register_buffer("std", torch.tensor([0.229, 0.224, 0.225]).view(1, 3, 1, 1))

    @classmethod
    def load(cls, folder: Path) -> Scores:
        """Raises FileNotFoundError if the file is missing."""
        return cls(_read(folder / Lpips.FILES[0]))

    def forward(self, pixels: Tensor) -> Tensor:
        """Pixels (B, 3, H, W) in 0..1 -> (B, 1000)."""
        pixels = (pixels - self.mean) / self.std
        features = self.network(pixels.contiguous(memory_format=torch.channels_last))[-1]
        return F.relu(F.conv2d(features, self.weight, self.bias)).mean((2, 3)).float()


class Vgg(nn.Module):
    """Mean squared distance of the directions of three activations of VGG-19."""

    FILE = "vgg19_conv1_1_to_3_4.pt"
    OUTPUTS = ("conv1_2", "conv2_2", "conv3_4")
    POOL_BEFORE = ("conv2_1", "conv3_1")
    LAYERS = (
        "conv1_1",
        "conv1_2",
        "conv2_1",
        "conv2_2",
        "conv3_1",
        "conv3_2",
        "conv3_3",
        "conv3_4",
    )

    mean: Tensor

    def __init__(self, weights: dict[str, Tensor]) -> None:
        super().__init__()
        self.weights = nn.ParameterDict(
            {name.replace(".", "_"): nn.Parameter(value, False) for name, value in weights.items()}
        )
        self.register_buffer("mean", torch.tensor([123.68, 116.779, 103.939]).view(1, 3, 1, 1))

    @classmethod
    def load(cls, folder: Path) -> Vgg:
        """Raises FileNotFoundError if the file is missing."""
        return cls(_read(folder / cls.FILE))

    def forward(self, decoded: Tensor, original: Tensor) -> Tensor:
        """Pixels (B, 3, H, W) in 0..1 -> (B,); gradients flow into `decoded` only."""
        distance = decoded.new_zeros(len(decoded))
        with torch.no_grad():
            target = self._features(original)
        for u, v in zip(self._features(decoded), target, strict=True):
            cosine = (u * v).sum(1).mean((1, 2))
            distance = distance + (2 - 2 * cosine) / len(self.OUTPUTS)
        return distance

    def _features(self, pixels: Tensor) -> list[Tensor]:
        x = (pixels * 255 - self.mean).contiguous(memory_format=torch.channels_last)
        outputs = []
        for name in self.LAYERS:
            if name in self.POOL_BEFORE:
                x = F.max_pool2d(x, 2)
            weight, bias = (self.weights[f"{name}_{part}"] for part in ("weight", "bias"))
            x = F.relu(F.conv2d(x, weight, bias, padding=1))
            if name in self.OUTPUTS:
                outputs.append(_unit(x))
        return outputs


def random_turn(
    decoded: Tensor, original: Tensor, rng: np.random.Generator
) -> tuple[Tensor, Tensor]:
    """Turn both batches (B, 3, H, H) by a multiple of 90 degrees and perhaps mirror them.

    Both change in the same way.
    """
    turns, mirror = int(rng.integers(4)), bool(rng.integers(2))

    def turn(pixels: Tensor) -> Tensor:
        pixels = pixels.rot90(turns, (2, 3))
        return pixels.flip(3) if mirror else pixels

    return turn(decoded), turn(original)


def random_view(
    decoded: Tensor, original: Tensor, rng: np.random.Generator
) -> tuple[Tensor, Tensor]:
    """`random_turn`, then shrink both batches and permute their colours in the same way.

    A pattern that fits the grid of a network lowers its distance. Random views move the grid at
    every step (E-LPIPS: Kettunen et al., arXiv 1906.03973).
    """
    size = int(rng.integers(original.shape[-1] // 2, original.shape[-1] + 1))
    colours = rng.permutation(3).tolist()

    def shrink(pixels: Tensor) -> Tensor:
        permuted = pixels[:, colours]
        return F.interpolate(permuted, (size, size), mode="bilinear", antialias=True)

    decoded, original = random_turn(decoded, original, rng)
    return shrink(decoded), shrink(original)
