"""Graphs of decoders that multiply 8-bit integers, in half the time of floating-point numbers.

Matrices are stored as integers already (`onedpiece.tokenizer.weights`). Here, what is multiplied
with them is rounded to 256 levels ("static quantisation"), and so is what comes out of
convolutions. The levels span the range that is measured on pictures. The graph says so by pairs of
QuantizeLinear and DequantizeLinear, which ONNX Runtime fuses with the products between them. Sums
of residuals, attention and normalisation stay in float32.

Both graphs of a decoder refer to the same weights.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
from numpy.typing import NDArray
from onnx import NodeProto, TensorProto, helper, numpy_helper

from onedpiece.runtime.onnx import CPU
from onedpiece.tokenizer.weights import SCALE

LEVELS = 255
MOVES = ("Split", "Transpose")  # what is done to a matrix before it is multiplied
STORED, ROUNDED = ".stored", ".rounded"

Ranges = dict[str, tuple[float, float]]
"""The smallest and the largest value of a tensor, by its name."""


def quantise_activations(graph: Path, target: Path, tokens: Sequence[NDArray[np.integer]]) -> None:
    """Write to `target`, in the same folder, the graph of a decoder with products of integers.

    tokens: those of pictures on which ranges are measured, arrays (B, K) with different K.
    """
    model = onnx.load(graph, load_external_data=False)
    plan = _plan(model.graph)
    ranges = measured_ranges(graph, model, sorted(plan.rounded), tokens)
    rewriter = _Rewriter(graph.parent, model.graph, plan, ranges)
    rewriter.rewrite()
    target.write_bytes(model.SerializeToString())


@dataclass(frozen=True)
class _Plan:
    """Which nodes of a graph compute with integers.

    products: convolutions and matrix products.
    moved:    splits and transpositions of matrices.
    """

    products: list[NodeProto]
    moved: list[NodeProto]

    @property
    def made(self) -> set[str]:
        """Tensors that come as integers: outputs of convolutions."""
        return {node.output[0] for node in self.products if node.op_type == "Conv"}

    @property
    def rounded(self) -> set[str]:
        """Tensors of which there is a rounded version."""
        return self.made | {node.input[0] for node in self.products}


def _plan(graph: onnx.GraphProto) -> _Plan:
    readers: dict[str, list[NodeProto]] = {}
    for node in graph.node:
        for name in node.input:
            readers.setdefault(name, []).append(node)
    plan = _Plan([], [])
    for tensor in graph.initializer:
        name = tensor.name.removesuffix(STORED)
        if tensor.data_type == TensorProto.INT8:
            users, moves = _users(name, readers)
            if all(_is_product(node) for node in users):
                plan.products.extend(users)
                plan.moved.extend(moves)
    return plan


def _users(
    name: str, readers: dict[str, list[NodeProto]]
) -> tuple[list[NodeProto], list[NodeProto]]:
    """Nodes that use a matrix, and those that move its numbers before."""
    users, moves = list[NodeProto](), list[NodeProto]()
    for node in readers.get(name, []):
        if node.op_type in MOVES:
            moves.append(node)
            for output in node.output:
                further = _users(output, readers)
                users += further[0]
                moves += further[1]
        else:
            users.append(node)
    return users, moves


def _is_product(node: NodeProto) -> bool:
    return node.op_type in ("Conv", "MatMul")


def measured_ranges(
    graph: Path, model: onnx.ModelProto, names: list[str], tokens: Sequence[NDArray[np.integer]]
) -> Ranges:
    """Ranges of tensors, by running the graph with them as further outputs."""
    watched = onnx.ModelProto()
    watched.CopyFrom(model)
    watched.graph.output.extend(
        helper.make_tensor_value_info(name, TensorProto.FLOAT, None) for name in names
    )
    path = graph.with_suffix(".watched.onnx")  # beside the weights to which it refers
    path.write_bytes(watched.SerializeToString())
    try:
        session = onnxruntime.InferenceSession(path, providers=[CPU])
    finally:
        path.unlink()
    ranges = dict.fromkeys(names, (0.0, 0.0))
    for batch in tokens:
        values = session.run(names, {"tokens": batch.astype(np.int32)})
        for name, value in zip(names, values, strict=True):
            low, high = ranges[name]
            ranges[name] = min(low, float(value.min())), max(high, float(value.max()))
    return ranges


class _Rewriter:
    """Makes the nodes of a plan compute with integers."""

    def __init__(self, folder: Path, graph: onnx.GraphProto, plan: _Plan, ranges: Ranges) -> None:
        self.folder, self.graph, self.plan = folder, graph, plan
        self.steps = {name: levels(*limits) for name, limits in ranges.items()}
        self.tensors = {tensor.name: tensor for tensor in graph.initializer}
        self.scales: dict[str, tuple[NDArray[np.float32], int]] = {}
        """Of matrices in integers: the scales, and the axis along which they differ."""

    def rewrite(self) -> None:
        integers = {node.output[0] for node in self.plan.products}
        moved = {node.output[0] for node in self.plan.moved}
        matrices = self._matrices()
        nodes = list[NodeProto]()
        for node in self.graph.node:
            name = node.output[0]
            if name.removesuffix(".integers") in matrices:
                continue  # the integers made floating-point numbers, which nothing reads any more
            if name in moved:
                self._move(node)
            else:
                if name in integers:
                    nodes += self._weights(node)
                for index, read in enumerate(node.input):
                    if read in self.plan.made or (name in integers and read in self.steps):
                        node.input[index] = read + ROUNDED
            nodes.append(node)
            for output in node.output:
                if output in self.steps:
                    nodes += self._rounding(output)
        del self.graph.node[:]
        self.graph.node.extend(nodes)
        drop_unused(self.graph)

    def _matrices(self) -> set[str]:
        """Names of the matrices; from here on, their scales are known."""
        products = {node.input[1] for node in self.plan.products}
        names = {node.input[0] for node in self.plan.moved} | products
        stored = {name for name in names if name + STORED in self.tensors}
        for name in stored:
            self.scales[name] = self._value(name + SCALE).reshape(-1), 0
        return stored

    def _move(self, node: NodeProto) -> None:
        """Let a split or transposition move integers, and its matrix's scales likewise."""
        scales, axis = self.scales[node.input[0]]
        node.input[0] = node.input[0] + STORED
        if node.op_type == "Transpose":
            self.scales[node.output[0]] = scales, 1 - axis
        else:
            for output, part in zip(node.output, np.split(scales, len(node.output)), strict=True):
                self.scales[output] = part, axis
        for index, output in enumerate(node.output):
            node.output[index] = output + STORED

    def _weights(self, node: NodeProto) -> list[NodeProto]:
        """The matrix of a product from integers, and the bias of a convolution likewise."""
        matrix = node.input[1]
        scales, axis = self.scales[matrix]
        before = self._dequantised(matrix, matrix + STORED, scales, axis)
        if len(node.input) > 2:
            bias, step = node.input[2], self.steps[node.input[0]][0] * scales
            bias_levels = (self._value(bias) / step).round().astype(np.int32)
            node.input[2] = bias + ROUNDED
            stored = self._add(bias + ".levels", bias_levels)
            before += self._dequantised(bias + ROUNDED, stored, step)
        return before

    def _dequantised(
        self, name: str, integers: str, scales: NDArray[np.float32], axis: int = 0
    ) -> list[NodeProto]:
        inputs = [integers, self._add(name + ".scale", scales)]
        return [helper.make_node("DequantizeLinear", inputs, [name], axis=axis)]

    def _rounding(self, name: str) -> list[NodeProto]:
        step, zero = self.steps[name]
        grid = [self._add(name + ".step", step), self._add(name + ".zero", zero)]
        return [
            helper.make_node("QuantizeLinear", [name, *grid], [name + ".levels"]),
            helper.make_node("DequantizeLinear", [name + ".levels", *grid], [name + ROUNDED]),
        ]

    def _add(self, name: str, value: NDArray[Any]) -> str:
        self.graph.initializer.append(numpy_helper.from_array(value, name))
        return name

    def _value(self, name: str) -> NDArray[np.float32]:
        return numpy_helper.to_array(self.tensors[name], str(self.folder))


def drop_unused(graph: onnx.GraphProto) -> None:
    """Drop the initializers that no node reads."""
    read = {name for node in graph.node for name in node.input}
    used = [tensor for tensor in graph.initializer if tensor.name in read]
    del graph.initializer[:]
    graph.initializer.extend(used)


def levels(low: float, high: float) -> tuple[NDArray[np.float32], NDArray[np.uint8]]:
    """Distance of the levels, and the level that is 0."""
    step = max(high - low, 1e-6) / LEVELS
    return np.array(step, np.float32), np.array(round(-low / step), np.uint8)
