"""Rewritten layers give what PyTorch's give, for any size and number of pictures."""

import numpy as np
import pytest

pytest.importorskip("torch", reason="needs PyTorch: pip install onedpiece[torch]")

import onnxruntime
import torch
import torch.nn.functional as F
from onnx import TensorProto, helper, numpy_helper

from onedpiece.export.float_layers import RUNTIME, speed_up

CHANNELS, PAINTING = 6, 5
PADDED = {"kernel_shape": (3, 3), "pads": (1, 1, 1, 1)}
NEAREST = {
    "mode": "nearest",
    "nearest_mode": "floor",
    "coordinate_transformation_mode": "asymmetric",
}


@pytest.fixture(scope="module")
def layers():
    """Weights and biases of an enlarging convolution, of one between, and of the last."""
    torch.manual_seed(0)
    return [
        torch.nn.Conv2d(*channels, 3, padding=1).requires_grad_(False)
        for channels in ((CHANNELS, PAINTING), (PAINTING, PAINTING), (PAINTING, 3))
    ]


@pytest.fixture(scope="module")
def rewritten(layers):
    """The graph of enlargement, convolution and the two others, rewritten."""
    names = [("up.weight", "up.bias"), ("hr.weight", "hr.bias"), ("x.conv_last.weight", "b.bias")]
    nodes = [
        helper.make_node("Resize", ["x", "", "scales"], ["enlarged"], **NEAREST),
        helper.make_node("Conv", ["enlarged", *names[0]], ["first"], **PADDED),
        helper.make_node("LeakyRelu", ["first"], ["leaky"], alpha=0.2),
        helper.make_node("Conv", ["leaky", *names[1]], ["second"], **PADDED),
        helper.make_node("Conv", ["second", *names[2]], ["y"], **PADDED),
    ]
    values = {"scales": np.array([1, 1, 2, 2], np.float32)}
    for layer, (weight, bias) in zip(layers, names, strict=True):
        values |= {weight: layer.weight.numpy(), bias: layer.bias.numpy()}
    sides = ["batch", CHANNELS, "height", "width"]
    graph = helper.make_graph(
        nodes,
        "layers",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, sides)],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, None)],
        [numpy_helper.from_array(value, name) for name, value in values.items()],
    )
    speed_up(graph)
    return graph


@pytest.mark.parametrize("size", [(1, 1), (1, 4), (5, 2), (7, 7)])
@pytest.mark.parametrize("batch", [1, 3])
def test_what_comes_out_is_the_same(layers, rewritten, size, batch):
    x = torch.randn(batch, CHANNELS, *size, generator=torch.Generator().manual_seed(1))
    expected = F.interpolate(x, scale_factor=2, mode="nearest")
    up, between, last = layers
    expected = last(between(F.leaky_relu(up(expected), 0.2)))
    (y,) = _session(rewritten).run(None, {"x": x.numpy()})
    assert y.shape == (batch, 3, 2 * size[0], 2 * size[1])
    np.testing.assert_allclose(y, expected.numpy(), atol=1e-5)


def test_convolutions_at_the_large_size_are_small_or_of_few_channels(rewritten):
    kinds = [node.op_type for node in rewritten.node]
    assert not {"Resize", "LeakyRelu"}.intersection(kinds)
    convolutions = [node for node in rewritten.node if node.op_type in ("Conv", "FusedConv")]
    attributes = [
        {a.name: helper.get_attribute_value(a) for a in node.attribute} for node in convolutions
    ]
    assert [list(one["kernel_shape"]) for one in attributes] == [[2, 2], [3, 3], [1, 1], [3, 3]]
    assert attributes[-1]["group"] == 3


def test_only_rows_that_are_read_become_wider():
    table = np.random.default_rng(0).normal(size=(9, 4)).astype(np.float16)
    graph = helper.make_graph(
        [
            helper.make_node("Cast", ["table"], ["wide"], to=TensorProto.FLOAT),
            helper.make_node("Gather", ["wide", "rows"], ["y"], axis=0),
        ],
        "table",
        [helper.make_tensor_value_info("rows", TensorProto.INT64, [None])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, None)],
        [numpy_helper.from_array(table, "table")],
    )
    speed_up(graph)
    assert [node.op_type for node in graph.node] == ["Gather", "Cast"]
    (y,) = _session(graph).run(None, {"rows": np.array([8, 0])})
    np.testing.assert_array_equal(y, table[[8, 0]].astype(np.float32))


def _session(graph):
    domains = [helper.make_opsetid("", 20), helper.make_opsetid(RUNTIME, 1)]
    model = helper.make_model(graph, opset_imports=domains, ir_version=10)
    return onnxruntime.InferenceSession(model.SerializeToString())
