"""What frozen networks see: features of VGG-19, and SqueezeNet's scores of classes.

The weights are not part of this project; `load` takes a folder with these files:

    squeezenet1_1_torchvision.pt   torchvision's SqueezeNet 1.1 (Iandola et al., arXiv 1602.07360)
    vgg19_conv1_1_to_3_4.pt        conv1_1 .. conv3_4 of VGG-19 (Simonyan and Zisserman,
                                   arXiv 1409.1556)
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from onedpiece.tokenizer.lpips import Lpips, Squeeze, read_weights, unit

SQUARE = 128  # pixels, side of what VGG-19 sees of a picture in training


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
        return cls(read_weights(folder / Lpips.FILES[0]))

    def forward(self, pixels: Tensor) -> Tensor:
        """Pixels (B, 3, H, W) in 0..1 -> (B, 1000)."""
        pixels = (pixels - self.mean) / self.std
        features = self.network(pixels.contiguous(memory_format=torch.channels_last))[-1]
        return F.relu(F.conv2d(features, self.weight, self.bias)).mean((2, 3)).float()

    def distance(self, decoded: Tensor, original: Tensor) -> Tensor:
        """1 minus the cosine of the scores (scalar); gradients flow into `decoded` only."""
        with torch.no_grad():
            known = self(original)
        return (1 - torch.cosine_similarity(self(decoded), known, 1)).mean().float()


class Vgg(nn.Module):
    """Mean squared distance of the directions of three activations of VGG-19."""

    FILE = "vgg19_conv1_1_to_3_4.pt"
    OUTPUTS = ("conv1_2", "conv2_2", "conv3_4")
    CHANNELS = (64, 128, 256)
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
        return cls(read_weights(folder / cls.FILE))

    def forward(self, decoded: Tensor, original: Tensor) -> Tensor:
        """Pixels (B, 3, H, W) in 0..1 -> (B,); gradients flow into `decoded` only."""
        distance = decoded.new_zeros(len(decoded))
        with torch.no_grad():
            target = self.features(original)
        for u, v in zip(self.features(decoded), target, strict=True):
            cosine = (u * v).sum(1).mean((1, 2))
            distance = distance + (2 - 2 * cosine) / len(self.OUTPUTS)
        return distance

    def features(self, pixels: Tensor) -> list[Tensor]:
        """Pixels (B, 3, H, W) in 0..1 -> the outputs, at a whole, half and quarter of the side.

        The channel vector of every position has length 1.
        """
        x = (pixels * 255 - self.mean).contiguous(memory_format=torch.channels_last)
        outputs = []
        for name in self.LAYERS:
            if name in self.POOL_BEFORE:
                x = F.max_pool2d(x, 2)
            weight, bias = (self.weights[f"{name}_{part}"] for part in ("weight", "bias"))
            x = F.relu(F.conv2d(x, weight, bias, padding=1))
            if name in self.OUTPUTS:
                outputs.append(unit(x))
        return outputs


def random_square(side: int, rng: np.random.Generator) -> tuple[slice, ...]:
    """Indices of a square of 128 pixels, anywhere in pictures (B, C, side, side)."""
    top, left = rng.integers(side - SQUARE + 1, size=2)
    return slice(None), slice(None), slice(top, top + SQUARE), slice(left, left + SQUARE)


def random_view(
    decoded: Tensor, original: Tensor, rng: np.random.Generator
) -> tuple[Tensor, Tensor]:
    """Turn, mirror and shrink both batches (B, 3, H, H) and permute their colours, at random.

    Both change in the same way.

    A pattern that fits the grid of a network lowers its distance. Random views move the grid at
    every step (E-LPIPS: Kettunen et al., arXiv 1906.03973).
    """
    size = int(rng.integers(original.shape[-1] // 2, original.shape[-1] + 1))
    colours = rng.permutation(3).tolist()
    turns, mirror = int(rng.integers(4)), bool(rng.integers(2))

    def view(pixels: Tensor) -> Tensor:
        pixels = pixels.rot90(turns, (2, 3))[:, colours]
        pixels = pixels.flip(3) if mirror else pixels
        return F.interpolate(pixels, (size, size), mode="bilinear", antialias=True)

    return view(decoded), view(original)
