"""Round the weights of a natural decoder so that their errors cancel (GPTQ).

Frantar et al., arXiv 2210.17323, section 3. The weights of a convolution are rounded one after the
other, and after each one, those that are left are changed so that the convolution gives about what
it gave before, for inputs like those of the calibration. Each convolution is shown what the rounded
ones before it give.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor, nn

from onedpiece.tokenizer.natural import RESIDUAL, SLOPE, NaturalOneDPiece, RestorationNetwork
from onedpiece.tokenizer.weights import is_rounded, row_scales

PICTURES = 2  # of each number of tokens
PAINTED = 64  # pixels a side that are enough where the network paints at twice and four times
DAMPING = 0.01  # of the mean of the diagonal
COLUMNS = 128  # that are rounded before the others are changed

Pixels = list[Tensor]
"""Of batches of different sizes: (B, C, H, W)."""


@torch.no_grad()
def round_weights(
    decoder: NaturalOneDPiece, tokens: Sequence[NDArray[np.integer]]
) -> dict[str, Tensor]:
    """Round the weights that are stored in 8 bits, in place.

    tokens: those of pictures, arrays (B, K) with different K.

    Returns the scales of the rows of each weight by its name, (rows, 1, 1, 1). Each weight is an
    integer from -127 to 127 times the scale of its row.
    """
    names = {module: name for name, module in decoder.named_modules()}
    batches = [torch.from_numpy(batch[:PICTURES].astype(np.int64)) for batch in tokens]
    small = [decoder.small_picture(batch) for batch in batches]
    scales = {}
    for convolution, inputs in _convolutions(decoder.restore, small):
        if is_rounded(convolution.weight):
            scale = row_scales(convolution.weight)
            convolution.weight.copy_(_rounded(convolution.weight, scale, _products(inputs)))
            scales[names[convolution] + ".weight"] = scale
    return scales


def _convolutions(network: RestorationNetwork, x: Pixels) -> Iterator[tuple[nn.Conv2d, Pixels]]:
    """The convolutions of the network in their order, each with what it reads.

    What comes after a convolution is computed when it has been rounded.
    """
    yield network.conv_first, x
    first = y = [network.conv_first(one) for one in x]
    for block in network.body:
        before = y
        for dense in block.children():
            seen = y
            *growing, last = list[Any](dense.children())
            for convolution in growing:
                yield convolution, seen
                seen = [torch.cat((s, F.leaky_relu(convolution(s), SLOPE)), 1) for s in seen]
            yield last, seen
            y = [one + RESIDUAL * last(s) for one, s in zip(y, seen, strict=True)]
        y = [one + RESIDUAL * new for one, new in zip(before, y, strict=True)]
    yield network.conv_body, y
    y = [one + network.conv_body(new) for one, new in zip(first, y, strict=True)]
    for convolution in (network.conv_up1, network.conv_up2):
        y = [F.interpolate(one, scale_factor=2.0)[..., :PAINTED, :PAINTED] for one in y]
        yield convolution, y
        y = [F.leaky_relu(convolution(one), SLOPE) for one in y]
    yield network.conv_hr, y
    yield network.conv_last, [F.leaky_relu(network.conv_hr(one), SLOPE) for one in y]


def _products(inputs: Pixels) -> Tensor:
    """Mean products of what two weights of a filter are multiplied with, (9C, 9C)."""
    size = 9 * inputs[0].shape[1]
    total, count = torch.zeros(size, size), 0
    for pixels in inputs:
        columns = F.unfold(pixels, 3, padding=1).transpose(0, 1).reshape(size, -1)
        total += columns @ columns.T
        count += columns.shape[1]
    return total / count


def _rounded(weight: Tensor, scale: Tensor, products: Tensor) -> Tensor:
    """The weights (rows, C, 3, 3) as multiples of their row's scale.

    products: (9C, 9C), the Hessian of the squared error of a row's outputs, but for a factor.
    """
    diagonal = products.diagonal()
    order = diagonal.argsort(descending=True)  # what matters most is rounded first
    damping = (DAMPING * diagonal.mean()).clamp(min=1e-12)
    hessian = (products + damping * torch.eye(len(order)))[order][:, order].double()
    inverse = torch.cholesky_inverse(torch.linalg.cholesky(hessian))
    spread = torch.linalg.cholesky(inverse, upper=True)
    rows, step = weight.flatten(1)[:, order].double(), scale.flatten(1).double()
    for start in range(0, len(order), COLUMNS):
        block = slice(start, min(start + COLUMNS, len(order)))
        errors = []
        for i in range(block.start, block.stop):
            column = rows[:, i : i + 1].clone()
            rows[:, i : i + 1] = (column / step).round().clamp(-127, 127) * step
            errors.append((column - rows[:, i : i + 1]) / spread[i, i])
            rows[:, i + 1 : block.stop] -= errors[-1] * spread[i, i + 1 : block.stop]
        rows[:, block.stop :] -= torch.cat(errors, 1) @ spread[block, block.stop :]
    return rows[:, order.argsort()].float().view_as(weight)
