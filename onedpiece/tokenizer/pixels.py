"""From patch vectors to pixels.

Two decoders: that of MaskGIT-VQGAN, which the paper's model has, and a thin one that repairs the
image of a spectral start.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from onedpiece.constants import PATCH, TILE

GRID = TILE // PATCH
"""Patches along each side of a tile."""

PIXEL_CODES = (1024, 256)
"""Codes of MaskGIT-VQGAN, and their channels."""

CELL = 4
"""Side in pixels of the cells on which `RepairDecoder` works."""

WORK = TILE // CELL
"""Cells along each side of a tile."""


class MaskGitBlock(nn.Module):
    """Residual block of MaskGIT-VQGAN, with the parameter names of the published weights."""

    def __init__(self, channels_in: int, channels: int) -> None:
        super().__init__()
        self.norm1 = nn.GroupNorm(32, channels_in, eps=1e-6)
        self.conv1 = nn.Conv2d(channels_in, channels, 3, padding=1, bias=False)
        self.norm2 = nn.GroupNorm(32, channels, eps=1e-6)
        self.conv2 = nn.Conv2d(channels, channels, 3, padding=1, bias=False)
        if channels_in != channels:
            self.nin_shortcut = nn.Conv2d(channels, channels, 1, bias=False)
        self.has_shortcut = channels_in != channels

    def forward(self, x: Tensor) -> Tensor:
        y = self.conv1(F.silu(self.norm1(x)))
        y = self.conv2(F.silu(self.norm2(y)))
        # The published model applies the shortcut to the block's output, not to its input.
        return y + (self.nin_shortcut(y) if self.has_shortcut else x)


class _MaskGitLevel(nn.Module):
    """Two residual blocks at one resolution, then upsampling by 2 unless it is the last level."""

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
        return upsample_and_convolve(x, self.upsample_conv) if self.upsample else x


def upsample_and_convolve(x: Tensor, conv: nn.Conv2d) -> Tensor:
    """conv(F.interpolate(x, scale_factor=2.0)) for a 3x3 convolution, in 4/9 of the products.

    Nearest-neighbour upsampling repeats pixels, so that some of the 3x3 inputs of an output pixel
    are equal and their weights can be added. What is left is a 2x2 convolution of x for each of the
    four positions of an output pixel in its upsampled input pixel.
    """
    rows = []
    for bottom in (0, 1):
        weight = _merge_weights(conv.weight, 2, bottom)
        columns = []
        for right in (0, 1):
            padded = F.pad(x, (1 - right, right, 1 - bottom, bottom))
            columns.append(F.conv2d(padded, _merge_weights(weight, 3, right), conv.bias))
        rows.append(torch.stack(columns, 4).flatten(3))
    # On ONNX Runtime, joining rows and columns takes a third of the time of `pixel_shuffle`.
    return torch.stack(rows, 3).flatten(2, 3)


def _merge_weights(weight: Tensor, axis: int, position: int) -> Tensor:
    """Three weights along an axis as two, for the first (0) or second (1) upsampled pixel."""
    first, middle, last = weight.split(1, axis)
    pair = (first + middle, last) if position else (first, middle + last)
    return torch.cat(pair, axis)


class MaskGitDecoder(nn.Module):
    """Decoder of MaskGIT-VQGAN (arXiv 2202.04200): (B, 256, 16, 16) -> (B, 3, 256, 256)."""

    def __init__(self, base: int = 128, multipliers: tuple[int, ...] = (1, 1, 2, 2, 4)) -> None:
        """base: channels at full resolution; multipliers: of each level, full resolution first."""
        super().__init__()
        widths = [base * m for m in multipliers]
        self.conv_in = nn.Conv2d(PIXEL_CODES[1], widths[-1], 3, padding=1)
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
    """Patch vectors -> expectation over the 1024 codes of the pixel decoder.

    The hidden layer is twice as wide as the transformer, as in the published models.
    """

    def __init__(self, width: int) -> None:
        super().__init__()
        hidden, codes = 2 * width, PIXEL_CODES[0]
        self.ffn = nn.Sequential(
            nn.Conv2d(width, hidden, 1), nn.Tanh(), nn.Conv2d(hidden, codes, 1)
        )

    def logits(self, patches: Tensor) -> Tensor:
        """patches (B, 256, width) -> logits of the codes of each patch, (B, 1024, 16, 16)."""
        return self.ffn(patches.transpose(1, 2).unflatten(2, (GRID, GRID)))

    def forward(self, patches: Tensor, codebook: Tensor) -> Tensor:
        """patches (B, 256, width), codebook (1024, 256) -> expected codes (B, 256, 16, 16)."""
        probabilities = self.logits(patches).softmax(1).flatten(2).transpose(1, 2)
        return (probabilities @ codebook).transpose(1, 2).unflatten(2, (GRID, GRID))


def zero_(layer: nn.Linear | nn.Conv2d) -> None:
    """Zero-initialise a layer, so that the residual to which it leads starts at zero."""
    for parameter in layer.parameters():
        nn.init.zeros_(parameter)


class _RepairBlock(nn.Module):
    """Residual block whose channels are scaled and shifted by a condition vector.

    It starts as the identity, so that blocks can be added to a trained decoder.
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
    """Predicts the residual of a spectral image by convolutions over cells of 4x4 pixels.

    The last layer is zero-initialised, so that the residual starts at zero.
    """

    def __init__(self, width: int, channels: int, depth: int) -> None:
        """width: of patch vectors and of the condition; depth: number of residual blocks."""
        super().__init__()
        per_cell = channels // 4
        self.from_patches = nn.Linear(width, per_cell * (WORK // GRID) ** 2)
        self.patches_to_cells = nn.PixelShuffle(WORK // GRID)
        self.stem = nn.Conv2d(3 + per_cell, channels, 3, padding=1)
        self.blocks = nn.ModuleList(_RepairBlock(channels, width) for _ in range(depth))
        self.head = nn.Conv2d(channels, 3 * CELL * CELL, 3, padding=1)
        self.cells_to_pixels = nn.PixelShuffle(CELL)
        zero_(self.head)

    def forward(self, patches: Tensor, small: Tensor, condition: Tensor) -> Tensor:
        """Residual (B, 3, 256, 256).

        patches:   (B, 256, width), row-major.
        small:     (B, 3, 64, 64), the spectral image at the resolution of cells, in -1..1.
        condition: (B, width).
        """
        grid = self.from_patches(patches).transpose(1, 2).unflatten(2, (GRID, GRID))
        x = self.stem(torch.cat((small, self.patches_to_cells(grid)), 1))
        for block in self.blocks:
            x = block(x, condition)
        return self.cells_to_pixels(self.head(F.gelu(x)))


class PatchHint(nn.Module):
    """The small spectral image as patch vectors: (B, 3, 64, 64) -> (B, 256, width)."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.embed = nn.Conv2d(3, width, PATCH // CELL, PATCH // CELL)

    def forward(self, small: Tensor) -> Tensor:
        return self.embed(small).flatten(2).transpose(1, 2)
