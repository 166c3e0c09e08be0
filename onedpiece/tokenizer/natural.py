"""The natural decoder: from tokens to a picture that looks real.

The picture that the tokens describe is sampled small, so that it shows no less detail than its
pixels can hold, and a restoration network paints it four times as large: the generator of
Real-ESRGAN (Wang et al., arXiv 2107.10833) with fewer blocks, trained to paint what the whole
network paints (`onedpiece.training.distillation`).
"""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from onedpiece.constants import TILE
from onedpiece.tokenizer.spectral import SpectralQuantizer

CHANNELS, GROWTH = 64, 32
RESIDUAL = 0.2  # scale of what a block adds
SLOPE = 0.2  # of the leaky ReLUs
SMALLEST, LARGEST = 24, 48  # pixels, sides of the small picture
UPSCALING = 4


def small_side(num_tokens: int) -> int:
    """Side in pixels of the small picture of so many tokens: 24, 32, 40, 48 for 32, 64, 128, 256.

    In a picture that is larger than its detail, the network sees a blur to keep; in a smaller one,
    it sees damage to repair.
    """
    return max(SMALLEST, min(LARGEST, round(8 * math.log2(num_tokens)) - 16))


class _DenseBlock(nn.Module):
    """Five convolutions, each of which sees all that came before."""

    def __init__(self) -> None:
        super().__init__()
        for number in range(1, 5):
            channels_in = CHANNELS + GROWTH * (number - 1)
            self.add_module(f"conv{number}", nn.Conv2d(channels_in, GROWTH, 3, padding=1))
        self.conv5 = nn.Conv2d(CHANNELS + 4 * GROWTH, CHANNELS, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        seen = [x]
        for number in range(1, 5):
            convolution = self.get_submodule(f"conv{number}")
            seen.append(F.leaky_relu(convolution(torch.cat(seen, 1)), SLOPE))
        return x + RESIDUAL * self.conv5(torch.cat(seen, 1))


class _Block(nn.Module):
    """Three dense blocks."""

    def __init__(self) -> None:
        super().__init__()
        self.rdb1, self.rdb2, self.rdb3 = _DenseBlock(), _DenseBlock(), _DenseBlock()

    def forward(self, x: Tensor) -> Tensor:
        return x + RESIDUAL * self.rdb3(self.rdb2(self.rdb1(x)))


class RestorationNetwork(nn.Module):
    """The generator of Real-ESRGAN with `blocks` of its 23 blocks, and its parameter names."""

    def __init__(self, blocks: int) -> None:
        super().__init__()
        self.conv_first = nn.Conv2d(3, CHANNELS, 3, padding=1)
        self.body = nn.ModuleList(_Block() for _ in range(blocks))
        self.conv_body = nn.Conv2d(CHANNELS, CHANNELS, 3, padding=1)
        self.conv_up1 = nn.Conv2d(CHANNELS, CHANNELS, 3, padding=1)
        self.conv_up2 = nn.Conv2d(CHANNELS, CHANNELS, 3, padding=1)
        self.conv_hr = nn.Conv2d(CHANNELS, CHANNELS, 3, padding=1)
        self.conv_last = nn.Conv2d(CHANNELS, 3, 3, padding=1)

    def forward(self, pixels: Tensor) -> Tensor:
        """(B, 3, H, W) in 0..1 -> (B, 3, 4H, 4W), not clamped."""
        first = y = self.conv_first(pixels)
        for block in self.body:
            y = block(y)
        y = first + self.conv_body(y)
        for convolution in (self.conv_up1, self.conv_up2):
            y = F.leaky_relu(convolution(F.interpolate(y, scale_factor=2.0)), SLOPE)
        return self.conv_last(F.leaky_relu(self.conv_hr(y), SLOPE))


def resampling_matrix(size_in: int, size_out: int, device: torch.device | None = None) -> Tensor:
    """(size_out, size_in): bicubic interpolation along one axis, antialiased when it is reduced.

    The filter of docs/format.md: Keys' cubic with a = -1/2, normalised where it reaches over an
    edge.
    """
    scale = size_in / size_out
    support = max(scale, 1.0)
    centre = (torch.arange(size_out, device=device) + 0.5) * scale - 0.5
    x = (torch.arange(size_in, device=device) - centre[:, None]).abs() / support
    near = (1.5 * x - 2.5) * x * x + 1
    far = ((-0.5 * x + 2.5) * x - 4) * x + 2
    weights = torch.where(x < 1, near, torch.where(x < 2, far, torch.zeros_like(x)))
    return weights / weights.sum(1, keepdim=True)


def resample(pixels: Tensor, size: int) -> Tensor:
    """(B, C, H, H) -> (B, C, size, size)."""
    matrix = resampling_matrix(pixels.shape[-1], size, pixels.device).to(pixels.dtype)
    return matrix @ pixels @ matrix.T


class NaturalDecoder(nn.Module):
    """Tokens of a spectral token set -> pixels, for batches with equally many tokens.

    quantizer: the token set; it is not trained.
    blocks:    of the restoration network.
    """

    def __init__(self, quantizer: SpectralQuantizer, blocks: int) -> None:
        super().__init__()
        self.quantize = quantizer.requires_grad_(False)
        self.restore = RestorationNetwork(blocks)

    def forward(self, tokens: Tensor) -> Tensor:
        """(B, K) -> (B, 3, 256, 256), not clamped, nominally 0..1."""
        return resample(self.restore(self.small_picture(tokens)).float(), TILE)

    @torch.no_grad()
    def small_picture(self, tokens: Tensor) -> Tensor:
        """What the network is shown, (B, 3, s, s) with the side s of `small_side`."""
        with torch.autocast(tokens.device.type, enabled=False):
            codes = self.quantize.codes(tokens)
            coefficients = self.quantize.coefficients(tokens, codes)
            side = small_side(tokens.shape[1])
            basis = _small_basis(self.quantize.shape.frequencies, side, tokens.device)
            return self.quantize.synthesise(coefficients, basis).clamp(0, 1)


def _small_basis(frequencies: int, side: int, device: torch.device) -> Tensor:
    """The cosine basis at the centres of `side` cells of a tile, (frequencies, side).

    Frequencies beyond what `side` pixels can hold are 0.
    """
    k = torch.arange(frequencies, device=device, dtype=torch.float32)[:, None]
    x = (torch.arange(side, device=device, dtype=torch.float32)[None] + 0.5) / side
    basis = torch.cos(math.pi * k * x) * math.sqrt(2 / TILE) * (k < side)
    basis[0] /= math.sqrt(2)
    return basis
