"""Scale the channels in a natural decoder's blocks, so that rounding to 8 bits loses less.

What comes out of a leaky ReLU can be divided by a number if the next layers multiply by it: the
pictures are the same (cross-layer equalisation: Nagel et al., arXiv 1906.04721, section 4.1). All
that the convolutions of a dense block read is rounded to the same levels, so that channels with
small values would lose most of what they say. Each channel is brought halfway, on a logarithmic
scale, to the largest value of the block's input. All the way, the weights would span too wide a
range instead.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor, nn

from onedpiece.tokenizer.natural import CHANNELS, SLOPE, NaturalOneDPiece

LEAST = 1e-3  # taken as the largest value of a channel that is always 0


@torch.no_grad()
def equalise(decoder: NaturalOneDPiece, tokens: Sequence[NDArray[np.integer]]) -> None:
    """Scale the channels, in place.

    tokens: those of pictures on which values are measured, arrays (B, K) with different K.
    """
    values = _Values(decoder, tokens)
    for block in decoder.restore.body:
        for dense in block.children():
            convolutions = list[Any](dense.children())
            target, first = values.read[convolutions[0]], CHANNELS
            for number, writer in enumerate(convolutions[:-1], 1):
                written = values.written[writer]
                last = first + len(written)
                _scale(written / target, writer, convolutions[number:], slice(first, last))
                first = last


def _scale(ratio: Tensor, writer: nn.Conv2d, readers: list[nn.Conv2d], channels: slice) -> None:
    """Bring what `writer` writes halfway to its target.

    ratio:    of the largest value of each channel to the target.
    channels: of what the readers read.
    """
    factor = ratio.sqrt()
    assert writer.bias is not None
    writer.weight /= factor[:, None, None, None]
    writer.bias /= factor
    for reader in readers:
        reader.weight[:, channels] *= factor[:, None, None]


class _Values:
    """The largest values in the network.

    read:    of all that a convolution reads, by convolution, ().
    written: of each channel that a convolution and a leaky ReLU write, (C,).
    """

    def __init__(self, decoder: NaturalOneDPiece, tokens: Sequence[NDArray[np.integer]]) -> None:
        self.read: dict[nn.Module, Tensor] = {}
        self.written: dict[nn.Module, Tensor] = {}
        layers = [one for one in decoder.restore.body.modules() if isinstance(one, nn.Conv2d)]
        hooks = [layer.register_forward_hook(self._watch) for layer in layers]
        for batch in tokens:
            decoder.decode(torch.from_numpy(batch.astype(np.int64)))
        for hook in hooks:
            hook.remove()

    def _watch(self, layer: nn.Module, inputs: tuple[Tensor], output: Tensor) -> None:
        written = F.leaky_relu(output, SLOPE).abs().amax((0, 2, 3)).clamp(min=LEAST)
        for values, new in (self.read, inputs[0].abs().max()), (self.written, written):
            values[layer] = torch.maximum(values.get(layer, new), new)
