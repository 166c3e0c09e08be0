"""Proposals of better tokens, from the gradient of a decoder.

The encoder chooses tokens by the spectral image alone. Near the tokens of an image, the squared
error of the decoded image is about linear in their vectors, apart from the energy of the change
itself. So one gradient predicts the gain of every other code of every token. `onedpiece.search`
tries the best proposals.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Generic, TypeVar

import torch
from torch import Tensor, nn

from onedpiece.constants import TILE
from onedpiece.tokenizer.natural import NaturalOneDPiece
from onedpiece.tokenizer.onedpiece import SpectralOneDPiece

Distance = Callable[[Tensor, Tensor], Tensor]
"""Decoded and original pixels, (B, 3, 256, 256) in 0..1 -> how different they look, (B,)."""

Decoder = TypeVar("Decoder", SpectralOneDPiece, NaturalOneDPiece)

WEIGHT = 8000.0
"""Squared error of a tile that a distance of 1 is worth, as measured (docs/training.md)."""


class _Proposals(nn.Module, Generic[Decoder]):
    """Cost of the first `num_tokens` tokens of images, and the most promising code of each token.

    The cost is an error, which subclasses define, plus `Spectral.lambda_` for each bit, in units of
    the token's scale.
    """

    curvature = 1.0
    """How much the energy of a change costs."""

    def __init__(self, model: Decoder) -> None:
        super().__init__()
        self.model: Decoder = model

    def forward(
        self, pixels: Tensor, tokens: Tensor, num_tokens: Tensor, valid_size: Tensor
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Cost (B,), codes int32 (B, 256) and gains (B, 256).

        pixels:     uint8 (B, 256, 256, 3).
        tokens:     integers (B, 256).
        num_tokens: integers (B,) in 1..256.
        valid_size: integers (B, 2), width and height in pixels of the upper left part of each tile
                    whose error counts.

        gains is the predicted decrease of the cost, never negative. It is 0 for the first token,
        which names the class, and from `num_tokens` on.
        """
        tokens = tokens.long()
        vectors, error, gradient = self._linearise(pixels, tokens, num_tokens, valid_size)
        quantizer = self.model.quantize
        lambda_, bits = quantizer.shape.lambda_, quantizer.bits()
        energy = quantizer.scale[quantizer.class_id(tokens)].square()  # of a change by 1
        curvature = self.curvature * energy
        slope = gradient - 2 * curvature[..., None] * vectors
        codes, gains, prices, first = [], [], [], 0
        for block, length in enumerate(quantizer.shape.blocks):
            span = slice(first, first + length)
            codebook = quantizer.codebook(block)
            costs = slope[:, span] @ codebook.T
            costs = costs + curvature[:, span, None] * (codebook * codebook).sum(1)
            costs = costs + lambda_ * energy[:, span, None] * bits[block]
            best = costs.min(2)
            current = costs.gather(2, tokens[:, span, None])[..., 0]
            codes.append(best.indices.int())
            gains.append((current - best.values).clamp(min=0))
            prices.append(lambda_ * energy[:, span] * bits[block][tokens[:, span]])
            first += length
        positions = torch.arange(tokens.shape[1], device=tokens.device)
        counts = positions < num_tokens[:, None]
        cost = error + (torch.cat(prices, 1) * counts).sum(1)
        return cost, torch.cat(codes, 1), torch.cat(gains, 1) * (counts & (positions > 0))

    def _linearise(
        self, pixels: Tensor, tokens: Tensor, num_tokens: Tensor, valid_size: Tensor
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Vectors of the tokens (B, 256, dim), error (B,), and its gradient by them."""
        original = pixels.permute(0, 3, 1, 2).float() / 255
        with torch.enable_grad():
            vectors = self.model.quantize.codes(tokens).detach().requires_grad_()
            mask = _valid_mask(valid_size)
            error = self._error(original, tokens, vectors, num_tokens.long(), mask)
            (gradient,) = torch.autograd.grad(error.sum(), vectors)
        return vectors.detach(), error.detach(), gradient

    def _error(
        self, original: Tensor, tokens: Tensor, vectors: Tensor, num_tokens: Tensor, mask: Tensor
    ) -> Tensor:
        """What is wrong with each image (B,), where the mask (B, 1, 256, 256) is 1."""
        raise NotImplementedError


class Proposals(_Proposals[SpectralOneDPiece]):
    """Proposals for the least error: the cost is that of the encoder, with the squared error."""

    def _error(
        self, original: Tensor, tokens: Tensor, vectors: Tensor, num_tokens: Tensor, mask: Tensor
    ) -> Tensor:
        decoded = self.model.reconstruct(tokens, vectors, num_tokens).clamp(0, 1)
        return _squared_error(decoded, original, mask)


class NaturalProposals(_Proposals[NaturalOneDPiece]):
    """Proposals for pictures that look real.

    The error is the squared error of the spectral image plus `WEIGHT` times how different the
    natural decoder's picture looks from the original.
    """

    curvature = 3.0  # of the distance, too, as measured (docs/training.md)

    def __init__(self, model: NaturalOneDPiece, distance: Distance) -> None:
        super().__init__(model)
        self.distance = distance

    def _error(
        self, original: Tensor, tokens: Tensor, vectors: Tensor, num_tokens: Tensor, mask: Tensor
    ) -> Tensor:
        quantizer = self.model.quantize
        coefficients = quantizer.coefficients(tokens, vectors, num_tokens)
        spectral = quantizer.synthesise(coefficients, quantizer.basis)
        painted = torch.cat(
            [
                self.model.reconstruct(tokens[row, None, :count], vectors[row, None, :count])
                for row, count in enumerate(num_tokens.tolist())
            ]
        ).clamp(0, 1)
        looks = self.distance(torch.lerp(original, painted, mask.expand_as(painted)), original)
        return _squared_error(spectral, original, mask) + WEIGHT * looks


def _squared_error(decoded: Tensor, original: Tensor, mask: Tensor) -> Tensor:
    return ((decoded - original).square() * mask).flatten(1).sum(1)


def _valid_mask(valid_size: Tensor) -> Tensor:
    """Widths and heights (B, 2) -> 1 for pixels that count, else 0: (B, 1, 256, 256)."""
    positions = torch.arange(TILE, device=valid_size.device)
    columns, rows = (positions < valid_size[:, axis, None] for axis in (0, 1))
    return (rows[:, None, :, None] & columns[:, None, None, :]).float()
