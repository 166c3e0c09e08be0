"""What only the paper's own recipe needs (arXiv 2501.10064, section 4, after TiTok, arXiv 2406.07550).

Stage 1 learns to name the codes that a frozen tokenizer of a 16x16 grid, MaskGIT's VQGAN, gives the same picture
("proxy codes"). Stage 2 fits the decoder, together with that tokenizer's, to the pixels.
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
        for part in (*self.down, *self.mid):
            x = part(x)
        return self.conv_out(F.silu(self.norm_out(x)))


class FrozenVq(nn.Module):
    """MaskGIT's VQGAN with fixed weights, with the parameter names of the published file."""

    def __init__(self, base: int = 128) -> None:
        super().__init__()
        self.encoder = MaskGitEncoder(base)
        self.quantize = nn.ModuleDict({"embedding": nn.Embedding(*PIXEL_CODES)})
        self.decoder = MaskGitDecoder(base)
        self.requires_grad_(False).eval()

    @classmethod
    def load(cls, path: Path) -> FrozenVq:
        """Read `maskgit-vqgan-imagenet-f16-256.bin`, or one with fewer channels. Raises ModelError."""
        state = read_state(path)
        first = state.get("encoder.conv_in.weight")
        if first is None or first.ndim != 4 or len(first) not in range(32, 129, 32):
            raise ModelError(f"{path} is no MaskGIT-VQGAN")
        model = cls(len(first))
        wanted = {name: tuple(value.shape) for name, value in model.state_dict().items()}
        check_entries(state, wanted, f"{path} is no MaskGIT-VQGAN")
        model.load_state_dict(state)
        return model

    @torch.no_grad()
    def codes(self, pixels: Tensor) -> Tensor:
        """pixels (B, 3, 256, 256) in 0..1 -> index of the nearest code of each patch, (B, 256) int64."""
        book = self.quantize["embedding"].get_parameter("weight")
        x = self.encoder(pixels).flatten(2).transpose(1, 2)
        return ((book * book).sum(-1) - 2 * x @ book.T).argmin(-1)


def initialise(model: PaperOneDPiece, vq: FrozenVq) -> None:
    """The state in which training starts: TiTok's distributions, and the pixel decoder of the frozen tokenizer."""
    for part in (model.encoder, model.decoder, model.head):
        part.apply(_start)
    model.pixel_quantize.load_state_dict(vq.quantize.state_dict())
    model.pixel_decoder.load_state_dict(vq.decoder.state_dict())


def _start(layer: nn.Module) -> None:
    if isinstance(layer, nn.Linear | nn.Conv2d):
        nn.init.trunc_normal_(layer.weight, std=0.02)
        if layer.bias is not None:
            nn.init.zeros_(layer.bias)


class _Block(nn.Module):
    """ConvNeXt's block (Liu et al., arXiv 2201.03545, figure 4)."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.block = nn.ModuleDict(
            {
                "0": nn.Conv2d(width, width, 7, padding=3, groups=width),
                "2": nn.LayerNorm(width, eps=1e-6),
                "3": nn.Linear(width, 4 * width),
                "5": nn.Linear(4 * width, width),
            }
        )
        self.layer_scale = nn.Parameter(torch.ones(width, 1, 1))

    def forward(self, x: Tensor) -> Tensor:
        y = self.block["0"](x).permute(0, 2, 3, 1)
        y = self.block["5"](F.gelu(self.block["3"](self.block["2"](y))))
        return x + self.layer_scale * y.permute(0, 3, 1, 2)


class _ChannelNorm(nn.LayerNorm):
    """Layer norm over the channels of (B, C, H, W)."""

    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x.permute(0, 2, 3, 1)).permute(0, 3, 1, 2)


class ConvNext(nn.Module):
    """The paper's perceptual distance: squared difference of the ImageNet logits of ConvNeXt-S.

    `load` takes a folder that holds `convnext_small_torchvision.pt`, torchvision's weights (IMAGENET1K_V1).
    """

    FILE = "convnext_small_torchvision.pt"
    SIZE = 224
    mean: Tensor
    deviation: Tensor

    def __init__(
        self,
        widths: tuple[int, ...] = (96, 192, 384, 768),
        depths: tuple[int, ...] = (3, 3, 27, 3),
    ) -> None:
        super().__init__()
        stem = nn.Sequential(nn.Conv2d(3, widths[0], 4, 4), _ChannelNorm(widths[0], eps=1e-6))
        parts: list[nn.Module] = [stem]
        for level, (width, depth) in enumerate(zip(widths, depths, strict=True)):
            if level:
                before = widths[level - 1]
                parts.append(
                    nn.Sequential(_ChannelNorm(before, eps=1e-6), nn.Conv2d(before, width, 2, 2))
                )
            parts.append(nn.Sequential(*(_Block(width) for _ in range(depth))))
        self.features = nn.Sequential(*parts)
        self.classifier = nn.ModuleDict(
            {"0": _ChannelNorm(widths[-1], eps=1e-6), "2": nn.Linear(widths[-1], 1000)}
        )
        mean, deviation = torch.tensor([[0.485, 0.456, 0.406], [0.229, 0.224, 0.225]])
        self.register_buffer("mean", mean.view(1, 3, 1, 1), persistent=False)
        self.register_buffer("deviation", deviation.view(1, 3, 1, 1), persistent=False)
        self.requires_grad_(False).eval()

    @classmethod
    def load(cls, folder: Path) -> ConvNext:
        """Raises FileNotFoundError if the file is missing."""
        model = cls()
        model.load_state_dict(torch.load(folder / cls.FILE, map_location="cpu", weights_only=True))
        return model

    def forward(self, decoded: Tensor, original: Tensor) -> Tensor:
        """Pixels (B, 3, H, W) in 0..1 -> (B,); only the decoded ones get a gradient."""
        with torch.no_grad():
            wanted = self._logits(original)
        return (self._logits(decoded) - wanted).square().mean(1)

    def _logits(self, pixels: Tensor) -> Tensor:
        size = (self.SIZE, self.SIZE)
        x = F.interpolate(pixels, size, mode="bilinear", align_corners=False, antialias=True)
        x = self.features((x - self.mean) / self.deviation)
        x = self.classifier["0"](x.mean((2, 3), keepdim=True)).flatten(1)
        return self.classifier["2"](x)
