"""The two transformers of One-D-Piece (arXiv 2501.10064, section 3): image to latents and back.

Both work on one sequence: class token, 256 patch positions, latent tokens. Names of parameters are
those of the published checkpoints.
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
MIN_ATTENTION = 1e-30  # an attention weight that is as good as zero


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
        """x (B, L, width) -> (B, R, width), the results of R `rows` of the L positions.

        bias: (B, 1, 1, L), added to the logits of every query.
        """
        batch, _, width = x.shape
        weights, biases = self.in_proj_weight.split(width), self.in_proj_bias.split(width)
        q, k, v = (
            F.linear(part, *parameters).unflatten(2, (self.heads, -1)).transpose(1, 2)
            for part, *parameters in zip((x[:, rows], x, x), weights, biases, strict=True)
        )
        if x.is_cuda or not (torch.is_grad_enabled() or torch.onnx.is_in_onnx_export()):
            mask = None if bias is None else bias.to(q.dtype)
            mixed = F.scaled_dot_product_attention(q, k, v, attn_mask=mask)
        else:
            # On CPUs the backward pass of the fused kernel is several times slower than this, and
            # ONNX has no such kernel.
            logits = (q * (1 / math.sqrt(width // self.heads))) @ k.transpose(-2, -1)
            weight = torch.softmax(logits if bias is None else logits + bias.to(logits.dtype), -1)
            if torch.onnx.is_in_onnx_export():
                # CPUs are slow on denormal numbers (below 1e-38), of which a softmax makes many.
                weight = weight.clamp(min=MIN_ATTENTION)
            mixed = weight @ v
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
        """x (B, L, width) -> (B, R, width): only `rows` are computed. bias: see `Attention`."""
        x = x[:, rows] + self.attn(self.ln_1(x), bias, rows)
        return x + self.mlp["c_proj"](F.gelu(self.mlp["c_fc"](self.ln_2(x))))


def run_blocks(blocks: nn.ModuleList, x: Tensor, rows: slice, bias: Tensor | None = None) -> Tensor:
    """Apply all blocks to x (B, L, width); the last one computes `rows` only."""
    for block in blocks[:-1]:
        x = block(x, bias)
    return blocks[-1](x, bias, rows)


def _embeddings(width: int, count: int) -> nn.Parameter:
    return nn.Parameter(torch.randn(count, width) / math.sqrt(width))


class LatentEncoder(nn.Module):
    """Image and latent tokens in, `channels` numbers for each latent token out."""

    def __init__(self, vit: Vit, channels: int, tokens: int = MAX_TOKENS) -> None:
        super().__init__()
        width, self.tokens = vit.width, tokens
        self.class_embedding = _embeddings(width, 1)
        self.positional_embedding = _embeddings(width, FIRST_LATENT)
        self.latent_token_positional_embedding = _embeddings(width, tokens)
        self.patch_embed = nn.Conv2d(3, width, PATCH, PATCH)
        self.ln_pre = nn.LayerNorm(width)
        self.transformer = nn.ModuleList(Block(width, vit.heads) for _ in range(vit.layers))
        self.ln_post = nn.LayerNorm(width)
        self.conv_out = nn.Conv2d(width, channels, 1)

    def forward(self, pixels: Tensor, latents: Tensor) -> Tensor:
        """pixels (B, 3, 256, 256) in 0..1, latents (tokens, width) -> (B, channels, tokens)."""
        batch = pixels.shape[0]
        patches = self.patch_embed(pixels).flatten(2).transpose(1, 2)
        image = torch.cat((self.class_embedding.expand(batch, -1, -1), patches), 1)
        image = image + self.positional_embedding
        latents = (latents + self.latent_token_positional_embedding).expand(batch, -1, -1)
        x = self.ln_pre(torch.cat((image, latents), 1))
        x = self.ln_post(run_blocks(self.transformer, x, slice(FIRST_LATENT, None)))
        # A reshape, not a transpose: the published weights were trained with it.
        return self.conv_out(x.reshape(batch, -1, self.tokens, 1)).reshape(batch, -1, self.tokens)


class LatentDecoder(nn.Module):
    """Any prefix of the quantised latent tokens in, a vector for each of the 16x16 patches out."""

    def __init__(self, vit: Vit, code_dim: int, tokens: int = MAX_TOKENS) -> None:
        super().__init__()
        width = vit.width
        self.class_embedding = _embeddings(width, 1)
        self.positional_embedding = _embeddings(width, FIRST_LATENT)
        self.mask_token = nn.Parameter(torch.randn(1, 1, width) / math.sqrt(width))
        self.latent_token_positional_embedding = _embeddings(width, tokens)
        self.decoder_embed = nn.Linear(code_dim, width)
        self.ln_pre = nn.LayerNorm(width)
        self.transformer = nn.ModuleList(Block(width, vit.heads) for _ in range(vit.layers))
        self.ln_post = nn.LayerNorm(width)

    def forward(
        self, codes: Tensor, num_tokens: Tensor | None = None, hint: Tensor | None = None
    ) -> Tensor:
        """Quantised tokens -> patch vectors (B, 256, width), row-major.

        codes:      (B, K, code_dim), 1 <= K <= 256, the first K latent tokens.
        num_tokens: integers (B,) in 1..K, how many of them count for each image (Tail Token Drop,
                    section 3.2); all if None.
        hint:       (B, 257, width), added to the class token and the mask tokens.
        """
        batch, count = codes.shape[:2]
        class_token = self.class_embedding.expand(batch, -1, -1)
        masks = torch.cat((class_token, self.mask_token.expand(batch, PATCHES, -1)), 1)
        masks = masks + self.positional_embedding
        if hint is not None:
            masks = masks + hint
        latents = self.decoder_embed(codes) + self.latent_token_positional_embedding[:count]
        x = self.ln_pre(torch.cat((masks, latents), 1))
        bias = None if num_tokens is None else _hide_dropped(num_tokens, count)
        return self.ln_post(run_blocks(self.transformer, x, slice(1, FIRST_LATENT), bias))


def _hide_dropped(num_tokens: Tensor, count: int) -> Tensor:
    """Attention bias (B, 1, 1, 257 + count) that hides latent tokens from num_tokens[b] on."""
    positions = torch.arange(FIRST_LATENT + count, device=num_tokens.device) - FIRST_LATENT
    dropped = positions[None] >= num_tokens[:, None]
    bias = torch.zeros(dropped.shape, device=num_tokens.device).masked_fill(dropped, -1e4)
    return bias[:, None, None]
