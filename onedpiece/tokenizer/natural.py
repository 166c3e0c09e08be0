"""The natural decoder: from tokens to a picture that looks real.

The picture that the tokens describe is sampled small, so that it shows no less detail than its
pixels can hold. A restoration network paints it four times as large: the generator of Real-ESRGAN
(Wang et al., arXiv 2107.10833) with fewer blocks. `correct` holds the result to what the network
was shown. `onedpiece.training.distillation` trains it.
"""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from onedpiece.constants import TILE
from onedpiece.tokenizer.base import OneDPiece
from onedpiece.tokenizer.config import Config
from onedpiece.tokenizer.spectral import SpectralQuantizer

CHANNELS, GROWTH = 64, 32
RESIDUAL = 0.2  # scale of what a block adds
SLOPE = 0.2  # of the leaky ReLUs
SURE = 5  # cells a side whose mean colours come from the tokens, not from the network
AROUND = 5  # side of the square of small pixels whose darkest and brightest bound a pixel


def small_side(num_tokens: int) -> int:
    """Side in pixels of the small picture of so many tokens: 27, 31, 35, 39 for 32, 64, 128, 256.

    In a picture that is larger than its detail, the network sees a blur to keep; in a smaller one,
    it sees damage to repair.
    """
    # For integers it is min(...); a graph has symbols in their place.
    side = torch.sym_min(23 + num_tokens // 8, 27 + num_tokens // 16)
    return torch.sym_min(side, 31 + num_tokens // 32)


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
    """The generator of Real-ESRGAN with `blocks` of its 23 blocks, and its parameter names.

    painting: channels at four times the size, where most of the memory goes; 64 in Real-ESRGAN.
    """

    def __init__(self, blocks: int, painting: int = CHANNELS) -> None:
        super().__init__()
        self.conv_first = nn.Conv2d(3, CHANNELS, 3, padding=1)
        self.body = nn.ModuleList(_Block() for _ in range(blocks))
        self.conv_body = nn.Conv2d(CHANNELS, CHANNELS, 3, padding=1)
        self.conv_up1 = nn.Conv2d(CHANNELS, CHANNELS, 3, padding=1)
        self.conv_up2 = nn.Conv2d(CHANNELS, painting, 3, padding=1)
        self.conv_hr = nn.Conv2d(painting, painting, 3, padding=1)
        self.conv_last = nn.Conv2d(painting, 3, 3, padding=1)

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


def correct(painted: Tensor, small: Tensor) -> Tensor:
    """What the network painted (B, 3, 256, 256), held to what it was shown (B, 3, s, s).

    Its mean colours stray, and lines that it invents, as in place of writing, may be darker or
    brighter than anything that it was shown there.
    """
    painted = painted + resample(resample(small, SURE) - resample(painted, SURE), TILE)
    brightest = F.max_pool2d(small, AROUND, 1, AROUND // 2)
    darkest = -F.max_pool2d(-small, AROUND, 1, AROUND // 2)
    return torch.minimum(torch.maximum(painted, resample(darkest, TILE)), resample(brightest, TILE))


class NaturalOneDPiece(OneDPiece):
    """The tokens of the spectral start, and the natural decoder. The tokens are not trained."""

    def __init__(self, config: Config) -> None:
        super().__init__()
        assert config.spectral is not None and config.natural is not None
        self.config = config
        self.quantize = SpectralQuantizer(config.spectral).requires_grad_(False)
        self.restore = RestorationNetwork(config.natural.blocks, config.natural.painting)

    def encode(self, pixels: Tensor) -> Tensor:
        return self.quantize.tokens(self.quantize.analyse(pixels))

    def decode(self, tokens: Tensor, num_tokens: Tensor | None = None) -> Tensor:
        if num_tokens is None:
            return self.reconstruct(tokens, self.quantize.codes(tokens))
        pixels = tokens.new_zeros((len(tokens), 3, TILE, TILE), dtype=torch.float32)
        for count in num_tokens.unique().tolist():
            rows = num_tokens == count
            pixels[rows] = self.decode(tokens[rows, :count])
        return pixels

    def forward(self, pixels: Tensor, num_tokens: Tensor) -> tuple[Tensor, Tensor]:
        return self.decode(self.encode(pixels), num_tokens), pixels.new_zeros(())

    def reconstruct(self, tokens: Tensor, codes: Tensor) -> Tensor:
        """Tokens (B, K) and their vectors (B, K, dim) -> pixels (B, 3, 256, 256)."""
        small = self._small_picture(tokens, codes)
        return correct(self.paint(small), small)

    def paint(self, small: Tensor) -> Tensor:
        """A small picture (B, 3, s, s) -> pixels (B, 3, 256, 256)."""
        return resample(self.restore(small).float(), TILE)

    @torch.no_grad()
    def small_picture(self, tokens: Tensor) -> Tensor:
        """What the network is shown, (B, 3, s, s) with the side s of `small_side`."""
        return self._small_picture(tokens, self.quantize.codes(tokens))

    def _small_picture(self, tokens: Tensor, codes: Tensor) -> Tensor:
        with torch.autocast(tokens.device.type, enabled=False):
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
