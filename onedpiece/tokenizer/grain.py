"""Detail that no token describes, made of noise: how much, how fine, and in which direction is learned for every place.

The smallest squared error is a blur wherever the tokens leave open what is there. The decoder can know that there is
grass without knowing any blade of it. So bands of noise, of several frequencies and directions, are added to the picture,
each as strong as the features of `RepairDecoder` ask for at each place, and the picture's own bands are made stronger or
weaker. Video and picture coding do the first by hand (film grain synthesis of AV1, noise synthesis of JPEG XL).

In training the picture is linear in noise that nothing can foresee, and strengths are smooth, so that there is little to
draw a pattern with: that is why LPIPS may be learned from here (docs/training.md). `onedpiece.bench.grain` measures
what repeats. When decoding, the noise is one field for each band, with signs that follow from the first token.
"""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from onedpiece.constants import TILE
from onedpiece.tokenizer.pixels import CELL, zero_

FREQUENCIES = (0.36, 0.22, 0.13, 0.08)  # cycles a pixel
DIRECTIONS = 4
BANDS = len(FREQUENCIES) * DIRECTIONS
REACH = 6  # pixels to each side that a band looks at
HIDDEN = 96
REACHES = (2, 4)  # cells: how far apart those are that are looked at together
GROUPS = 4  # of channels, that keep to themselves there
NOISE = 0.04  # what strength 1 of noise means: a share of the range of pixels
OWN = 0.08  # and of the picture's own bands: a share of them
HASH = 40503  # odd, so that no two first tokens have the same bits


def band_filters() -> Tensor:
    """(BANDS, 1, 13, 13): Gabor filters of length 1; a flat picture has nothing in any of them."""
    place = torch.arange(-REACH, REACH + 1, dtype=torch.float64)
    y, x = torch.meshgrid(place, place, indexing="ij")
    filters = []
    for frequency in FREQUENCIES:
        spread = min(0.5 / frequency, (2 * REACH + 1) / 4.5)
        window = torch.exp(-(x * x + y * y) / (2 * spread**2))
        for direction in range(DIRECTIONS):
            angle = math.pi * direction / DIRECTIONS
            along = x * math.cos(angle) + y * math.sin(angle)
            wave = window * torch.cos(2 * math.pi * frequency * along)
            wave = wave - window * wave.sum() / window.sum()
            filters.append(wave / wave.norm())
    return torch.stack(filters).float()[:, None]


class Grain(nn.Module):
    """Detail to add to a decoded picture; none at first. The same tokens always give the same detail."""

    bank: Tensor
    noise: Tensor

    def __init__(self, channels: int) -> None:
        """channels: of the features that say how much."""
        super().__init__()
        self.look = nn.Conv2d(channels, HIDDEN, 3, padding=1)
        self.around = nn.ModuleList(
            nn.Conv2d(HIDDEN, HIDDEN, 3, padding=reach, dilation=reach, groups=GROUPS)
            for reach in REACHES
        )
        self.strength = nn.Conv2d(HIDDEN, 2 * BANDS, 1)
        zero_(self.strength)
        self.register_buffer("bank", band_filters(), persistent=False)
        noise = torch.randn(1, 1, TILE, TILE, generator=torch.Generator().manual_seed(0))
        self.register_buffer("noise", noise.half().float())

    def forward(self, picture: Tensor, features: Tensor, first: Tensor) -> Tensor:
        """picture (B, 3, 256, 256), features (B, channels, 64, 64), first (B,), tokens -> detail to add (B, 1, 256, 256)."""
        of_noise, of_own = self.strengths(features).chunk(2, 1)
        if self.training:  # other noise every time, so that none of it can be learned by heart
            noise = torch.randn(len(first), 1, TILE, TILE, device=first.device)
        else:
            noise, of_noise = self.noise, of_noise * _signs(first)[..., None, None]
        detail = _painted(NOISE * of_noise, self._bands(noise))
        return detail + _painted(OWN * of_own, self._bands(picture.mean(1, keepdim=True)))

    def strengths(self, features: Tensor) -> Tensor:
        """features (B, channels, 64, 64) -> (B, 2 * BANDS, 64, 64): of each band of noise, then of the picture's own."""
        seen = F.gelu(self.look(features))
        for around in self.around:
            seen = seen + F.gelu(around(seen))
        return self.strength(seen)

    def _bands(self, grey: Tensor) -> Tensor:
        """(B, 1, 256, 256) -> (B, BANDS, 256, 256)."""
        return F.conv2d(F.pad(grey, (REACH,) * 4, "reflect"), self.bank)


def _painted(strength: Tensor, bands: Tensor) -> Tensor:
    """The sum of all bands, each as strong as said for every cell."""
    smooth = F.interpolate(strength, scale_factor=float(CELL), mode="bilinear")
    return (smooth * bands).sum(1, keepdim=True)


def _signs(first: Tensor) -> Tensor:
    """1 or -1 for each band, (B, BANDS), as bits of the first token say: so that not all pictures have the same noise."""
    place = 2 ** torch.arange(BANDS, device=first.device)
    return 1 - 2 * (first[:, None] * HASH // place % 2).float()
