"""One-D-Piece (Miwa et al., arXiv 2501.10064): an image as up to 256 tokens, any prefix decodes."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from onedpiece.constants import MAX_TOKENS
from onedpiece.tokenizer.base import OneDPiece as OneDPiece
from onedpiece.tokenizer.config import Config
from onedpiece.tokenizer.natural import NaturalOneDPiece
from onedpiece.tokenizer.pixels import (
    PIXEL_CODES,
    WORK,
    CodebookHead,
    MaskGitDecoder,
    PatchHint,
    RepairDecoder,
    zero_,
)
from onedpiece.tokenizer.quantizer import VectorQuantizer
from onedpiece.tokenizer.spectral import SpectralQuantizer, cosine_basis
from onedpiece.tokenizer.vit import LatentDecoder, LatentEncoder


def build(config: Config) -> OneDPiece:
    """The untrained module of a configuration."""
    if config.natural:
        return NaturalOneDPiece(config)
    return SpectralOneDPiece(config) if config.spectral else PaperOneDPiece(config)


def _latent_tokens(width: int, count: int) -> nn.Parameter:
    return nn.Parameter(torch.randn(count, width) * width**-0.5)


class PaperOneDPiece(OneDPiece):
    """The paper's tokenizer, with the parameter names of the published checkpoints."""

    def __init__(self, config: Config) -> None:
        super().__init__()
        self.config = config
        self.latent_tokens = _latent_tokens(config.encoder.width, config.tokens)
        self.encoder = LatentEncoder(config.encoder, config.code_dim, config.tokens)
        self.quantize = VectorQuantizer(config.code_dim)
        self.decoder = LatentDecoder(config.decoder, config.code_dim, config.tokens)
        self.head = CodebookHead(config.decoder.width)
        self.pixel_quantize = nn.ModuleDict({"embedding": nn.Embedding(*PIXEL_CODES)})
        self.pixel_decoder = MaskGitDecoder(config.base)

    def encode(self, pixels: Tensor) -> Tensor:
        return self.quantize.tokens(self._latents(pixels))

    def decode(self, tokens: Tensor, num_tokens: Tensor | None = None) -> Tensor:
        return self.reconstruct(self.quantize.codes(tokens), num_tokens)

    def forward(
        self, pixels: Tensor, num_tokens: Tensor, proxy: bool = False
    ) -> tuple[Tensor, Tensor]:
        """`OneDPiece.forward`.

        proxy: return the logits of the pixel decoder's codes, (B, 1024, 16, 16), in the place of
               pixels, for the proxy codes of training stage 1 (TiTok, arXiv 2406.07550).
        """
        codes, loss = self.quantize(self._latents(pixels))
        if proxy:
            return self.head.logits(self.decoder(codes, num_tokens)), loss
        return self.reconstruct(codes, num_tokens), loss

    def reconstruct(self, codes: Tensor, num_tokens: Tensor | None) -> Tensor:
        """Quantised tokens (B, K, code_dim) -> pixels."""
        patches = self.decoder(codes, num_tokens)
        return self.pixel_decoder(self.head(patches, self.pixel_quantize["embedding"].weight))

    def _latents(self, pixels: Tensor) -> Tensor:
        """pixels -> (B, tokens, code_dim), before quantisation."""
        return self.encoder(pixels, self.latent_tokens).transpose(1, 2)


class SpectralOneDPiece(OneDPiece):
    """One-D-Piece whose tokens start as a cosine transform and whose decoder repairs its image.

    Names of parameters are those of stored weights: `quality` embeds the number of tokens, and
    `kind` the class of the image.
    """

    small_basis: Tensor

    def __init__(self, config: Config) -> None:
        super().__init__()
        assert config.spectral is not None
        self.config = config
        width, dim = config.decoder.width, config.spectral.dim
        self.quantize = SpectralQuantizer(config.spectral)
        if config.encoder.layers:
            self.latent_tokens = _latent_tokens(config.encoder.width, MAX_TOKENS)
            self.encoder = LatentEncoder(config.encoder, dim)
            zero_(self.encoder.conv_out)
        self.decoder = LatentDecoder(config.decoder, dim)
        self.quality = nn.Embedding(MAX_TOKENS, width)
        self.kind = nn.Embedding(config.spectral.classes, width)
        self.hint = PatchHint(width)
        self.repair = RepairDecoder(width, config.channels, config.depth)
        nn.init.normal_(self.quality.weight, std=0.02)
        nn.init.normal_(self.kind.weight, std=0.02)
        self.register_buffer(
            "small_basis", cosine_basis(config.spectral.frequencies, WORK), persistent=False
        )

    def encode(self, pixels: Tensor) -> Tensor:
        return self._quantise(pixels, self._offsets(pixels))

    def decode(self, tokens: Tensor, num_tokens: Tensor | None = None) -> Tensor:
        """`OneDPiece.decode`, for the least squared error."""
        return self.reconstruct(tokens, self.quantize.codes(tokens), num_tokens)

    def forward(self, pixels: Tensor, num_tokens: Tensor) -> tuple[Tensor, Tensor]:
        """`OneDPiece.forward`; the loss is 0."""
        offsets = self._offsets(pixels)
        tokens = self._quantise(pixels, offsets)
        codes = self.quantize.codes(tokens)
        if offsets is not None:
            # Straight-through: the gradient of the codes is that of the encoder's offsets.
            codes = codes + offsets - offsets.detach()
        return self.reconstruct(tokens, codes, num_tokens), pixels.new_zeros(())

    def spectral_picture(self, tokens: Tensor, num_tokens: Tensor | None = None) -> Tensor:
        """The image that the tokens describe before any repair, (B, 3, 256, 256)."""
        coefficients = self.quantize.coefficients(tokens, self.quantize.codes(tokens), num_tokens)
        return self.quantize.synthesise(coefficients, self.quantize.basis)

    def reconstruct(self, tokens: Tensor, codes: Tensor, num_tokens: Tensor | None) -> Tensor:
        """tokens (B, K) and their vectors (B, K, dim) -> pixels of the least squared error."""
        with torch.autocast(tokens.device.type, enabled=False):
            coefficients = self.quantize.coefficients(tokens, codes, num_tokens)
            image = self.quantize.synthesise(coefficients, self.quantize.basis)
            small = self.quantize.synthesise(coefficients, self.small_basis)
        every = torch.full_like(tokens[:, 0], tokens.shape[1])
        length = every if num_tokens is None else num_tokens
        condition = self.quality(length - 1) + self.kind(self.quantize.class_id(tokens))
        small = small * 2 - 1
        hint = torch.cat((condition[:, None], self.hint(small)), 1)
        patches = self.decoder(codes, num_tokens, hint)
        return image + self.repair(patches, small, condition).float()

    def _offsets(self, pixels: Tensor) -> Tensor | None:
        """What the encoder adds to the normalised vectors, (B, 256, dim); None without encoder."""
        if not self.config.encoder.layers:
            return None
        return self.encoder(pixels, self.latent_tokens).float().transpose(1, 2)

    @torch.no_grad()
    def _quantise(self, pixels: Tensor, offsets: Tensor | None) -> Tensor:
        with torch.autocast(pixels.device.type, enabled=False):
            return self.quantize.tokens(self.quantize.analyse(pixels), offsets)
