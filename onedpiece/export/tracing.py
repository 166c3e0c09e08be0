"""Trace a module that computes a gradient into one graph of operations that ONNX has.

`torch.onnx.export` does not follow `torch.autograd.grad`; `make_fx` records its operations too.
"""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, fx, nn
from torch._decomp import core_aten_decompositions
from torch.fx.experimental.proxy_tensor import make_fx


def trace(module: nn.Module, examples: tuple[Tensor, ...]) -> tuple[fx.GraphModule, dict[str, str]]:
    """The operations of a module's forward and backward passes, for any size of a batch.

    Also returns which attribute of the graph is which entry of the module's state dict.
    """
    decompositions: dict[Any, Any] = dict(core_aten_decompositions())
    decompositions[torch.ops.aten.convolution_backward.default] = _convolution_backward
    graph = make_fx(module, decompositions, tracing_mode="symbolic", _allow_non_fake_inputs=True)(
        *examples
    )
    entries = {value.data_ptr(): name for name, value in module.state_dict().items()}
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
    """Gradient of a convolution by its input alone: ONNX has no such operation.

    Raises NotImplementedError for kinds of convolution that the decoders do not have.
    """
    has_groups = weight.shape[1] != x.shape[1]
    overlaps = max(stride) > 1 and stride != [*weight.shape[2:]]
    if max(dilation) > 1 or has_groups or overlaps:
        raise NotImplementedError("a convolution with dilation, groups or overlapping strides")
    if max(stride) == 1:
        flipped = weight.flip(2, 3).transpose(0, 1)
        return F.conv2d(gradient, flipped, padding=weight.shape[2] - 1 - padding[0]), None, None
    return F.conv_transpose2d(gradient, weight, stride=stride, padding=padding), None, None
