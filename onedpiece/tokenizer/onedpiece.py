"""One-D-Piece (Miwa et al., arXiv 2501.10064): a picture as up to 256 tokens of which any prefix decodes."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from onedpiece.constants import MAX_TOKENS
from onedpiece.tokenizer.config import Config
from onedpiece.tokenizer.grain import Grain
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


class OneDPiece(nn.Module):
    """What every configuration does: `encode`, `decode` and, for training, `forward`.

    Pixels are float (B, 3, 256, 256), RGB in 0..1; tokens are int64 (B, K) in 0..4095 with 1 <= K <= 256.
    """

    config: Config

    def encode(self, pixels: Tensor) -> Tensor:
        """pixels -> all 256 tokens, (B, 256)."""
        raise NotImplementedError

    def decode(self, tokens: Tensor, keep: Tensor | None = None) -> Tensor:
        """The first K tokens -> pixels, not clamped. keep (B,) counts fewer for some pictures of the batch."""
        raise NotImplementedError

    def forward(self, pixels: Tensor, keep: Tensor) -> tuple[Tensor, Tensor]:
        """Encode, drop all but keep[b] tokens, decode: pixels (B, 3, 256, 256) and the quantiser's loss (scalar)."""
        raise NotImplementedError


def build(config: Config) -> OneDPiece:
    """The module of a configuration, untrained."""
    return SpectralOneDPiece(config) if config.spectral else PaperOneDPiece(config)


class PaperOneDPiece(OneDPiece):
    """The paper's tokenizer, with the parameter names of the published checkpoints."""

    def __init__(self, config: Config) -> None:
        super().__init__()
        self.config = config
        self.latent_tokens = nn.Parameter(
            torch.randn(config.tokens, config.encoder.width) * config.encoder.width**-0.5
        )
        self.encoder = LatentEncoder(config.encoder, config.code_dim, config.tokens)
        self.quantize = VectorQuantizer(config.code_dim)
        self.decoder = LatentDecoder(config.decoder, config.code_dim, config.tokens)
        self.head = CodebookHead(config.decoder.width)
        self.pixel_quantize = nn.ModuleDict({"embedding": nn.Embedding(*PIXEL_CODES)})
        self.pixel_decoder = MaskGitDecoder(config.base)

    def encode(self, pixels: Tensor) -> Tensor:
        return self.quantize.tokens(self.encoder(pixels, self.latent_tokens).transpose(1, 2))

    def decode(self, tokens: Tensor, keep: Tensor | None = None) -> Tensor:
        return self.paint(self.quantize.codes(tokens), keep)

    def forward(self, pixels: Tensor, keep: Tensor, proxy: bool = False) -> tuple[Tensor, Tensor]:
        """With `proxy`, logits of the pixel decoder's codes, (B, 1024, 16, 16), take the place of the picture."""
        codes, loss = self.quantize(self.encoder(pixels, self.latent_tokens).transpose(1, 2))
        if proxy:
            return self.head.logits(self.decoder(codes, keep)), loss
        return self.paint(codes, keep), loss

    def paint(self, codes: Tensor, keep: Tensor | None) -> Tensor:
        patches = self.decoder(codes, keep)
        return self.pixel_decoder(self.head(patches, self.pixel_quantize["embedding"].weight))


class SpectralOneDPiece(OneDPiece):
    """One-D-Piece whose tokens start as a cosine transform, and whose decoder repairs what they describe."""

    small_basis: Tensor

    def __init__(self, config: Config) -> None:
        super().__init__()
        assert config.spectral is not None
        self.config = config
        width, dim = config.decoder.width, config.spectral.dim
        self.quantize = SpectralQuantizer(config.spectral)
        if config.encoder.layers:
            self.latent_tokens = nn.Parameter(
                torch.randn(MAX_TOKENS, config.encoder.width) * config.encoder.width**-0.5
            )
            self.encoder = LatentEncoder(config.encoder, dim)
            zero_(self.encoder.conv_out)
        self.decoder = LatentDecoder(config.decoder, dim)
        self.quality = nn.Embedding(MAX_TOKENS, width)
        self.kind = nn.Embedding(config.spectral.classes, width)
        self.hint = PatchHint(width)
        self.repair = RepairDecoder(width, config.channels, config.depth)
        self.grain = Grain(config.channels) if config.grain else None
        nn.init.normal_(self.quality.weight, std=0.02)
        nn.init.normal_(self.kind.weight, std=0.02)
        self.register_buffer(
            "small_basis", cosine_basis(config.spectral.frequencies, WORK), persistent=False
        )

    def encode(self, pixels: Tensor) -> Tensor:
        return self._quantise(pixels, self._offsets(pixels))

    def decode(
        self, tokens: Tensor, keep: Tensor | None = None, grain: float | Tensor = 1.0
    ) -> Tensor:
        """grain: how much of the detail is added that no token describes; 0 gives the smallest squared error."""
        return self._with_grain(tokens, self.quantize.codes(tokens), keep, grain)

    def forward(self, pixels: Tensor, keep: Tensor, grain: bool = False) -> tuple[Tensor, Tensor]:
        """The picture is the one of smallest error, unless `grain` asks for the one that `decode` gives."""
        offsets = self._offsets(pixels)
        tokens = self._quantise(pixels, offsets)
        codes = self.quantize.codes(tokens)
        if offsets is not None:
            codes = (
                codes + offsets - offsets.detach()
            )  # straight through: the encoder feels the codes' gradient
        draw = self._with_grain if grain else self.paint
        return draw(tokens, codes, keep), pixels.new_zeros(())

    def spectral_picture(self, tokens: Tensor, keep: Tensor | None = None) -> Tensor:
        """What the tokens describe before any repair, (B, 3, 256, 256)."""
        coefficients = self.quantize.coefficients(tokens, self.quantize.codes(tokens), keep)
        return self.quantize.synthesise(coefficients, self.quantize.basis)

    def _offsets(self, pixels: Tensor) -> Tensor | None:
        if not self.config.encoder.layers:
            return None
        return self.encoder(pixels, self.latent_tokens).float().transpose(1, 2)

    @torch.no_grad()
    def _quantise(self, pixels: Tensor, offsets: Tensor | None) -> Tensor:
        with torch.autocast(pixels.device.type, enabled=False):
            return self.quantize.tokens(self.quantize.analyse(pixels), offsets)

    def paint(self, tokens: Tensor, codes: Tensor, keep: Tensor | None) -> Tensor:
        """The picture of smallest squared error: what search and the first phase of training are about."""
        return self._paint(tokens, codes, keep)[0]

    def strengths(self, tokens: Tensor, keep: Tensor) -> Tensor:
        """How strong the grain of each cell is (`Grain.strengths`); for models that have it."""
        assert self.grain is not None
        _, features = self._paint(tokens, self.quantize.codes(tokens), keep)
        with torch.autocast(tokens.device.type, enabled=False):
            return self.grain.strengths(features.float())

    def _with_grain(
        self,
        tokens: Tensor,
        codes: Tensor,
        keep: Tensor | None,
        grain: float | Tensor = 1.0,
    ) -> Tensor:
        picture, features = self._paint(tokens, codes, keep)
        if self.grain is None:
            return picture
        with torch.autocast(tokens.device.type, enabled=False):
            return picture + grain * self.grain(picture, features.float(), tokens[:, 0])

    def _paint(self, tokens: Tensor, codes: Tensor, keep: Tensor | None) -> tuple[Tensor, Tensor]:
        """The picture before grain, and the features that it was repaired with."""
        with torch.autocast(tokens.device.type, enabled=False):
            coefficients = self.quantize.coefficients(tokens, codes, keep)
            picture = self.quantize.synthesise(coefficients, self.quantize.basis)
            small = self.quantize.synthesise(coefficients, self.small_basis)
        count = torch.full_like(tokens[:, 0], tokens.shape[1]) if keep is None else keep
        known = self.quality(count - 1) + self.kind(self.quantize.label(tokens))
        small = small * 2 - 1
        patches = self.decoder(codes, keep, torch.cat((known[:, None], self.hint(small)), 1))
        residual, features = self.repair(patches, small, known)
        return picture + residual.float(), features
