"""Decoders that multiply 8-bit integers: nearly the same pictures, in a fraction of the time."""

import shutil
from dataclasses import replace

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="needs the extra onedpiece[torch]")
onnx = pytest.importorskip("onnx", reason="needs the extra onedpiece[torch]")
pytest.importorskip("onnxscript", reason="needs the extra onedpiece[torch]")

import onnxruntime  # noqa: E402

from onedpiece.export.model_directory import add_decoder, new_decoder  # noqa: E402
from onedpiece.metrics import psnr  # noqa: E402
from onedpiece.models.registry import find, read_model  # noqa: E402
from onedpiece.runtime.onnx import CPU, OnnxRuntime  # noqa: E402
from onedpiece.runtime.torch import TorchRuntime  # noqa: E402
from onedpiece.tokenizer.config import Natural  # noqa: E402
from onedpiece.tokenizer.natural import NaturalOneDPiece  # noqa: E402
from onedpiece.tokenizer.weights import load_installed  # noqa: E402

TOKENS = np.random.default_rng(0).integers(0, 4096, (16, 256), np.uint16)


def operations(path):
    return [node.op_type for node in onnx.load(path, load_external_data=False).graph.node]


@pytest.fixture(scope="module")
def model(exported, tmp_path_factory):
    """The tiny model with a repair decoder and a natural one that multiply integers."""
    folder = tmp_path_factory.mktemp("integers") / "tiny"
    shutil.copytree(exported, folder)
    model = read_model(folder)
    module = load_installed(model)
    model = add_decoder(module, model, new_decoder("repair"), TOKENS)
    torch.manual_seed(0)
    natural = NaturalOneDPiece(replace(module.config, natural=Natural(1, 8)))
    natural.quantize.load_state_dict(module.quantize.state_dict())
    info = replace(new_decoder("real"), faithful="repair")
    return add_decoder(natural, model, info, TOKENS)


@pytest.mark.parametrize("realism", [0.0, 1.0])
@pytest.mark.parametrize("count", [1, 40, 256])
def test_pictures_are_nearly_those_of_floating_point_numbers(model, realism, count):
    tokens = np.random.default_rng(count).integers(0, 4096, (2, count), np.uint16)
    pixels = OnnxRuntime(model, "cpu").decode(tokens, realism)
    assert psnr(pixels, TorchRuntime(model).decode(tokens, realism)) > 30


@pytest.mark.parametrize("name", ["repair", "real"])
def test_the_graph_rounds_activations_and_refers_to_its_matrices(model, name):
    path = model.path / f"decoder-{name}.onnx"
    assert {"QuantizeLinear", "DequantizeLinear"} <= set(operations(path))
    tensors = onnx.load(path, load_external_data=False).graph.initializer
    matrices = [one for one in tensors if "weight" in one.name and np.prod(one.dims) >= 1024]
    assert matrices and all(one.external_data for one in matrices)


def test_without_pictures_to_measure_the_graph_is_as_before(exported):
    assert "QuantizeLinear" not in operations(exported / "decoder-painter.onnx")


@pytest.mark.parametrize("name", ["repair", "real"])
def test_onnx_runtime_multiplies_integers(model, name, tmp_path):
    options = onnxruntime.SessionOptions()
    options.optimized_model_filepath = str(tmp_path / "optimised.onnx")
    options.log_severity_level = 4
    onnxruntime.InferenceSession(model.path / f"decoder-{name}.onnx", options, providers=[CPU])
    fused = operations(tmp_path / "optimised.onnx")
    assert "QLinearConv" in fused
    if name == "real":
        # What lies between the convolutions of a block does not go back to floating-point numbers.
        assert "QLinearLeakyRelu" in fused and "QLinearConv" in fused


def test_what_ships_loses_less_than_can_be_measured(photographs):
    """At most 0.03 dB, for either decoder."""
    model = find("default")
    runtimes = OnnxRuntime(model, "cpu"), TorchRuntime(model)
    tokens = runtimes[0].encode(photographs)
    for name in ("repair", "natural"):
        assert "QuantizeLinear" in operations(model.path / f"decoder-{name}.onnx")
    for realism in (0.0, 1.0):
        for count in (64, 256):
            integers, floats = (
                np.mean([psnr(a, b) for a, b in zip(photographs, decoded, strict=True)])
                for decoded in (one.decode(tokens[:, :count], realism) for one in runtimes)
            )
            assert integers > floats - 0.03
