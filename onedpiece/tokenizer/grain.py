"""Grain: detail made of noise that no token describes.

Where the tokens leave details open, the smallest squared error is a blur: the decoder can know that
there is grass, but not where each blade is. This module adds bands of noise, of several frequencies
and directions, and amplifies or weakens the same bands of the decoded image. The strength of each
band is predicted for every place from the features of `RepairDecoder`. Film grain synthesis of AV1
and noise synthesis of JPEG XL add noise with strengths set by hand.

The noise is new in every training step and the strengths are smooth, so that the network can hardly
draw a pattern with them. This is why LPIPS may be a training loss of this module
(docs/training.md); `onedpiece.bench.ablations.grain` measures repeated patterns. When decoding, the
noise is one fixed field for each band, with signs that follow from the first token, so that the
same tokens give the same image.
"""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from onedpiece.constants import TILE
from onedpiece.tokenizer.pixels import CELL, zero_

FREQUENCIES = (0.36, 0.22, 0.13, 0.08)  # cycles per pixel
DIRECTIONS = 4
BANDS = len(FREQUENCIES) * DIRECTIONS
RADIUS = 6  # of a band filter, in pixels
HIDDEN = 96  # channels of the network that predicts the strengths
DILATIONS = (2, 4)  # of its convolutions, in cells
GROUPS = 4  # of channels in these convolutions
NOISE_GAIN = 0.04  # amplitude of the noise at strength 1, in pixel values 0..1
IMAGE_GAIN = 0.08  # share of the image's own bands that strength 1 adds
HASH = 40503  # odd, so that no two first tokens give the same bits


def band_filters() -> Tensor:
    """Gabor filters of unit norm and zero sum: (BANDS, 1, 13, 13)."""
    offsets = torch.arange(-RADIUS, RADIUS + 1, dtype=torch.float64)
    y, x = torch.meshgrid(offsets, offsets, indexing="ij")
    filters = []
    for frequency in FREQUENCIES:
        sigma = min(0.5 / frequency, (2 * RADIUS + 1) / 4.5)
        window = torch.exp(-(x * x + y * y) / (2 * sigma**2))
        for direction in range(DIRECTIONS):
            angle = math.pi * direction / DIRECTIONS
            distance = x * math.cos(angle) + y * math.sin(angle)
            wave = window * torch.cos(2 * math.pi * frequency * distance)
            wave = wave - window * wave.sum() / window.sum()
            filters.append(wave / wave.norm())
    return torch.stack(filters).float()[:, None]


class Grain(nn.Module):
    """Predicts the detail to add to a decoded image; exactly zero before training.

    The names `look`, `around`, `strength` and `noise` are those of stored weights.
    """

    bank: Tensor
    noise: Tensor

    def __init__(self, channels: int) -> None:
        """channels: number of channels of the features."""
        super().__init__()
        self.look = nn.Conv2d(channels, HIDDEN, 3, padding=1)
        self.around = nn.ModuleList(
            nn.Conv2d(HIDDEN, HIDDEN, 3, padding=dilation, dilation=dilation, groups=GROUPS)
            for dilation in DILATIONS
        )
        self.strength = nn.Conv2d(HIDDEN, 2 * BANDS, 1)
        zero_(self.strength)
        self.register_buffer("bank", band_filters(), persistent=False)
        noise = torch.randn(1, 1, TILE, TILE, generator=torch.Generator().manual_seed(0))
        self.register_buffer("noise", noise.half().float())

    def forward(self, image: Tensor, features: Tensor, first: Tensor) -> Tensor:
        """Detail to add, the same for all colour channels: (B, 1, 256, 256).

        image:    (B, 3, 256, 256) in 0..1, the decoded image.
        features: (B, channels, 64, 64), those of `RepairDecoder`.
        first:    (B,) integers, the first token of each image.
        """
        noise_strength, image_strength = self.strengths(features).chunk(2, 1)
        if self.training:  # new noise in every step, so that none of it can be learned by heart
            noise = torch.randn(len(first), 1, TILE, TILE, device=first.device)
        else:
            noise, noise_strength = self.noise, noise_strength * _signs(first)[..., None, None]
        grey = image.mean(1, keepdim=True)
        from_noise = _weighted_sum(NOISE_GAIN * noise_strength, self._bands(noise))
        return from_noise + _weighted_sum(IMAGE_GAIN * image_strength, self._bands(grey))

    def strengths(self, features: Tensor) -> Tensor:
        """features (B, channels, 64, 64) -> (B, 2 * BANDS, 64, 64).

        The first BANDS channels are for the bands of noise, the others for those of the image.
        """
        hidden = F.gelu(self.look(features))
        for convolution in self.around:
            hidden = hidden + F.gelu(convolution(hidden))
        return self.strength(hidden)

    def _bands(self, grey: Tensor) -> Tensor:
        """(B, 1, 256, 256) -> (B, BANDS, 256, 256)."""
        return F.conv2d(F.pad(grey, (RADIUS,) * 4, "reflect"), self.bank)


def _weighted_sum(strengths: Tensor, bands: Tensor) -> Tensor:
    """Sum of bands (B, BANDS, 256, 256), weighted by strengths (B, BANDS, 64, 64)."""
    weights = F.interpolate(strengths, scale_factor=float(CELL), mode="bilinear")
    return (weights * bands).sum(1, keepdim=True)


def _signs(first: Tensor) -> Tensor:
    """A sign, 1 or -1, for each band of each image, (B, BANDS): bits of a hash of the first token.

    Without them all images would have the same noise.
    """
    powers = 2 ** torch.arange(BANDS, device=first.device)
    return 1 - 2 * (first[:, None] * HASH // powers % 2).float()
