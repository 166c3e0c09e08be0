"""The two transformers of One-D-Piece (arXiv 2501.10064, section 3): picture -> latents and latents -> patches.

Both read one sequence: [class token, 256 patch positions, latent tokens]. Names of parameters are those of the
published checkpoints.
"""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from onedpiece.constants import MAX_TOKENS, PATCH, TILE
from onedpiece.tokenizer.config import Vit

PATCHES = (TILE // PATCH) ** 2
FIRST_LATENT = 1 + PATCHES
ALL = slice(None)
NOTHING = 1e-30  # a share of attention that is as good as none


class Attention(nn.Module):
    """Multi-head self-attention with the parameter layout of `nn.MultiheadAttention`."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.in_proj_weight = nn.Parameter(torch.empty(3 * width, width))
        self.in_proj_bias = nn.Parameter(torch.zeros(3 * width))
        self.out_proj = nn.Linear(width, width)
        nn.init.xavier_uniform_(self.in_proj_weight)
        nn.init.zeros_(self.out_proj.bias)

    def forward(self, x: Tensor, bias: Tensor | None = None, rows: slice = ALL) -> Tensor:
        """x (B, L, width) -> (B, R, width) for R `rows` of L; bias (B, 1, 1, L) is added to every query's logits."""
        batch, _, width = x.shape
        weights, biases = self.in_proj_weight.split(width), self.in_proj_bias.split(width)
        q, k, v = (
            F.linear(part, *parameters).unflatten(2, (self.heads, -1)).transpose(1, 2)
            for part, *parameters in zip((x[:, rows], x, x), weights, biases, strict=True)
        )
        if x.is_cuda or not (torch.is_grad_enabled() or torch.onnx.is_in_onnx_export()):
            mixed = F.scaled_dot_product_attention(
                q, k, v, attn_mask=None if bias is None else bias.to(q.dtype)
            )
        else:
            # On a CPU, the fused kernel's backward pass is several times slower than this; ONNX has no such kernel.
            logits = (q * (1 / math.sqrt(width // self.heads))) @ k.transpose(-2, -1)
            shares = torch.softmax(logits if bias is None else logits + bias.to(logits.dtype), -1)
            if torch.onnx.is_in_onnx_export():
                # Processors are slow on numbers below 1e-38, of which a softmax makes many.
                shares = shares.clamp(min=NOTHING)
            mixed = shares @ v
        return self.out_proj(mixed.transpose(1, 2).reshape(batch, -1, width))


class Block(nn.Module):
    """Pre-norm transformer block with a GELU MLP of four times the width."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.ln_1 = nn.LayerNorm(width)
        self.attn = Attention(width, heads)
        self.ln_2 = nn.LayerNorm(width)
        self.mlp = nn.ModuleDict(
            {"c_fc": nn.Linear(width, 4 * width), "c_proj": nn.Linear(4 * width, width)}
        )

    def forward(self, x: Tensor, bias: Tensor | None = None, rows: slice = ALL) -> Tensor:
        """x (B, L, width) -> (B, R, width): only the `rows` that are asked for are worked out."""
        x = x[:, rows] + self.attn(self.ln_1(x), bias, rows)
        return x + self.mlp["c_proj"](F.gelu(self.mlp["c_fc"](self.ln_2(x))))


def through(blocks: nn.ModuleList, x: Tensor, rows: slice, bias: Tensor | None = None) -> Tensor:
    """All blocks; the last one works out `rows` only."""
    for block in blocks[:-1]:
        x = block(x, bias)
    return blocks[-1](x, bias, rows)


def _positions(width: int, length: int) -> nn.Parameter:
    return nn.Parameter(torch.randn(length, width) / math.sqrt(width))


class LatentEncoder(nn.Module):
    """Picture and latent tokens in, `channels` numbers for each latent token out."""

    def __init__(self, vit: Vit, channels: int, tokens: int = MAX_TOKENS) -> None:
        super().__init__()
        width, self.tokens = vit.width, tokens
        self.class_embedding = _positions(width, 1)
        self.positional_embedding = _positions(width, FIRST_LATENT)
        self.latent_token_positional_embedding = _positions(width, tokens)
        self.patch_embed = nn.Conv2d(3, width, PATCH, PATCH)
        self.ln_pre = nn.LayerNorm(width)
        self.transformer = nn.ModuleList(Block(width, vit.heads) for _ in range(vit.layers))
        self.ln_post = nn.LayerNorm(width)
        self.conv_out = nn.Conv2d(width, channels, 1)

    def forward(self, pixels: Tensor, latents: Tensor) -> Tensor:
        """pixels (B, 3, 256, 256) in 0..1, latents (tokens, width) -> (B, channels, tokens)."""
        batch = pixels.shape[0]
        patches = self.patch_embed(pixels).flatten(2).transpose(1, 2)
        seen = (
            torch.cat((self.class_embedding.expand(batch, -1, -1), patches), 1)
            + self.positional_embedding
        )
        asked = (latents + self.latent_token_positional_embedding).expand(batch, -1, -1)
        x = self.ln_pre(torch.cat((seen, asked), 1))
        x = self.ln_post(through(self.transformer, x, slice(FIRST_LATENT, None)))
        # A reshape, not a transpose: the published weights were trained with it.
        return self.conv_out(x.reshape(batch, -1, self.tokens, 1)).reshape(batch, -1, self.tokens)


class LatentDecoder(nn.Module):
    """Any prefix of the quantised latent tokens in, one vector of `width` for each of the 16x16 patches out."""

    def __init__(self, vit: Vit, code_dim: int, tokens: int = MAX_TOKENS) -> None:
        super().__init__()
        width = vit.width
        self.class_embedding = _positions(width, 1)
        self.positional_embedding = _positions(width, FIRST_LATENT)
        self.mask_token = nn.Parameter(torch.randn(1, 1, width) / math.sqrt(width))
        self.latent_token_positional_embedding = _positions(width, tokens)
        self.decoder_embed = nn.Linear(code_dim, width)
        self.ln_pre = nn.LayerNorm(width)
        self.transformer = nn.ModuleList(Block(width, vit.heads) for _ in range(vit.layers))
        self.ln_post = nn.LayerNorm(width)

    def forward(
        self, codes: Tensor, keep: Tensor | None = None, hint: Tensor | None = None
    ) -> Tensor:
        """Quantised tokens to patches.

        codes: (B, K, code_dim), 1 <= K <= 256, the first K latent tokens.
        keep:  (B,) how many of the K count for each picture (Tail Token Drop, section 3.2); all if None.
        hint:  (B, 257, width) added to the class token and the mask tokens.
        Returns (B, 256, width), patches in row-major order.
        """
        batch, count = codes.shape[:2]
        masks = torch.cat(
            (
                self.class_embedding.expand(batch, -1, -1),
                self.mask_token.expand(batch, PATCHES, -1),
            ),
            1,
        )
        masks = masks + self.positional_embedding
        if hint is not None:
            masks = masks + hint
        known = self.decoder_embed(codes) + self.latent_token_positional_embedding[:count]
        x = self.ln_pre(torch.cat((masks, known), 1))
        bias = None if keep is None else _hide_dropped(keep, count)
        return self.ln_post(through(self.transformer, x, slice(1, FIRST_LATENT), bias))


def _hide_dropped(keep: Tensor, count: int) -> Tensor:
    """Attention bias (B, 1, 1, 257 + count) that hides latent tokens from position keep[b] on."""
    positions = torch.arange(FIRST_LATENT + count, device=keep.device) - FIRST_LATENT
    hidden = positions[None] >= keep[:, None]
    return torch.zeros(hidden.shape, device=keep.device).masked_fill(hidden, -1e4)[:, None, None]
