"""Decoders that multiply 8-bit integers: nearly the same pictures, in a fraction of the time."""

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="needs the extra onedpiece[torch]")
onnx = pytest.importorskip("onnx", reason="needs the extra onedpiece[torch]")
pytest.importorskip("onnxscript", reason="needs the extra onedpiece[torch]")

import onnxruntime  # noqa: E402

from onedpiece.export import model_directory  # noqa: E402
from onedpiece.export.model_directory import export, new_decoder  # noqa: E402
from onedpiece.metrics import psnr  # noqa: E402
from onedpiece.models.registry import find  # noqa: E402
from onedpiece.runtime import onnx as onnx_runtime  # noqa: E402
from onedpiece.runtime.onnx import CPU, OnnxRuntime  # noqa: E402
from onedpiece.runtime.torch import TorchRuntime  # noqa: E402

TOKENS = np.random.default_rng(0).integers(0, 4096, (8, 256), np.uint16)


def operations(path):
    return [node.op_type for node in onnx.load(path, load_external_data=False).graph.node]


@pytest.fixture(scope="module")
def model(random_model, tmp_path_factory):
    """The random model with a decoder that multiplies integers."""
    folder = tmp_path_factory.mktemp("integers") / "random"
    with pytest.MonkeyPatch.context() as patch:  # of its graphs, the search takes longest
        patch.setattr(model_directory, "_write_search", lambda *given: None)
        return export(random_model, folder, "random", new_decoder("repair"), calibration=TOKENS)


@pytest.fixture
def graph(model):
    return model.path / "int8-repair.onnx"


@pytest.fixture
def with_integers():
    """Needs a processor on which the graph of integers is used."""
    if not onnx_runtime.has_vnni():
        pytest.skip("products of 8-bit integers are exact on processors with VNNI only")


@pytest.mark.parametrize("count", [1, 40, 256])
def test_pictures_are_nearly_those_of_floating_point_numbers(model, with_integers, count):
    """Random weights make large residuals, in which rounding is seen more than in real ones."""
    tokens = np.random.default_rng(count).integers(0, 4096, (2, count), np.uint16)
    pixels = OnnxRuntime(model, "cpu").decode(tokens)
    assert 30 < psnr(pixels, TorchRuntime(model).decode(tokens)) < 80


def test_a_processor_without_vnni_multiplies_floating_point_numbers(model, monkeypatch):
    monkeypatch.setattr(onnx_runtime, "has_vnni", lambda: False)
    pixels = OnnxRuntime(model, "cpu").decode(TOKENS[:1])
    np.testing.assert_allclose(pixels, TorchRuntime(model).decode(TOKENS[:1]), atol=0.05)


def test_the_graph_rounds_activations_and_refers_to_its_matrices(graph):
    assert {"QuantizeLinear", "DequantizeLinear"} <= set(operations(graph))
    tensors = onnx.load(graph, load_external_data=False).graph.initializer
    matrices = [one for one in tensors if "weight" in one.name and np.prod(one.dims) >= 1024]
    assert matrices and all(one.external_data for one in matrices)


def test_the_graph_of_floating_point_numbers_is_there_too(model):
    assert "QuantizeLinear" not in operations(model.path / "decoder-repair.onnx")


def test_onnx_runtime_multiplies_integers(graph, tmp_path):
    options = onnxruntime.SessionOptions()
    options.optimized_model_filepath = str(tmp_path / "optimised.onnx")
    options.log_severity_level = 4
    onnxruntime.InferenceSession(graph, options, providers=[CPU])
    assert {"QLinearConv", "MatMulIntegerToFloat"} <= set(operations(tmp_path / "optimised.onnx"))


def test_what_ships_loses_less_than_can_be_seen(photographs, with_integers):
    """The guard of the project is 0.03 dB; it is a third of that at most."""
    model = find("default").faithful
    assert "QuantizeLinear" in operations(model.path / model.decoder.int8_graph)
    runtimes = OnnxRuntime(model, "cpu"), TorchRuntime(model)
    tokens = runtimes[0].encode(photographs)
    for count in (16, 64, 256):
        decoded = [runtime.decode(tokens[:, :count]) for runtime in runtimes]
        integers, floats = (
            np.mean([psnr(*pair) for pair in zip(photographs, pixels, strict=True)])
            for pixels in decoded
        )
        assert integers > floats - 0.01
        assert psnr(*decoded) > 50
