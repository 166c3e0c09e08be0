"""Tokens that start as a cosine transform: vectors of coefficients, most important first.

A transformer that learns its tokens from noise needs millions of pictures. These tokens work before any training:
the picture's lowest frequencies are rotated to decorrelated colours, sorted by how much they vary over the training
pictures (for each of a few classes of pictures), and coded twelve at a time by vector quantisers. A coefficient that
varies much is coded again, each time what earlier tokens left over, so that a prefix of the tokens is always the best
picture for its length. Vectors are chosen for few bits too (entropy-constrained vector quantisation: Chou, Lookabaugh
and Gray, 1989). `onedpiece.training.fit` measures all tables.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from onedpiece.constants import CODEBOOK_SIZE, MAX_TOKENS, TILE
from onedpiece.entropy.tables import GROUP_SIZES, STEPS, TOTAL
from onedpiece.tokenizer.config import Spectral


def cosine_basis(frequencies: int, size: int) -> Tensor:
    """(frequencies, size): DCT-II of 256 points, orthonormal, sampled at the centres of `size` equal cells."""
    k = torch.arange(frequencies, dtype=torch.float64)[:, None]
    x = (torch.arange(size, dtype=torch.float64)[None] + 0.5) / size
    basis = torch.cos(math.pi * k * x) * math.sqrt(2 / TILE)
    basis[0] /= math.sqrt(2)
    return basis.float()


class SpectralQuantizer(nn.Module):
    """Fitted tables and the way from pixels to tokens and from any prefix of tokens to coefficients.

    A picture's coefficients are one row of `size` = 3 * frequencies**2 numbers, colour channel outermost.
    The codebook of each block is sorted, commonest vector first; `frequency` holds the block's entropy table.
    """

    basis: Tensor
    block_of: Tensor
    colour: Tensor
    class_mean: Tensor
    class_bias: Tensor
    class_weight: Tensor
    class_of: Tensor
    order: Tensor
    scale: Tensor
    frequency: Tensor
    block_sizes: Tensor

    def __init__(self, shape: Spectral) -> None:
        super().__init__()
        if sum(shape.blocks) != MAX_TOKENS or CODEBOOK_SIZE % shape.classes:
            raise ValueError("blocks must add up to 256 tokens and classes must divide 4096")
        self.shape = shape
        size = 3 * shape.frequencies**2
        classes, dim = shape.classes, shape.dim
        self.register_buffer("basis", cosine_basis(shape.frequencies, TILE), persistent=False)
        self.register_buffer(
            "block_of", torch.repeat_interleave(torch.tensor(shape.blocks)), persistent=False
        )
        self.register_buffer("colour", torch.eye(3))
        self.register_buffer("class_mean", torch.zeros(classes, size))
        self.register_buffer("class_bias", torch.zeros(classes))
        self.register_buffer("class_weight", torch.zeros(classes, size))
        self.register_buffer(
            "class_of", torch.arange(CODEBOOK_SIZE, dtype=torch.int32) // (CODEBOOK_SIZE // classes)
        )
        self.register_buffer("order", torch.zeros(classes, MAX_TOKENS, dim, dtype=torch.int32))
        self.register_buffer("scale", torch.ones(classes, MAX_TOKENS))
        self.register_buffer(
            "frequency",
            torch.from_numpy(GROUP_SIZES * (TOTAL // CODEBOOK_SIZE))
            .repeat(len(shape.blocks), 1)
            .int(),
        )
        self.register_buffer("block_sizes", torch.tensor(shape.blocks, dtype=torch.int32))
        self.codebooks = nn.Parameter(torch.zeros(len(shape.blocks) * CODEBOOK_SIZE, dim))

    def analyse(self, pixels: Tensor) -> Tensor:
        """pixels (B, 3, 256, 256) in 0..1 -> coefficients (B, size)."""
        spectrum = self.basis @ pixels.float() @ self.basis.T
        return (self.colour.T @ spectrum.flatten(2)).flatten(1)

    def synthesise(self, coefficients: Tensor, basis: Tensor) -> Tensor:
        """coefficients (B, size), basis (frequencies, n) -> pixels (B, 3, n, n), nominally 0..1."""
        spectrum = self.colour @ coefficients.reshape(coefficients.shape[0], 3, -1)
        spectrum = spectrum.reshape(
            spectrum.shape[0], 3, self.shape.frequencies, self.shape.frequencies
        )
        return basis.T @ spectrum @ basis

    def classify(self, coefficients: Tensor) -> Tensor:
        """(B, size) -> class of each picture, (B,) int64: the most likely of Laplacians with independent scales."""
        return (coefficients.abs() @ self.class_weight.T + self.class_bias).argmin(-1)

    def tokens(self, coefficients: Tensor, offsets: Tensor | None = None) -> Tensor:
        """Quantise block by block, each block what the blocks before it left over.

        coefficients: (B, size); offsets: (B, 256, dim), what an encoder adds to the (normalised) vectors.
        Returns tokens (B, 256) int64.
        """
        label = self.classify(coefficients)
        left = coefficients - self.class_mean[label]
        other_class = self.class_of != label[:, None]
        price = self.shape.rate * self.bits()
        tokens, first = [], 0
        for block, length in enumerate(self.shape.blocks):
            here = slice(first, first + length)
            order = self.order[label, here].long().flatten(1)
            scale = self.scale[label, here, None]
            x = left.gather(1, order).reshape(left.shape[0], length, -1) / scale
            if offsets is not None:
                x = x + offsets[:, here]
            book = self.book(block)
            cost = (book * book).sum(-1) + price[block] - 2 * x @ book.T
            if block == 0:  # the first token says the class
                cost = cost.masked_fill(other_class[:, None], torch.inf)
            chosen = cost.argmin(-1)
            left = left.scatter_add(1, order, -(book[chosen] * scale).flatten(1))
            tokens.append(chosen)
            first += length
        return torch.cat(tokens, 1)

    def book(self, block: int) -> Tensor:
        """The vectors of a block, (4096, dim)."""
        return self.codebooks[block * CODEBOOK_SIZE : (block + 1) * CODEBOOK_SIZE]

    def bits(self) -> Tensor:
        """What each code of each block costs in a file, (blocks, 4096): `entropy.tables.bits` for an ONNX graph, without
        an index of all codes as a constant.
        """
        sizes = GROUP_SIZES[::STEPS].tolist()
        rare = math.log2(TOTAL) - self.frequency.float().log2()
        return torch.cat(
            [
                (group[..., None] + math.log2(size)).expand(-1, -1, size).flatten(1)
                for group, size in zip(rare.split(STEPS, 1), sizes, strict=True)
            ],
            1,
        )

    def codes(self, tokens: Tensor) -> Tensor:
        """tokens (B, K) -> vectors (B, K, dim) in units of `scale`."""
        return self.codebooks[tokens + self.block_of[: tokens.shape[1]] * CODEBOOK_SIZE]

    def label(self, tokens: Tensor) -> Tensor:
        """Class of each picture, (B,), as its first token names it."""
        return self.class_of[tokens[:, 0]].long()

    def coefficients(self, tokens: Tensor, codes: Tensor, keep: Tensor | None = None) -> Tensor:
        """Add up what the first K (or keep[b]) tokens say: (B, size)."""
        label, count = self.label(tokens), tokens.shape[1]
        values = codes * self.scale[label, :count, None]
        if keep is not None:
            values = values * (torch.arange(count, device=keep.device) < keep[:, None])[..., None]
        return self.class_mean[label].scatter_add(
            1, self.order[label, :count].long().flatten(1), values.flatten(1)
        )
