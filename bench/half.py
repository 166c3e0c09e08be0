"""A decoder whose network computes in float16, to find out what that gains on a GPU."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import onnx
from onnx import NodeProto, TensorProto, helper

HALF = ".half"


def half_precision(path: Path) -> bytes:
    """The ONNX graph at `path`, in float16 from its first convolution to its last.

    What comes before and after stays in float32: what the tokens say, and what holds the picture
    to it.
    """
    model = onnx.load(path)
    graph = model.graph
    network = _between_convolutions(graph.node)
    inside = {output for node in network for output in node.output}
    last = network[-1].output[0]
    nodes = list[NodeProto]()
    casts = set[str]()
    for node in graph.node:
        if node in network:
            for index, name in enumerate(node.input):
                if name in inside or not _is_number(node, index):
                    continue
                if name not in casts:
                    casts.add(name)
                    nodes.append(_cast(name, name + HALF, TensorProto.FLOAT16))
                node.input[index] = name + HALF
        nodes.append(node)
        if node.output[0] == last:
            node.output[0] = last + HALF
            nodes.append(_cast(last + HALF, last, TensorProto.FLOAT))
    del graph.node[:], graph.value_info[:]
    graph.node.extend(nodes)
    data: bytes = model.SerializeToString()
    return data


def _between_convolutions(nodes: Iterable[NodeProto]) -> list[NodeProto]:
    """The operations from the first convolution to the last, in order."""
    nodes = list(nodes)
    convolutions = [node for node in nodes if node.op_type == "Conv"]
    first, last = convolutions[0], convolutions[-1]
    made = set(first.output)
    after = [first]
    for node in nodes:
        if made.intersection(node.input):
            made.update(node.output)
            after.append(node)
    needed = set(last.output)
    network = list[NodeProto]()
    for node in reversed(after):
        if needed.intersection(node.output):
            needed.update(node.input)
            network.insert(0, node)
    return network


def _is_number(node: NodeProto, index: int) -> bool:
    """Whether an input is one that the operation computes with, not an option such as a size."""
    return bool(node.input[index]) and (node.op_type != "Resize" or index == 0)


def _cast(name: str, output: str, kind: int) -> NodeProto:
    return helper.make_node("Cast", [name], [output], to=kind)
