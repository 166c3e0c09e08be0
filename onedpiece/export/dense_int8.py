"""The graph of a natural decoder that multiplies 8-bit integers.

The general way (`static_int8`) rounds what each convolution reads and writes. In a dense block,
each reads all that was written before it, so that most of the time would go into rounding and
moving the same numbers again. Here, what a dense block reads and what each convolution adds is
rounded once, to levels that all its convolutions share, and stays bytes in channels-last order, as
ONNX Runtime multiplies them. The sums of dense blocks stay in float32, and so do the layers around
the blocks, where rounding would be seen.

Both graphs of a decoder refer to the same weights. `equalise` makes their channels fit the levels.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import NodeProto, helper, numpy_helper

from onedpiece.export.float_layers import RUNTIME, speed_up
from onedpiece.export.static_int8 import STORED, Ranges, drop_unused, levels, measured_ranges
from onedpiece.tokenizer.natural import RESIDUAL, SLOPE
from onedpiece.tokenizer.weights import SCALE

CONVOLUTION = re.compile(r".*\.body\.(\d+)\.rdb(\d)\.conv\d\.weight")
AFTER_BLOCKS = ".conv_body.weight"
CHANNELS_LAST, CHANNELS_FIRST = (0, 2, 3, 1), (0, 3, 1, 2)

Dense = list[NodeProto]
"""The convolutions of a dense block."""


def quantise_natural(graph: Path, target: Path, tokens: Sequence[NDArray[np.integer]]) -> None:
    """Write to `target`, in the same folder, the graph of a natural decoder with integers.

    tokens: those of pictures on which ranges are measured, arrays (B, K) with different K.
    """
    model = onnx.load(graph, load_external_data=False)
    blocks = _blocks(model.graph)
    names = {name for block in blocks for dense in block for name in _tensors(dense)}
    ranges = measured_ranges(graph, model, sorted(names), tokens)
    _Writer(graph.parent, model.graph, ranges).replace(blocks)
    speed_up(model.graph)
    drop_unused(model.graph)
    model.opset_import.append(helper.make_opsetid(RUNTIME, 1))
    target.write_bytes(model.SerializeToString())


def _blocks(graph: onnx.GraphProto) -> list[list[Dense]]:
    """The dense blocks of each block of the network."""
    found: dict[str, dict[str, Dense]] = {}
    for node in graph.node:
        if node.op_type == "Conv" and (match := CONVOLUTION.fullmatch(node.input[1])):
            found.setdefault(match[1], {}).setdefault(match[2], []).append(node)
    return [list(block.values()) for block in found.values()]


def _tensors(dense: Dense) -> list[str]:
    """Whose ranges matter: the input of a dense block, and what each convolution gives."""
    return [dense[0].input[0], *(node.output[0] for node in dense)]


class _Writer:
    """Writes blocks of integers in the place of those of floating-point numbers."""

    def __init__(self, folder: Path, graph: onnx.GraphProto, ranges: Ranges) -> None:
        self.folder, self.graph, self.ranges = folder, graph, ranges
        self.tensors = {tensor.name: tensor for tensor in graph.initializer}
        self.nodes = list[NodeProto]()
        self.zero = self._add("zero", np.array(0, np.int8))
        self.residual = self._add("residual", np.array(RESIDUAL, np.float32))

    def replace(self, blocks: list[list[Dense]]) -> None:
        start = blocks[0][0][0].input[0]
        x = self._node("Transpose", [start], start + ".last", perm=CHANNELS_LAST)
        for number, block in enumerate(blocks):
            x = self._block(x, block, f"block{number}")
        x = self._node("Transpose", [x], x + ".first", perm=CHANNELS_FIRST)
        nodes = list(self.graph.node)
        place = 1 + next(i for i, node in enumerate(nodes) if start in node.output)
        for node in nodes:
            if len(node.input) > 1 and node.input[1].endswith(AFTER_BLOCKS):
                node.input[0] = x
        outputs = {output.name for output in self.graph.output}
        del self.graph.node[:]
        self.graph.node.extend(_needed(nodes[:place] + self.nodes + nodes[place:], outputs))

    def _block(self, x: str, block: list[Dense], name: str) -> str:
        y = x
        for number, dense in enumerate(block):
            y = self._dense(y, dense, f"{name}.{number}")
        y = self._node("Mul", [y, self.residual], name + ".scaled")
        return self._node("Add", [x, y], name + ".sum")

    def _dense(self, x: str, dense: Dense, name: str) -> str:
        *growing, last = dense
        shared = self._levels(name + ".shared", *self._shared_range(dense))
        seen = self._node("QuantizeLinear", [x, *shared], name + ".seen")
        for convolution in growing:
            y, own = self._convolution(seen, shared, convolution)
            y = self._node("QLinearLeakyRelu", [y, *own, *shared], y + ".leaky", alpha=SLOPE)
            seen = self._node("Concat", [seen, y], y + ".seen", axis=3)
        y, (step, zero) = self._convolution(seen, shared, last)
        scaled = np.asarray(np.float32(RESIDUAL) * self._value(step))
        residual = self._add(name + ".residual", scaled)
        y = self._node("DequantizeLinear", [y, residual, zero], name + ".added")
        return self._node("Add", [x, y], name + ".sum")

    def _shared_range(self, dense: Dense) -> tuple[float, float]:
        """The range of all that the convolutions of a dense block read."""
        first, *grown = (self.ranges[name] for name in _tensors(dense)[:-1])
        lows, highs = zip(first, *((SLOPE * low, high) for low, high in grown), strict=True)
        return min(lows), max(highs)

    def _convolution(
        self, x: str, grid: tuple[str, str], node: NodeProto
    ) -> tuple[str, tuple[str, str]]:
        """Integers of a convolution's output, and their levels.

        grid: the levels of x.
        """
        _, weight, bias = node.input
        output = node.output[0] + ".bytes"
        own = self._levels(output, *self.ranges[node.output[0]])
        scales = self._value(weight + SCALE).reshape(-1)
        step = self._value(grid[0]) * scales
        bias_levels = (self._value(bias) / step).round().astype(np.int32)
        # A reference to the scales in the file of weights would take longer to load.
        matrix = [weight + STORED, self._add(weight + ".scales", scales), self.zero]
        inputs = [x, *grid, *matrix, *own, self._add(bias + ".levels", bias_levels)]
        shape = {"kernel_shape": (3, 3), "pads": (1, 1, 1, 1)}
        return self._node("QLinearConv", inputs, output, channels_last=1, **shape), own

    def _levels(self, name: str, low: float, high: float) -> tuple[str, str]:
        """Distance of the levels of a range, and the level that is 0."""
        step, zero = levels(low, high)
        return self._add(name + ".step", step), self._add(name + ".level0", zero)

    def _node(self, kind: str, inputs: Sequence[str], output: str, **attributes: Any) -> str:
        domain = RUNTIME if kind.startswith("QLinear") else ""
        self.nodes.append(helper.make_node(kind, inputs, [output], domain=domain, **attributes))
        return output

    def _add(self, name: str, value: NDArray[Any]) -> str:
        self.tensors[name] = numpy_helper.from_array(value, name)
        self.graph.initializer.append(self.tensors[name])
        return name

    def _value(self, name: str) -> NDArray[np.float32]:
        return numpy_helper.to_array(self.tensors[name], str(self.folder))


def _needed(nodes: list[NodeProto], outputs: set[str]) -> list[NodeProto]:
    """The nodes from which outputs come, directly or not."""
    kept, read = list[NodeProto](), set(outputs)
    for node in reversed(nodes):
        if read.intersection(node.output):
            read.update(node.input)
            kept.append(node)
    return kept[::-1]
