"""Configurations of the tokenizer. A configuration and a set of weights make a model.

Importing this module does not import PyTorch.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

from onedpiece.constants import MAX_TOKENS


@dataclass(frozen=True)
class Vit:
    """A transformer of `layers` pre-norm blocks with `width` channels and `heads` attention heads.

    0 layers means that the model has no such transformer.
    """

    width: int
    layers: int
    heads: int


@dataclass(frozen=True)
class Spectral:
    """The spectral start: tokens are vectors of cosine coefficients (docs/models.md).

    frequencies: number of horizontal and of vertical frequencies of each channel, lowest first.
    classes:     number of image classes, each with its own order of coefficients. The first token
                 names the class.
    dim:         number of coefficients in a token.
    blocks:      numbers of consecutive tokens that share a codebook; their sum is 256.
    lambda_:     price of a bit when a vector is chosen, in squared errors of coefficients scaled to
                 unit variance. In JSON its name is "rate".
    """

    frequencies: int = 48
    classes: int = 16
    dim: int = 12
    blocks: tuple[int, ...] = (1, 1, 2, 4, 8) + (16,) * 15
    lambda_: float = 0.35


@dataclass(frozen=True)
class Natural:
    """A decoder that paints pictures that look real (`natural.py`).

    blocks:   of its restoration network.
    painting: channels of that network where it paints, at four times the size of its input.
    """

    blocks: int = 18
    painting: int = 64


@dataclass(frozen=True)
class Config:
    """A whole tokenizer.

    spectral: None for the paper's model, which has an L2-normalised vector quantiser with
              `code_dim` channels and the MaskGIT-VQGAN pixel decoder. Otherwise tokens start from
              the cosine transform, and a decoder with `channels` channels in `depth` residual
              blocks repairs the image that they describe.
    natural:  instead, a decoder that paints pictures that look real; needs `spectral`.
    tokens:   number of latent tokens of the paper's model: 256, or fewer for TiTok
              (arXiv 2406.07550), whose architecture is the same.
    base:     channels of the MaskGIT-VQGAN decoder at full resolution, a multiple of 32.
    """

    name: str
    encoder: Vit
    decoder: Vit
    spectral: Spectral | None = None
    code_dim: int = 12
    channels: int = 96
    depth: int = 4
    natural: Natural | None = None
    tokens: int = MAX_TOKENS
    base: int = 128

    def __post_init__(self) -> None:
        if self.natural and not self.spectral:
            raise ValueError("a natural decoder is for models with a spectral start")

    def to_dict(self) -> dict[str, Any]:
        """The entry `config` of a manifest, for JSON."""
        data = asdict(self)
        if self.spectral:
            # Installed manifests, and the versions that read them, call lambda "rate".
            data["spectral"]["rate"] = data["spectral"].pop("lambda_")
        return data

    @classmethod
    def from_dict(cls, data: dict[str, Any]) -> Config:
        """The inverse of `to_dict`. Raises KeyError, TypeError or ValueError for other data."""
        data = dict(data)
        data.pop("grain", None)  # of earlier versions, whose decoders added noise
        data["encoder"], data["decoder"] = Vit(**data["encoder"]), Vit(**data["decoder"])
        if data.get("spectral"):
            spectral = dict(data["spectral"])
            if "rate" in spectral:
                spectral["lambda_"] = spectral.pop("rate")
            data["spectral"] = Spectral(**{**spectral, "blocks": tuple(spectral["blocks"])})
        if data.get("natural"):
            data["natural"] = Natural(**data["natural"])
        return cls(**data)


CONFIGS = {
    config.name: config
    for config in (
        Config("default", Vit(256, 0, 4), Vit(256, 4, 4), Spectral()),
        Config("large", Vit(512, 2, 8), Vit(512, 6, 8), Spectral(), channels=160, depth=6),
        Config(
            "tiny",
            Vit(32, 1, 2),
            Vit(32, 1, 2),
            Spectral(16, 2, 4, (1, 15) + (16,) * 15),
            channels=8,
            depth=1,
        ),
        Config("one-d-piece-s-256", Vit(512, 8, 8), Vit(512, 8, 8)),
        Config("one-d-piece-b-256", Vit(768, 12, 12), Vit(768, 12, 12)),
        Config("one-d-piece-l-256", Vit(1024, 24, 16), Vit(1024, 24, 16)),
        Config("titok-s-128", Vit(512, 8, 8), Vit(512, 8, 8), tokens=128),
        Config("titok-b-64", Vit(768, 12, 12), Vit(768, 12, 12), tokens=64),
        Config("titok-l-32", Vit(1024, 24, 16), Vit(1024, 24, 16), tokens=32),
    )
}
"""All configurations by name. "tiny" is for tests."""
