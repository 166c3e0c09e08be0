"""The paper's quantiser: nearest of 4096 unit vectors (arXiv 2501.10064, section 3.1)."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from onedpiece.constants import CODEBOOK_SIZE

COMMITMENT = 0.25
"""Weight of the commitment loss (VQ-VAE, arXiv 1711.00937, equation 3)."""


class VectorQuantizer(nn.Module):
    """A codebook of 4096 vectors. Latents and codes are L2-normalised before they are compared.

    The normalisation is that of ViT-VQGAN (arXiv 2110.04627).
    """

    def __init__(self, dim: int) -> None:
        """dim: number of channels of latents and codes."""
        super().__init__()
        self.embedding = nn.Embedding(CODEBOOK_SIZE, dim)
        nn.init.uniform_(self.embedding.weight, -1 / CODEBOOK_SIZE, 1 / CODEBOOK_SIZE)

    def tokens(self, latents: Tensor) -> Tensor:
        """latents (B, K, dim) -> index of the nearest code, int64 (B, K). Always in float32."""
        with torch.autocast(latents.device.type, enabled=False):
            x = F.normalize(latents.float(), dim=-1)
            codes = F.normalize(self.embedding.weight.float(), dim=-1)
            distance = (x * x).sum(-1, keepdim=True) + (codes * codes).sum(-1) - 2 * x @ codes.T
            return distance.argmin(-1)

    def codes(self, tokens: Tensor) -> Tensor:
        """tokens (B, K) -> unit vectors (B, K, dim)."""
        return F.normalize(self.embedding(tokens), dim=-1)

    def forward(self, latents: Tensor) -> tuple[Tensor, Tensor]:
        """latents (B, K, dim) -> codes (B, K, dim) with straight-through gradients, and the loss.

        The loss (scalar) is that of VQ-VAE: codebook loss plus 0.25 times commitment loss.
        """
        codes = self.codes(self.tokens(latents))
        x = F.normalize(latents.float(), dim=-1)
        loss = F.mse_loss(x, codes.detach()) * COMMITMENT + F.mse_loss(codes, x.detach())
        return x + (codes - x).detach(), loss
