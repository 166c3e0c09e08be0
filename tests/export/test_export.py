"""Exported models: ONNX Runtime gives what PyTorch gives, and graphs hold no weights."""

import hashlib
import json
import shutil
import subprocess
import sys
from datetime import date

import numpy as np
import pytest
from PIL import Image

torch = pytest.importorskip("torch", reason="needs the extra onedpiece[torch]")
onnx = pytest.importorskip("onnx", reason="needs the extra onedpiece[torch]")
pytest.importorskip("onnxscript", reason="needs the extra onedpiece[torch]")

from onedpiece.errors import ModelError, OutputError  # noqa: E402
from onedpiece.export.model_directory import add_decoder, new_decoder  # noqa: E402
from onedpiece.models.manifest import DecoderInfo  # noqa: E402
from onedpiece.models.registry import find, read_model  # noqa: E402
from onedpiece.runtime.onnx import OnnxRuntime  # noqa: E402
from onedpiece.runtime.torch import TorchRuntime  # noqa: E402
from onedpiece.tokenizer.weights import load_installed  # noqa: E402


@pytest.fixture(scope="module")
def tiny(exported):
    """(ONNX Runtime, PyTorch) of the tiny model."""
    model = read_model(exported)
    return OnnxRuntime(model, "cpu"), TorchRuntime(model)


@pytest.fixture(scope="module")
def default():
    """(ONNX Runtime, PyTorch) of the bundled model."""
    model = find("default")
    return OnnxRuntime(model, "cpu"), TorchRuntime(model)


class TestRandomModel:
    @pytest.mark.parametrize("batch", [1, 3])
    def test_tokens_are_those_of_pytorch_except_for_ties(self, tiny, synthetic, batch):
        onnx_runtime, pytorch = tiny
        tokens = onnx_runtime.encode(synthetic[:batch])
        assert tokens.shape == (batch, 256) and tokens.dtype == np.uint16
        assert (tokens == pytorch.encode(synthetic[:batch])).mean() > 0.99
        assert len(np.unique(tokens)) > 100

    @pytest.mark.parametrize("batch, count", [(1, 1), (2, 5), (3, 256)])
    def test_pixels_are_those_of_pytorch(self, tiny, batch, count):
        onnx_runtime, pytorch = tiny
        tokens = np.random.default_rng(count).integers(0, 4096, (batch, count), np.uint16)
        pixels = onnx_runtime.decode(tokens)
        assert pixels.shape == (batch, 256, 256, 3) and pixels.dtype == np.float32
        assert pixels.min() >= 0 and pixels.max() <= 255 and pixels.std() > 1
        np.testing.assert_allclose(pixels, pytorch.decode(tokens), atol=0.05)

    def test_a_decoder_of_the_least_error_has_one_picture_for_every_realism(self, tiny):
        tokens = np.arange(20).reshape(2, 10)
        assert np.array_equal(tiny[0].decode(tokens, 0.3), tiny[0].decode(tokens, 1.0))

    @pytest.mark.parametrize("batch", [1, 3])
    def test_proposals_are_those_of_pytorch(self, tiny, synthetic, batch):
        onnx_runtime, pytorch = tiny
        tokens = np.random.default_rng(1).integers(0, 4096, (3, 256), np.uint16)[:batch]
        num_tokens = np.array([256, 1, 70])[:batch]
        valid_size = np.array([[256, 256], [9, 256], [256, 80]])[:batch]
        inputs = synthetic[:batch], tokens, num_tokens, valid_size
        cost, codes, gains = onnx_runtime.propose(*inputs)
        expected_cost, expected_codes, expected_gains = pytorch.propose(*inputs)
        np.testing.assert_allclose(cost, expected_cost, rtol=1e-4)
        np.testing.assert_allclose(gains, expected_gains, rtol=1e-3, atol=1e-3 * gains.max())
        assert (codes == expected_codes).mean() > 0.99
        assert (gains >= 0).all() and gains[0].any()
        assert not gains[:, 0].any() and not gains[np.arange(256) >= num_tokens[:, None]].any()

    def test_the_directory_is_a_model_named_by_its_token_set(self, exported):
        token_set = (exported / "token-set.safetensors").read_bytes()
        model = read_model(exported)
        assert model.fingerprint == hashlib.sha256(token_set).hexdigest()
        assert model.is_intact()
        manifest = json.loads((exported / "model.json").read_text())
        assert manifest["name"] == manifest["token_set"]["name"] == "random"
        assert manifest["config"]["spectral"]["rate"] == 0.35
        decoder = {"name": "painter", "version": 1, "released": date.today().isoformat()}
        assert manifest["decoders"] == [decoder]
        others = {path.name for path in exported.iterdir()} - {"model.json"}
        assert set(manifest["files"]) == others
        assert not any(name.startswith("int8-") for name in others), "there were no pictures"

    @pytest.mark.parametrize(
        "name, files",
        [
            ("encoder.onnx", {"token-set.safetensors", "encoder.safetensors"}),
            ("decoder-painter.onnx", {"token-set.safetensors", "decoder-painter.safetensors"}),
            ("search.onnx", {"token-set.safetensors", "decoder-painter.safetensors"}),
        ],
    )
    def test_graphs_hold_no_weights(self, exported, name, files):
        graph = onnx.load(exported / name, load_external_data=False).graph
        external = [t for t in graph.initializer if t.data_location == t.EXTERNAL]
        places = [{entry.key: entry.value for entry in t.external_data} for t in external]
        assert {place["location"] for place in places} == files
        inline = [t for t in graph.initializer if t.data_location != t.EXTERNAL]
        constants = [
            attribute.t
            for node in graph.node
            if node.op_type == "Constant"
            for attribute in node.attribute
            if attribute.name == "value"
        ]
        # Bases of the cosine transform (16 x 256 numbers) are the largest that are not parameters.
        assert max(t.ByteSize() for t in inline + constants) < 20_000

    def test_decoders_have_no_operation_that_webgpu_lacks(self, exported):
        graph = onnx.load(exported / "decoder-painter.onnx", load_external_data=False).graph
        assert "GatherND" not in {node.op_type for node in graph.node}

    def test_inputs_have_the_names_of_installed_graphs(self, exported):
        bundled = find("default").path
        for name in ("encoder.onnx", "decoder-{}.onnx", "search.onnx"):
            paths = exported / name.format("painter"), bundled / name.format("repair")
            graphs = (onnx.load(path, load_external_data=False) for path in paths)
            names, expected = ([value.name for value in graph.graph.input] for graph in graphs)
            assert names == expected


class TestAddingADecoder:
    """A model directory can have several decoders of its token set."""

    @pytest.fixture
    def directory(self, exported, tmp_path):
        return read_model(shutil.copytree(exported, tmp_path / "model"))

    def test_no_file_changes_and_both_can_be_chosen(self, directory, tmp_path):
        before = directory.check_files()
        module = load_installed(directory)
        with torch.no_grad():
            module.repair.head.bias.add_(0.2)
        model = add_decoder(module, directory, DecoderInfo("brighter", 1, "2999-01-01"))
        assert model.files.items() > directory.files.items()
        assert {decoder.name for decoder in model.decoders} == {"painter", "brighter"}
        assert model.is_intact() and all(before.values())
        assert model.decoder.name == "brighter"  # the newest
        tokens = np.arange(9)[None]
        new, old = (OnnxRuntime(one, "cpu").decode(tokens, 0.0) for one in (model, directory))
        assert new.mean() > old.mean() + 5
        np.testing.assert_allclose(new, TorchRuntime(model).decode(tokens, 0.0), atol=0.05)

    def test_a_decoder_is_never_replaced(self, directory):
        with pytest.raises(OutputError, match="never change"):
            add_decoder(load_installed(directory), directory, new_decoder("Painter"))

    def test_a_decoder_of_another_token_set_is_refused(self, directory):
        module = load_installed(directory)
        module.quantize.colour.add_(1)
        with pytest.raises(ModelError, match="another token set"):
            add_decoder(module, directory, new_decoder("other"))
        assert read_model(directory.path) == directory


def test_sessions_do_not_change_denormal_numbers_of_their_process(exported):
    """For speed, ONNX Runtime is told to treat them as zero."""
    program = """
import sys, numpy
from pathlib import Path
from onedpiece.models.registry import read_model
from onedpiece.runtime.onnx import OnnxRuntime
OnnxRuntime(read_model(Path(sys.argv[1])), "cpu").decode(numpy.zeros((1, 1), int))
assert numpy.array([1e-310])[0] * 0.5 > 0 and (numpy.full(9, 1e-310) * 0.5).all()
"""
    subprocess.run([sys.executable, "-c", program, exported], check=True)


class TestBundledModel:
    """The installed graphs give the tokens and pixels of PyTorch."""

    @pytest.fixture(autouse=True)
    def with_floating_point_numbers(self, monkeypatch):
        monkeypatch.setattr("onedpiece.runtime.onnx.has_vnni", lambda: False)

    def check(self, runtimes, tiles):
        onnx_runtime, pytorch = runtimes
        tokens = pytorch.encode(tiles)
        assert (onnx_runtime.encode(tiles) == tokens).mean() >= 0.999
        for count in (16, 256):
            prefix = tokens[:, :count]
            difference = np.abs(onnx_runtime.decode(prefix) - pytorch.decode(prefix))
            assert difference.mean() <= 0.05

    def test_on_photographs(self, default, photographs):
        self.check(default, photographs)

    @pytest.mark.full
    def test_on_the_evaluation_pictures(self, default, shared):
        paths = sorted((shared / "eval" / "256").glob("*.png"))
        assert len(paths) == 50
        self.check(default, np.stack([np.asarray(Image.open(path)) for path in paths]))
