"""From patch vectors to pixels: the paper's convolutional decoder, and ours that repairs a spectral picture."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from onedpiece.constants import PATCH

GRID = 16
PIXEL_CODES = (1024, 256)  # codes of MaskGIT's VQGAN, and their channels
WORK = 64  # ours works on cells of 4x4 pixels
CELL = 4


class MaskGitBlock(nn.Module):
    """Residual block of MaskGIT's VQGAN, with the parameter names of the published weights."""

    def __init__(self, channels_in: int, channels: int) -> None:
        super().__init__()
        self.norm1 = nn.GroupNorm(32, channels_in, eps=1e-6)
        self.conv1 = nn.Conv2d(channels_in, channels, 3, padding=1, bias=False)
        self.norm2 = nn.GroupNorm(32, channels, eps=1e-6)
        self.conv2 = nn.Conv2d(channels, channels, 3, padding=1, bias=False)
        if channels_in != channels:
            self.nin_shortcut = nn.Conv2d(channels, channels, 1, bias=False)
        self.changes = channels_in != channels

    def forward(self, x: Tensor) -> Tensor:
        y = self.conv1(F.silu(self.norm1(x)))
        y = self.conv2(F.silu(self.norm2(y)))
        # The shortcut of the published model looks at the block's output, not at its input.
        return y + (self.nin_shortcut(y) if self.changes else x)


class _MaskGitLevel(nn.Module):
    def __init__(self, channels_in: int, channels: int, upsample: bool) -> None:
        super().__init__()
        self.block = nn.ModuleList(
            (MaskGitBlock(channels_in, channels), MaskGitBlock(channels, channels))
        )
        if upsample:
            self.upsample_conv = nn.Conv2d(channels, channels, 3, padding=1)
        self.upsample = upsample

    def forward(self, x: Tensor) -> Tensor:
        for block in self.block:
            x = block(x)
        return convolve_doubled(x, self.upsample_conv) if self.upsample else x


def convolve_doubled(x: Tensor, conv: nn.Conv2d) -> Tensor:
    """conv(F.interpolate(x, scale_factor=2.0)), for a 3x3 convolution, in 4/9 of the multiplications.

    Of the 3x3 doubled pixels that an output pixel sees, some are the same pixel of x: their weights are added, and
    each of the four places in a doubled pixel has a 2x2 convolution of its own.
    """
    rows = []
    for down in (0, 1):
        weight = _halved(conv.weight, 2, down)
        columns = []
        for right in (0, 1):
            padded = F.pad(x, (1 - right, right, 1 - down, down))
            columns.append(F.conv2d(padded, _halved(weight, 3, right), conv.bias))
        rows.append(torch.stack(columns, 4).flatten(3))
    # On ONNX Runtime, joining rows and columns takes a third of the time of `pixel_shuffle`.
    return torch.stack(rows, 3).flatten(2, 3)


def _halved(weight: Tensor, axis: int, phase: int) -> Tensor:
    """Three weights along an axis as the two that a pixel in the first (0) or second place of its double needs."""
    first, middle, last = weight.split(1, axis)
    pair = (first + middle, last) if phase else (first, middle + last)
    return torch.cat(pair, axis)


class MaskGitDecoder(nn.Module):
    """Decoder of MaskGIT's VQGAN (arXiv 2202.04200): (B, 256, 16, 16) -> (B, 3, 256, 256)."""

    def __init__(self, base: int = 128, multipliers: tuple[int, ...] = (1, 1, 2, 2, 4)) -> None:
        super().__init__()
        widths = [base * m for m in multipliers]
        self.conv_in = nn.Conv2d(256, widths[-1], 3, padding=1)
        self.mid = nn.ModuleList(MaskGitBlock(widths[-1], widths[-1]) for _ in range(2))
        inputs = [*widths[1:], widths[-1]]
        self.up = nn.ModuleList(
            _MaskGitLevel(i, o, level > 0)
            for level, (i, o) in enumerate(zip(inputs, widths, strict=True))
        )
        self.norm_out = nn.GroupNorm(32, widths[0], eps=1e-6)
        self.conv_out = nn.Conv2d(widths[0], 3, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        x = self.conv_in(x)
        for block in self.mid:
            x = block(x)
        for level in reversed(self.up):
            x = level(x)
        return self.conv_out(F.silu(self.norm_out(x)))


class CodebookHead(nn.Module):
    """Patch vectors (B, 256, width) -> expectation over the 1024 codes of the pixel decoder, (B, 256, 16, 16)."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.ffn = nn.Sequential(nn.Conv2d(width, 1024, 1), nn.Tanh(), nn.Conv2d(1024, 1024, 1))

    def logits(self, patches: Tensor) -> Tensor:
        """How likely each patch has each code: (B, 1024, 16, 16)."""
        return self.ffn(patches.transpose(1, 2).unflatten(2, (GRID, GRID)))

    def forward(self, patches: Tensor, codebook: Tensor) -> Tensor:
        chances = self.logits(patches).softmax(1).flatten(2).transpose(1, 2)
        return (chances @ codebook).transpose(1, 2).unflatten(2, (GRID, GRID))


def zero_(layer: nn.Linear | nn.Conv2d) -> None:
    """Make a layer say nothing, so that training starts from what the rest of the model does."""
    for parameter in layer.parameters():
        nn.init.zeros_(parameter)


class _RepairBlock(nn.Module):
    """Residual block whose channels are scaled and shifted by what is known of the picture's quality.

    It changes nothing at first, so that a trained decoder can be made deeper.
    """

    def __init__(self, channels: int, condition: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(channels, channels, 3, padding=1)
        self.conv2 = nn.Conv2d(channels, channels, 3, padding=1)
        self.condition = nn.Linear(condition, 2 * channels)
        zero_(self.condition)
        zero_(self.conv2)

    def forward(self, x: Tensor, condition: Tensor) -> Tensor:
        gain, shift = self.condition(condition)[..., None, None].chunk(2, 1)
        return x + self.conv2(F.gelu(self.conv1(x) * (1 + gain) + shift))


class RepairDecoder(nn.Module):
    """Residual to add to a spectral picture: thin convolutions over 4x4-pixel cells; starts as exactly zero."""

    def __init__(self, width: int, channels: int, depth: int) -> None:
        super().__init__()
        per_cell = channels // 4
        self.from_patches = nn.Linear(width, per_cell * (WORK // GRID) ** 2)
        self.shuffle = nn.PixelShuffle(WORK // GRID)
        self.stem = nn.Conv2d(3 + per_cell, channels, 3, padding=1)
        self.blocks = nn.ModuleList(_RepairBlock(channels, width) for _ in range(depth))
        self.head = nn.Conv2d(channels, 3 * CELL * CELL, 3, padding=1)
        self.paint = nn.PixelShuffle(CELL)
        zero_(self.head)

    def forward(self, patches: Tensor, small: Tensor, condition: Tensor) -> tuple[Tensor, Tensor]:
        """patches (B, 256, width), small (B, 3, 64, 64), condition (B, width) -> residual (B, 3, 256, 256), and the
        features that it is made of (B, channels, 64, 64).
        """
        told = self.shuffle(self.from_patches(patches).transpose(1, 2).unflatten(2, (GRID, GRID)))
        x = self.stem(torch.cat((small, told), 1))
        for block in self.blocks:
            x = block(x, condition)
        features = F.gelu(x)
        return self.paint(self.head(features)), features


class PatchHint(nn.Module):
    """The small spectral picture as 16x16 patch vectors: (B, 3, 64, 64) -> (B, 256, width)."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.embed = nn.Conv2d(3, width, PATCH * WORK // 256, PATCH * WORK // 256)

    def forward(self, small: Tensor) -> Tensor:
        return self.embed(small).flatten(2).transpose(1, 2)
