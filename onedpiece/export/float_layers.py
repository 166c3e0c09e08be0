"""The layers of a natural decoder around its blocks of integers, in less time.

What comes out is the same but for rounding in the last digits.

- Leaky ReLUs are computed by the convolutions before them, while the numbers are at hand.
- Of tables that are stored in 16 bits, such as the codebooks, only the rows that are read are made
  32 bits wide.
- Where pixels are repeated in squares of 2x2 and a convolution of 3x3 follows, two of three rows
  and two of three columns lie on the same pixel. Their weights are added before, and each of the
  four pixels of a square takes a convolution of 2x2 of the small picture: four products in the
  place of nine (sub-pixel convolution: Shi et al., arXiv 1609.05158).
- The last convolution makes 3 channels of 64. ONNX Runtime would copy each of the 64 nine times.
  Instead, each pixel is multiplied with all weights first, and the products are moved and added.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
from numpy.typing import ArrayLike, DTypeLike, NDArray
from onnx import NodeProto, helper, numpy_helper

RUNTIME = "com.microsoft"  # the domain of ONNX Runtime's own operations
LAST = ".conv_last.weight"

# Which of two neighbours lies under each of three taps, for the first and the second pixel of a
# square: the first pixel reaches to the neighbour before it, the second to the one behind it.
_UNDER = ((0, 1, 1), (0, 0, 1))


def speed_up(graph: onnx.GraphProto) -> None:
    """Rewrite the graph of a natural decoder, in place.

    Its convolutions after enlargements and its last one are 3x3, with a padding of 1 and a bias.
    """
    _gather_before_casting(graph)
    _fuse_activations(graph)
    _rewrite_convolutions(graph)


def _gather_before_casting(graph: onnx.GraphProto) -> None:
    tensors = {tensor.name for tensor in graph.initializer}
    casts = {
        node.output[0]: node
        for node in graph.node
        if node.op_type == "Cast" and node.input[0] in tensors
    }
    nodes = list[NodeProto]()
    for node in graph.node:
        cast = casts.get(node.input[0]) if node.op_type == "Gather" else None
        if cast is None:
            nodes.append(node)
            continue
        (output,) = node.output
        rows = output + ".stored"
        (kind,) = cast.attribute
        inputs = [cast.input[0], *node.input[1:]]
        gather = helper.make_node("Gather", inputs, [rows])
        gather.attribute.extend(node.attribute)
        nodes += [gather, helper.make_node("Cast", [rows], [output], to=kind.i)]
    _replace_nodes(graph, nodes)


def _fuse_activations(graph: onnx.GraphProto) -> None:
    convolutions = {node.output[0]: node for node in graph.node if node.op_type == "Conv"}
    nodes = list[NodeProto]()
    for node in graph.node:
        convolution = convolutions.get(node.input[0]) if node.op_type == "LeakyRelu" else None
        if convolution is not None:
            (slope,) = node.attribute
            fused = helper.make_node(
                "FusedConv",
                convolution.input,
                node.output,
                domain=RUNTIME,
                activation="LeakyRelu",
                activation_params=[slope.f],
            )
            fused.attribute.extend(convolution.attribute)
            node = fused
        nodes.append(node)
    _replace_nodes(graph, nodes)


def _rewrite_convolutions(graph: onnx.GraphProto) -> None:
    channels = {tensor.name: tensor.dims[0] for tensor in graph.initializer if tensor.dims}
    enlarged = {node.output[0]: node.input[0] for node in graph.node if node.op_type == "Resize"}
    nodes = list[NodeProto]()
    for node in graph.node:
        if node.op_type in ("Conv", "FusedConv") and node.input[0] in enlarged:
            count = channels[node.input[2]]
            nodes += _Writer(graph, node).squares(enlarged[node.input[0]], count)
        elif node.op_type == "Conv" and node.input[1].endswith(LAST):
            nodes += _Writer(graph, node).products_first(channels[node.input[2]])
        else:
            nodes.append(node)
    _replace_nodes(graph, nodes)


class _Writer:
    """Writes the nodes in the place of a convolution."""

    def __init__(self, graph: onnx.GraphProto, convolution: NodeProto) -> None:
        self.graph = graph
        self.x, self.weight, self.bias = convolution.input
        self.output = convolution.output[0]
        self.kind = convolution.op_type
        self.activation = {
            one.name: helper.get_attribute_value(one)
            for one in convolution.attribute
            if one.name.startswith("activation")
        }
        self.nodes = list[NodeProto]()

    def squares(self, x: str, channels: int) -> list[NodeProto]:
        """The nodes of a convolution with so many outputs, after an enlargement of x (B, C, H, W).

        With a padding of 1, a convolution of 2x2 gives H + 1 rows of squares, of which the first
        has only second pixels in the picture and the last only first pixels; columns likewise.
        """
        # (out, C, 3, 3) -> (4 out, C, 2, 2), the second pixels of squares first.
        taps = self._add("Reshape", self.weight, self._constant([-1, 9]))
        sums = self._add("MatMul", taps, self._constant(_sums(), np.float32))
        kernels = self._add("Reshape", sums, self._constant([4 * channels, -1, 2, 2]))
        biases = self._add("Concat", *[self.bias] * 4, axis=0)
        settings = {"kernel_shape": (2, 2), "pads": (1, 1, 1, 1), **self.activation}
        y = self._add(self.kind, x, kernels, biases, **settings)
        sides = self._add("Shape", y, start=2)
        sides = self._add("Add", sides, sides)
        shape = self._add("Concat", self._constant([0, channels]), sides, axis=0)
        # (B, 2 rows, 2 columns, out, H + 1, W + 1): rows go to their neighbours, then columns.
        y = self._add("Reshape", y, self._constant([0, 2, -1, 0]))
        y = self._add("Transpose", y, perm=(0, 2, 1, 3))
        y = self._add("Reshape", y, self._constant([0, 2, -1]))
        y = self._add("Transpose", y, perm=(0, 2, 1))
        y = self._add("Reshape", y, shape)
        inside = [self._constant(values) for values in ([1, 1], [-1, -1], [2, 3])]
        return self._end("Slice", y, *inside)

    def products_first(self, channels: int) -> list[NodeProto]:
        """The nodes of a convolution with so many outputs, fewer than inputs."""
        # (out, C, 3, 3) -> (9 out, C, 1, 1)
        taps = self._add("Transpose", self.weight, perm=(0, 2, 3, 1))
        taps = self._add("Reshape", taps, self._constant([9 * channels, -1, 1, 1]))
        products = self._add("Conv", self.x, taps, kernel_shape=(1, 1))
        places = np.tile(np.eye(9).reshape(1, 9, 3, 3), (channels, 1, 1, 1))
        moves = self._constant(places, np.float32)
        moved = {"kernel_shape": (3, 3), "pads": (1, 1, 1, 1), "group": channels}
        return self._end("Conv", products, moves, self.bias, **moved)

    def _add(self, kind: str, *inputs: str, **attributes: Any) -> str:
        name = f"{self.output}.{len(self.nodes)}"
        domain = RUNTIME if kind == "FusedConv" else ""
        self.nodes.append(helper.make_node(kind, inputs, [name], domain=domain, **attributes))
        return name

    def _end(self, kind: str, *inputs: str, **attributes: Any) -> list[NodeProto]:
        return [*self.nodes, helper.make_node(kind, inputs, [self.output], **attributes)]

    def _constant(self, values: ArrayLike, kind: DTypeLike = np.int64) -> str:
        name = f"{self.output}.constant{len(self.graph.initializer)}"
        self.graph.initializer.append(numpy_helper.from_array(np.asarray(values, kind), name))
        return name


def _replace_nodes(graph: onnx.GraphProto, nodes: list[NodeProto]) -> None:
    """Give a graph other nodes, but for those whose output nothing reads."""
    read = {name for node in nodes for name in node.input} | {one.name for one in graph.output}
    del graph.node[:]
    graph.node.extend(node for node in nodes if not read.isdisjoint(node.output))


def _sums() -> NDArray[np.float32]:
    """(4, 9, 4): which of 3x3 weights add up to each of 2x2, for each pixel of a square."""
    sums = np.zeros((2, 2, 3, 3, 2, 2), np.float32)
    for row, column in np.ndindex(2, 2):
        for i, j in np.ndindex(3, 3):
            sums[1 - row, 1 - column, i, j, _UNDER[row][i], _UNDER[column][j]] = 1
    return sums.reshape(4, 9, 4)
