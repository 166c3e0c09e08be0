"""Natural decoders in ONNX: by floating-point numbers, and by 8-bit integers."""

import copy
import json
import shutil
from dataclasses import replace

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="needs the extra onedpiece[torch]")
onnx = pytest.importorskip("onnx", reason="needs the extra onedpiece[torch]")
pytest.importorskip("onnxscript", reason="needs the extra onedpiece[torch]")

from onedpiece.errors import ModelError  # noqa: E402
from onedpiece.export.equalise import equalise  # noqa: E402
from onedpiece.export.model_directory import add_decoder, new_decoder  # noqa: E402
from onedpiece.metrics import psnr  # noqa: E402
from onedpiece.models.registry import find, read_model  # noqa: E402
from onedpiece.runtime import onnx as onnx_runtime  # noqa: E402
from onedpiece.runtime.onnx import OnnxRuntime  # noqa: E402
from onedpiece.runtime.torch import TorchRuntime  # noqa: E402
from onedpiece.tokenizer.config import Natural  # noqa: E402
from onedpiece.tokenizer.natural import NaturalOneDPiece  # noqa: E402
from onedpiece.tokenizer.weights import load_installed  # noqa: E402


@pytest.fixture(scope="module")
def tokens(photographs):
    """Of photographs, uint16 (4, 256)."""
    return OnnxRuntime(find("default"), "cpu").encode(photographs)


@pytest.fixture(scope="module")
def module():
    """A small decoder with random weights."""
    torch.manual_seed(0)
    faithful = load_installed(find("default").faithful)
    module = NaturalOneDPiece(replace(faithful.config, natural=Natural(1, 8)))
    module.quantize.load_state_dict(faithful.quantize.state_dict())
    return module.eval()


@pytest.fixture(scope="module")
def natural(module, tokens, tmp_path_factory):
    """The bundled model with this decoder besides."""
    folder = tmp_path_factory.mktemp("natural") / "model"
    shutil.copytree(find("default").path, folder)
    info = replace(
        new_decoder("real"), released="2999-01-01", faithful="repair", source="a licence"
    )
    return add_decoder(copy.deepcopy(module), read_model(folder), info, tokens)


@pytest.fixture
def with_floats(monkeypatch):
    """As on a processor on which the graph of integers is not used."""
    monkeypatch.setattr(onnx_runtime, "has_vnni", lambda: False)


@pytest.fixture
def with_integers():
    """Needs a processor on which the graph of integers is used."""
    if not onnx_runtime.has_vnni():
        pytest.skip("products of 8-bit integers are exact on processors with VNNI only")


class TestFloats:
    @pytest.mark.parametrize("count", [1, 33, 64, 256])
    def test_pixels_are_those_of_pytorch(self, natural, with_floats, tokens, count):
        for realism in (1.0, 0.3):
            pixels = OnnxRuntime(natural, "cpu").decode(tokens[:2, :count], realism)
            expected = TorchRuntime(natural).decode(tokens[:2, :count], realism)
            np.testing.assert_allclose(pixels, expected, atol=0.05)

    def test_realism_blends_it_with_the_least_error(self, natural, with_floats, tokens):
        runtime, shown = OnnxRuntime(natural, "cpu"), tokens[:2, :10]
        least, real = runtime.decode(shown, 0), runtime.decode(shown, 1)
        assert np.array_equal(least, OnnxRuntime(find("default"), "cpu").decode(shown, 0))
        assert np.abs(least - real).max() > 1
        np.testing.assert_allclose(
            runtime.decode(shown, 0.25), 0.75 * least + 0.25 * real, atol=0.01
        )

    def test_search_goes_on_with_the_least_error(self, natural, photographs, tokens):
        inputs = photographs[:1], tokens[:1], np.array([256]), np.array([[256, 256]])
        cost = OnnxRuntime(natural, "cpu").propose(*inputs)[0]
        np.testing.assert_allclose(cost, TorchRuntime(natural).propose(*inputs)[0], rtol=1e-4)


class TestManifest:
    def test_it_is_the_newest_and_says_where_it_comes_from(self, natural):
        assert natural.decoder.name == "real"
        assert natural.faithful.decoder.name == "repair"
        manifest = json.loads((natural.path / "model.json").read_text())
        assert manifest["decoders"][-1]["source"] == "a licence"

    def test_a_decoder_that_names_none_of_the_model_is_refused(self, natural, tmp_path):
        info = replace(new_decoder("other"), faithful="missing")
        with pytest.raises(ModelError, match="missing"):
            add_decoder(load_installed(natural), natural, info)
        broken = shutil.copytree(natural.path, tmp_path / "broken") / "model.json"
        broken.write_text(broken.read_text().replace('"faithful": "repair"', '"faithful": "x"'))
        with pytest.raises(ModelError):
            read_model(broken.parent)


class TestIntegers:
    """The blocks multiply integers, all else floating-point numbers."""

    @pytest.mark.parametrize("count", [1, 40, 256])
    def test_pictures_are_nearly_those_of_floating_point_numbers(
        self, natural, with_integers, tokens, count
    ):
        pixels = OnnxRuntime(natural, "cpu").decode(tokens[:2, :count])
        assert psnr(pixels, TorchRuntime(natural).decode(tokens[:2, :count])) > 35

    def test_every_convolution_of_the_blocks_and_no_other_is_of_integers(self, natural):
        nodes = onnx.load(natural.path / "int8-real.onnx", load_external_data=False).graph.node
        integers = [node.input[3] for node in nodes if node.op_type == "QLinearConv"]
        floats = [node.input[1] for node in nodes if node.op_type in ("Conv", "FusedConv")]
        assert len(integers) == 3 * 5 and all(".body." in name for name in integers)
        assert len(floats) == 7 and not any(".body." in name for name in floats)  # the last is two

    def test_equalised_channels_paint_the_same_picture(self, module, tokens):
        equalised = copy.deepcopy(module)
        equalise(equalised, [tokens[:2]])
        shown = torch.from_numpy(tokens[2:].astype(np.int64))
        assert torch.allclose(equalised.decode(shown), module.decode(shown), atol=1e-5)
        before, after = (one.restore.body[0].rdb1.conv1.bias for one in (module, equalised))
        assert not torch.allclose(before, after, rtol=0.1)

    def test_what_ships_paints_nearly_the_same(self, photographs, tokens, with_integers):
        """Levels of rounding are small beside the error of the pictures."""
        model = find("default")
        graph = onnx.load(model.path / model.decoder.int8_graph, load_external_data=False).graph
        assert "QLinearConv" in {node.op_type for node in graph.node}
        integers, floats = (
            runtime.decode(tokens[:2])
            for runtime in (OnnxRuntime(model, "cpu"), TorchRuntime(model))
        )
        assert psnr(integers, floats) > 33
