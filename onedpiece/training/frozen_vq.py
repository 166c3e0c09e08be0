"""MaskGIT's VQGAN, the frozen tokenizer of the paper's recipe (arXiv 2501.10064, section 4).

Stage 1 predicts the codes that this tokenizer gives for the 16x16 patches of a picture ("proxy
codes", after TiTok, arXiv 2406.07550). Stage 2 fits the decoder, together with that of this
tokenizer, to the pixels.
"""

from __future__ import annotations

from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from onedpiece.errors import ModelError
from onedpiece.tokenizer.onedpiece import PaperOneDPiece
from onedpiece.tokenizer.pixels import PIXEL_CODES, MaskGitBlock, MaskGitDecoder
from onedpiece.tokenizer.state_dict import check_entries, read_state

MULTIPLIERS = (1, 1, 2, 2, 4)


class _EncoderLevel(nn.Module):
    def __init__(self, channels_in: int, channels: int, halve: bool) -> None:
        super().__init__()
        self.block = nn.ModuleList(
            (MaskGitBlock(channels_in, channels), MaskGitBlock(channels, channels))
        )
        self.halve = halve

    def forward(self, x: Tensor) -> Tensor:
        for block in self.block:
            x = block(x)
        return F.avg_pool2d(x, 2) if self.halve else x


class MaskGitEncoder(nn.Module):
    """Encoder of MaskGIT's VQGAN (arXiv 2202.04200): (B, 3, 256, 256) -> (B, 256, 16, 16)."""

    def __init__(self, base: int) -> None:
        super().__init__()
        widths = [base * multiplier for multiplier in MULTIPLIERS]
        self.conv_in = nn.Conv2d(3, widths[0], 3, padding=1, bias=False)
        self.down = nn.ModuleList(
            _EncoderLevel(i, o, level < len(widths) - 1)
            for level, (i, o) in enumerate(zip([base, *widths], widths, strict=False))
        )
        self.mid = nn.ModuleList(MaskGitBlock(widths[-1], widths[-1]) for _ in range(2))
        self.norm_out = nn.GroupNorm(32, widths[-1], eps=1e-6)
        self.conv_out = nn.Conv2d(widths[-1], PIXEL_CODES[1], 1)

    def forward(self, x: Tensor) -> Tensor:
        x = self.conv_in(x)
        for block in (*self.down, *self.mid):
            x = block(x)
        return self.conv_out(F.silu(self.norm_out(x)))


class FrozenVq(nn.Module):
    """MaskGIT's VQGAN with fixed weights; parameter names are those of the published file."""

    def __init__(self, base: int = 128) -> None:
        super().__init__()
        self.encoder = MaskGitEncoder(base)
        self.quantize = nn.ModuleDict({"embedding": nn.Embedding(*PIXEL_CODES)})
        self.decoder = MaskGitDecoder(base)
        self.requires_grad_(False).eval()

    @classmethod
    def load(cls, path: Path) -> FrozenVq:
        """Read `maskgit-vqgan-imagenet-f16-256.bin`, or a file with fewer channels.

        Raises ModelError for other files.
        """
        state = read_state(path)
        first = state.get("encoder.conv_in.weight")
        if first is None or first.ndim != 4 or len(first) not in range(32, 129, 32):
            raise ModelError(f"{path} is not a MaskGIT-VQGAN")
        model = cls(len(first))
        shapes = {name: tuple(value.shape) for name, value in model.state_dict().items()}
        check_entries(state, shapes, f"{path} is not a MaskGIT-VQGAN")
        model.load_state_dict(state)
        return model

    @torch.no_grad()
    def codes(self, pixels: Tensor) -> Tensor:
        """Nearest code of each patch: (B, 3, 256, 256) in 0..1 -> int64 (B, 256)."""
        codebook = self.quantize["embedding"].get_parameter("weight")
        x = self.encoder(pixels).flatten(2).transpose(1, 2)
        return ((codebook * codebook).sum(-1) - 2 * x @ codebook.T).argmin(-1)


def initialise(model: PaperOneDPiece, vq: FrozenVq) -> None:
    """Initialise as TiTok does, with the pixel decoder of the frozen tokenizer."""
    for network in (model.encoder, model.decoder, model.head):
        network.apply(_initialise_layer)
    model.pixel_quantize.load_state_dict(vq.quantize.state_dict())
    model.pixel_decoder.load_state_dict(vq.decoder.state_dict())


def _initialise_layer(layer: nn.Module) -> None:
    if isinstance(layer, nn.Linear | nn.Conv2d):
        nn.init.trunc_normal_(layer.weight, std=0.02)
        if layer.bias is not None:
            nn.init.zeros_(layer.bias)
