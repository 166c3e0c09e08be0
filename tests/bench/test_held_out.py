"""Held-out networks as embeddings, with a small network in place of a package's."""

import importlib.util
import sys

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="needs the torch extra")
onnx = pytest.importorskip("onnx", reason="needs the torch extra")

from onedpiece.bench import held_out  # noqa: E402  (which needs both)
from onedpiece.bench.downstream import load  # noqa: E402
from onedpiece.errors import OdpError  # noqa: E402


@pytest.fixture
def detector(tmp_path, monkeypatch):
    """A network of eight convolutions, in a package with the name of the text detector's."""
    folder = tmp_path / "rapidocr_onnxruntime"
    (folder / "models").mkdir(parents=True)
    (folder / "__init__.py").touch()
    onnx.save(convolutions(8), folder / "models" / "ch_PP-OCRv4_det_infer.onnx")
    monkeypatch.setattr(sys, "path", [str(tmp_path), *sys.path])
    return load("onedpiece.bench.held_out:text_detector", "embedding")


def convolutions(count):
    """An ONNX model of 3x3 convolutions with random weights, in a row: (1, 3, 256, 256) each."""
    from onnx import TensorProto, helper, numpy_helper

    random = np.random.default_rng(0)
    nodes, weights = [], []
    for index in range(count):
        kernel = random.normal(size=(3, 3, 3, 3)).astype(np.float32)
        weights.append(numpy_helper.from_array(kernel, f"w{index}"))
        names = [f"x{index}", f"w{index}"], [f"x{index + 1}"]
        nodes.append(helper.make_node("Conv", *names, pads=[1, 1, 1, 1]))
    first, last = (
        helper.make_tensor_value_info(name, TensorProto.FLOAT, [1, 3, 256, 256])
        for name in ("x0", f"x{count}")
    )
    graph = helper.make_graph(nodes, "convolutions", [first], [last], weights)
    opset = [helper.make_opsetid("", 13)]
    return helper.make_model(graph, opset_imports=opset, ir_version=8)


def test_layers_and_positions_have_equal_weight(detector):
    embedding = detector(torch.rand(1, 3, 200, 300))
    assert embedding.shape == (1, held_out.LAYERS * 3 * 256 * 256)
    for layer in embedding.reshape(held_out.LAYERS, 3, 256, 256).numpy():
        lengths = np.square(layer).sum(0) * 256 * 256
        np.testing.assert_allclose(lengths, 1, rtol=1e-3)


def test_a_package_that_is_not_installed_is_named(monkeypatch):
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(OdpError, match="nudenet is not installed"):
        load("onedpiece.bench.held_out:yolo", "embedding")
