"""Which exchange of a token would make the decoded picture better: asked of the decoder's gradient.

The encoder chooses tokens by the spectral picture alone. Around the tokens of a picture, the squared error of what the
decoder makes of them is about linear in the vectors, plus what each change adds by itself: from its gradient follows
how much every other code of every token promises. `onedpiece.search` tries the best of them.
"""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, fx, nn
from torch._decomp import core_aten_decompositions
from torch.fx.experimental.proxy_tensor import make_fx

from onedpiece.constants import TILE
from onedpiece.tokenizer.onedpiece import SpectralOneDPiece


class Proposals(nn.Module):
    """What the first `keep` tokens of pictures cost, and for each token the code that promises most.

    The cost is the encoder's own: squared error plus `Spectral.rate` for each bit, in units of the token's scale.
    """

    def __init__(self, model: SpectralOneDPiece) -> None:
        super().__init__()
        self.model = model

    def forward(
        self, pixels: Tensor, tokens: Tensor, keep: Tensor, shown: Tensor
    ) -> tuple[Tensor, ...]:
        """pixels uint8 (B, 256, 256, 3), tokens (B, 256), keep (B,) in 1..256, integers; shown (B, 2) is the width and
        the height of what counts of each tile, from the upper left.

        Returns cost (B,), codes int32 (B, 256) and gains (B, 256): by how much the cost falls, if all is as it seems;
        never below 0, and 0 for the first token, which names the class, and from `keep` on.
        """
        quantizer = self.model.quantize
        original, tokens = pixels.permute(0, 3, 1, 2).float() / 255, tokens.long()
        with torch.enable_grad():
            vectors = quantizer.codes(tokens).detach().requires_grad_()
            decoded = self.model.paint(tokens, vectors, keep.long()).clamp(0, 1)
            error = ((decoded - original).square() * _inside(shown)).flatten(1).sum(1)
            (gradient,) = torch.autograd.grad(error.sum(), vectors)
        vectors, error = vectors.detach(), error.detach()

        energy = quantizer.scale[quantizer.label(tokens)].square()  # of a change by 1
        price, bits = quantizer.shape.rate * energy, quantizer.bits()
        slope = gradient - 2 * energy[..., None] * vectors
        codes, gains, paid, first = [], [], [], 0
        for block, length in enumerate(quantizer.shape.blocks):
            here = slice(first, first + length)
            book = quantizer.book(block)
            own = (book * book).sum(1) + quantizer.shape.rate * bits[block]
            promise = slope[:, here] @ book.T + energy[:, here, None] * own
            best = promise.min(2)
            now = promise.gather(2, tokens[:, here, None])[..., 0]
            codes.append(best.indices.int())
            gains.append((now - best.values).clamp(min=0))
            paid.append(price[:, here] * bits[block][tokens[:, here]])
            first += length
        place = torch.arange(tokens.shape[1], device=tokens.device)
        counts = place < keep[:, None]
        cost = error + (torch.cat(paid, 1) * counts).sum(1)
        return cost, torch.cat(codes, 1), torch.cat(gains, 1) * (counts & (place > 0))


def _inside(shown: Tensor) -> Tensor:
    """Widths and heights (B, 2) -> 1 where pixels count, else 0: (B, 1, 256, 256)."""
    place = torch.arange(TILE, device=shown.device)
    columns, rows = (place < shown[:, axis, None] for axis in (0, 1))
    return (rows[:, None, :, None] & columns[:, None, None, :]).float()


def traced(
    proposals: Proposals, examples: tuple[Tensor, ...]
) -> tuple[fx.GraphModule, dict[str, str]]:
    """The operations of both passes as one graph, for any number of pictures, and which attribute of it is which
    entry of the module's state dict.
    """
    table: dict[Any, Any] = dict(core_aten_decompositions())
    table[torch.ops.aten.convolution_backward.default] = _convolution_backward
    graph = make_fx(proposals, table, tracing_mode="symbolic", _allow_non_fake_inputs=True)(
        *examples
    )
    entries = {value.data_ptr(): name for name, value in proposals.state_dict().items()}
    names = {
        name: entries[value.data_ptr()]
        for name, value in graph.state_dict().items()
        if value.data_ptr() in entries
    }
    return graph, names


def _convolution_backward(
    gradient: Tensor,
    x: Tensor,
    weight: Tensor,
    bias_sizes: Any,
    stride: list[int],
    padding: list[int],
    dilation: list[int],
    *others: Any,
) -> tuple[Tensor, None, None]:
    """By the input alone, for the kinds of convolution that the decoder has: ONNX has no such operation."""
    if (
        max(dilation) > 1
        or weight.shape[1] != x.shape[1]
        or (max(stride) > 1 and stride != [*weight.shape[2:]])
    ):
        raise NotImplementedError("a convolution with dilation, groups or overlapping strides")
    if max(stride) == 1:
        back = weight.flip(2, 3).transpose(0, 1)
        return F.conv2d(gradient, back, padding=weight.shape[2] - 1 - padding[0]), None, None
    return F.conv_transpose2d(gradient, weight, stride=stride, padding=padding), None, None
