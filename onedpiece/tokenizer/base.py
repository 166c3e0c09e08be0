"""What every tokenizer's module does."""

from __future__ import annotations

from torch import Tensor, nn

from onedpiece.tokenizer.config import Config


class OneDPiece(nn.Module):
    """The methods of every tokenizer: `encode`, `decode` and, for training, `forward`.

    Pixels are float (B, 3, 256, 256), RGB in 0..1. Tokens are int64 (B, K) in 0..4095 with
    1 <= K <= 256.
    """

    config: Config

    def encode(self, pixels: Tensor) -> Tensor:
        """pixels -> all tokens, (B, 256)."""
        raise NotImplementedError

    def decode(self, tokens: Tensor, num_tokens: Tensor | None = None) -> Tensor:
        """The first K tokens -> pixels, not clamped.

        num_tokens: integers (B,) in 1..K, to use fewer tokens for some images of the batch.
        """
        raise NotImplementedError

    def forward(self, pixels: Tensor, num_tokens: Tensor) -> tuple[Tensor, Tensor]:
        """Encode, drop all but the first num_tokens[b] tokens (B,), decode.

        Returns pixels and the loss of the quantiser (scalar).
        """
        raise NotImplementedError
