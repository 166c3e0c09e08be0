"""The spectral start: tokens that are vectors of cosine coefficients, most important first.

A transformer that learns its tokens from noise needs millions of images; these tokens work before
any training. The lowest frequencies of the image are rotated to decorrelated colours, sorted by
their variance over the training images (separately for a few classes of images), and coded twelve
at a time by vector quantisers. A coefficient of large variance is coded again by later tokens, each
time the residual of the earlier ones, so that a prefix of the tokens is always a good image for its
length. Vectors are chosen for few bits as well as for a small error (entropy-constrained vector
quantisation: Chou, Lookabaugh and Gray, 1989). `onedpiece.training.fit` measures all tables.
"""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from onedpiece.constants import CODEBOOK_SIZE, MAX_TOKENS, TILE
from onedpiece.entropy.tables import GROUP_SIZES, STEPS, TOTAL
from onedpiece.tokenizer.config import Spectral


def cosine_basis(frequencies: int, size: int) -> Tensor:
    """(frequencies, size): DCT-II of 256 points, orthonormal, sampled at `size` equal cells."""
    k = torch.arange(frequencies, dtype=torch.float64)[:, None]
    x = (torch.arange(size, dtype=torch.float64)[None] + 0.5) / size
    basis = torch.cos(math.pi * k * x) * math.sqrt(2 / TILE)
    basis[0] /= math.sqrt(2)
    return basis.float()


class SpectralQuantizer(nn.Module):
    """Fitted tables, from pixels to tokens, and from any prefix of the tokens to coefficients.

    The coefficients of an image are `size` = 3 * frequencies**2 numbers, colour channel outermost.
    The codebook of each block is sorted, most frequent vector first; `frequency` is its entropy
    table.
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
        """Raises ValueError if blocks do not add up to 256 or classes do not divide 4096."""
        super().__init__()
        if sum(shape.blocks) != MAX_TOKENS or CODEBOOK_SIZE % shape.classes:
            raise ValueError("blocks must add up to 256 tokens and classes must divide 4096")
        self.shape = shape
        size = 3 * shape.frequencies**2
        classes, dim = shape.classes, shape.dim
        blocks = torch.tensor(shape.blocks)
        class_of = torch.arange(CODEBOOK_SIZE) // (CODEBOOK_SIZE // classes)
        uniform = torch.from_numpy(GROUP_SIZES * (TOTAL // CODEBOOK_SIZE))
        self.register_buffer("basis", cosine_basis(shape.frequencies, TILE), persistent=False)
        self.register_buffer("block_of", torch.repeat_interleave(blocks), persistent=False)
        self.register_buffer("colour", torch.eye(3))
        self.register_buffer("class_mean", torch.zeros(classes, size))
        self.register_buffer("class_bias", torch.zeros(classes))
        self.register_buffer("class_weight", torch.zeros(classes, size))
        self.register_buffer("class_of", class_of.int())
        self.register_buffer("order", torch.zeros(classes, MAX_TOKENS, dim, dtype=torch.int32))
        self.register_buffer("scale", torch.ones(classes, MAX_TOKENS))
        self.register_buffer("frequency", uniform.repeat(len(blocks), 1).int())
        self.register_buffer("block_sizes", blocks.int())
        self.codebooks = nn.Parameter(torch.zeros(len(blocks) * CODEBOOK_SIZE, dim))

    def analyse(self, pixels: Tensor) -> Tensor:
        """pixels (B, 3, 256, 256) in 0..1 -> coefficients (B, size)."""
        spectrum = self.basis @ pixels.float() @ self.basis.T
        return (self.colour.T @ spectrum.flatten(2)).flatten(1)

    def synthesise(self, coefficients: Tensor, basis: Tensor) -> Tensor:
        """coefficients (B, size), basis (frequencies, n) -> pixels (B, 3, n, n), nominally 0..1."""
        spectrum = self.colour @ coefficients.reshape(coefficients.shape[0], 3, -1)
        frequencies = self.shape.frequencies
        spectrum = spectrum.reshape(spectrum.shape[0], 3, frequencies, frequencies)
        return basis.T @ spectrum @ basis

    def classify(self, coefficients: Tensor) -> Tensor:
        """Coefficients (B, size) -> class of each image, int64 (B,).

        Each class models the coefficients as independent Laplacians; the likeliest is chosen.
        """
        return (coefficients.abs() @ self.class_weight.T + self.class_bias).argmin(-1)

    def tokens(self, coefficients: Tensor, offsets: Tensor | None = None) -> Tensor:
        """Quantise block by block; each block codes the residual of the blocks before it.

        coefficients: (B, size).
        offsets:      (B, 256, dim), added to the normalised vectors by an encoder.
        Returns tokens, int64 (B, 256).
        """
        class_id = self.classify(coefficients)
        residual = coefficients - self.class_mean[class_id]
        other_class = self.class_of != class_id[:, None]
        price = self.shape.lambda_ * self.bits()
        tokens, first = [], 0
        for block, length in enumerate(self.shape.blocks):
            span = slice(first, first + length)
            order = self.order[class_id, span].long().flatten(1)
            scale = self.scale[class_id, span, None]
            x = residual.gather(1, order).reshape(residual.shape[0], length, -1) / scale
            if offsets is not None:
                x = x + offsets[:, span]
            codebook = self.codebook(block)
            cost = (codebook * codebook).sum(-1) + price[block] - 2 * x @ codebook.T
            if block == 0:  # the first token names the class
                cost = cost.masked_fill(other_class[:, None], torch.inf)
            chosen = cost.argmin(-1)
            residual = residual.scatter_add(1, order, -(codebook[chosen] * scale).flatten(1))
            tokens.append(chosen)
            first += length
        return torch.cat(tokens, 1)

    def codebook(self, block: int) -> Tensor:
        """The vectors of a block, (4096, dim)."""
        return self.codebooks[block * CODEBOOK_SIZE : (block + 1) * CODEBOOK_SIZE]

    def bits(self) -> Tensor:
        """Length of each code of each block in a file, in bits: (blocks, 4096).

        The same as `entropy.tables.bits`, but without an index of all codes, which would be a large
        constant of an ONNX graph.
        """
        sizes = GROUP_SIZES[::STEPS].tolist()
        group_bits = math.log2(TOTAL) - self.frequency.float().log2()
        return torch.cat(
            [
                (group[..., None] + math.log2(size)).expand(-1, -1, size).flatten(1)
                for group, size in zip(group_bits.split(STEPS, 1), sizes, strict=True)
            ],
            1,
        )

    def codes(self, tokens: Tensor) -> Tensor:
        """tokens (B, K) -> vectors (B, K, dim) in units of `scale`."""
        first = self.block_of[: tokens.shape[1]] * CODEBOOK_SIZE
        return F.embedding(tokens + first, self.codebooks)

    def class_id(self, tokens: Tensor) -> Tensor:
        """tokens (B, K) -> class of each image, int64 (B,), as its first token names it."""
        return self.class_of.index_select(0, tokens[:, 0]).long()

    def coefficients(
        self, tokens: Tensor, codes: Tensor, num_tokens: Tensor | None = None
    ) -> Tensor:
        """Sum of what the first K tokens, or the first num_tokens[b], describe: (B, size).

        tokens: (B, K); codes: (B, K, dim), their vectors; num_tokens: integers (B,) in 1..K.
        """
        # Rows are taken with index_select and embedding, which WebGPU has: x[...] is a GatherND.
        class_id, count = self.class_id(tokens), tokens.shape[1]
        values = codes * self.scale[:, :count].index_select(0, class_id)[..., None]
        if num_tokens is not None:
            positions = torch.arange(count, device=num_tokens.device)
            values = values * (positions < num_tokens[:, None])[..., None]
        order = self.order[:, :count].index_select(0, class_id).long()
        mean = self.class_mean.index_select(0, class_id)
        return mean.scatter_add(1, order.flatten(1), values.flatten(1))
