"""Exported models: ONNX Runtime gives what PyTorch gives, and the weights are there once."""

import hashlib
import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

torch = pytest.importorskip("torch", reason="needs the extra onedpiece[torch]")
onnx = pytest.importorskip("onnx", reason="needs the extra onedpiece[torch]")
pytest.importorskip("onnxscript", reason="needs the extra onedpiece[torch]")

from onedpiece.export.model_directory import export  # noqa: E402
from onedpiece.models.registry import find, read_model  # noqa: E402
from onedpiece.runtime.onnx import OnnxRuntime  # noqa: E402
from onedpiece.runtime.torch import TorchRuntime  # noqa: E402
from onedpiece.tokenizer.config import CONFIGS, Config, Vit  # noqa: E402
from onedpiece.tokenizer.onedpiece import build  # noqa: E402

PICTURES = Path(__file__).parents[2] / "bench" / "pictures"


@pytest.fixture(scope="module")
def exported(tmp_path_factory, randomise):
    """The directory of a tiny model with random weights, and the fingerprint that `export` gave."""
    folder = tmp_path_factory.mktemp("models") / "random"
    return folder, export(randomise(build(CONFIGS["tiny"])), folder, "random")


@pytest.fixture(scope="module")
def tiny(exported):
    """(ONNX Runtime, PyTorch) of the tiny model."""
    model = read_model(exported[0])
    return OnnxRuntime(model, "cpu"), TorchRuntime(model)


@pytest.fixture(scope="module")
def default():
    """(ONNX Runtime, PyTorch) of the bundled model."""
    model = find("default")
    return OnnxRuntime(model, "cpu"), TorchRuntime(model)


@pytest.fixture(scope="module")
def synthetic(make_picture):
    return np.stack([np.asarray(make_picture(seed=seed)) for seed in range(5)])


def agreement(runtimes, tiles):
    """Share of equal tokens, and mean difference of the decoded pictures at several lengths."""
    ours, reference = runtimes
    tokens = reference.encode(tiles)
    equal = (ours.encode(tiles) == tokens).mean()
    differences = [
        np.abs(ours.decode(tokens[:, :count]) - reference.decode(tokens[:, :count])).mean()
        for count in (16, 256)
    ]
    return equal, max(differences)


class TestRandomModel:
    @pytest.mark.parametrize("batch", [1, 2, 5])
    def test_tokens_are_those_of_pytorch_but_for_ties(self, tiny, synthetic, batch):
        ours, reference = tiny
        tokens = ours.encode(synthetic[:batch])
        assert tokens.shape == (batch, 256) and tokens.dtype == np.uint16
        assert (tokens == reference.encode(synthetic[:batch])).mean() > 0.99
        assert len(np.unique(tokens)) > 100

    @pytest.mark.parametrize("batch, count", [(1, 1), (1, 256), (2, 5), (3, 64), (5, 255)])
    def test_pixels_are_those_of_pytorch(self, tiny, batch, count):
        ours, reference = tiny
        tokens = np.random.default_rng(count).integers(0, 4096, (batch, count), np.uint16)
        pixels = ours.decode(tokens)
        assert pixels.shape == (batch, 256, 256, 3) and pixels.dtype == np.float32
        assert pixels.min() >= 0 and pixels.max() <= 255 and pixels.std() > 1
        np.testing.assert_allclose(pixels, reference.decode(tokens), atol=0.05)

    @pytest.mark.parametrize("grain", [0.0, 0.3])
    def test_so_is_the_amount_of_grain(self, exported, tiny, grain):
        model, tokens = read_model(exported[0]), np.arange(20).reshape(2, 10)
        pixels = OnnxRuntime(model, "cpu", grain=grain).decode(tokens)
        expected = TorchRuntime(model, grain=grain).decode(tokens)
        np.testing.assert_allclose(pixels, expected, atol=0.05)
        assert np.abs(pixels - tiny[0].decode(tokens)).max() > 1

    @pytest.mark.parametrize("batch", [1, 3])
    def test_proposals_are_those_of_pytorch(self, tiny, synthetic, batch):
        ours, reference = tiny
        tokens = np.random.default_rng(1).integers(0, 4096, (3, 256), np.uint16)[:batch]
        keep, shown = np.array([256, 1, 70]), np.array([[256, 256], [9, 256], [256, 80]])
        inputs = synthetic[:batch], tokens, keep[:batch], shown[:batch]
        cost, codes, gains = ours.propose(*inputs)
        their_cost, their_codes, their_gains = reference.propose(*inputs)
        np.testing.assert_allclose(cost, their_cost, rtol=1e-4)
        np.testing.assert_allclose(gains, their_gains, rtol=1e-3, atol=1e-3 * gains.max())
        assert (codes == their_codes).mean() > 0.99
        assert (gains >= 0).all() and gains[0].any()
        assert not gains[:, 0].any() and not gains[np.arange(256) >= keep[:batch, None]].any()

    def test_the_directory_is_a_model_named_by_its_weights(self, exported):
        folder, fingerprint = exported
        weights = (folder / "weights.safetensors").read_bytes()
        assert fingerprint == hashlib.sha256(weights).hexdigest()
        assert read_model(folder).fingerprint == fingerprint
        assert json.loads((folder / "model.json").read_text())["name"] == "random"

    @pytest.mark.parametrize("name", ["encoder.onnx", "decoder.onnx", "search.onnx"])
    def test_graphs_hold_no_weights(self, exported, name):
        graph = onnx.load(exported[0] / name, load_external_data=False).graph
        external = [t for t in graph.initializer if t.data_location == t.EXTERNAL]
        assert external
        assert all(
            {entry.key: entry.value for entry in t.external_data}["location"]
            == "weights.safetensors"
            for t in external
        )
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


def test_sessions_leave_small_numbers_of_their_process_alone(exported):
    """ONNX Runtime is told to take them for zero, for speed."""
    program = """
import sys, numpy
from pathlib import Path
from onedpiece.models.registry import read_model
from onedpiece.runtime.onnx import OnnxRuntime
OnnxRuntime(read_model(Path(sys.argv[1])), "cpu").decode(numpy.zeros((1, 1), int))
assert numpy.array([1e-310])[0] * 0.5 > 0 and (numpy.full(9, 1e-310) * 0.5).all()
"""
    subprocess.run([sys.executable, "-c", program, exported[0]], check=True)


class TestBundledModel:
    def check(self, runtimes, tiles):
        equal, difference = agreement(runtimes, tiles)
        assert equal >= 0.999
        assert difference <= 0.05

    def test_it_agrees_with_pytorch_on_synthetic_pictures(self, default, synthetic):
        self.check(default, synthetic[:2])

    def test_it_agrees_with_pytorch_on_photographs(self, default):
        paths = sorted(PICTURES.glob("*.png"))
        assert len(paths) == 4
        self.check(default, np.stack([np.asarray(Image.open(path)) for path in paths]))

    def test_it_agrees_with_pytorch_on_the_evaluation_pictures(self, default, shared):
        paths = sorted((shared / "eval" / "256").glob("*.png"))
        assert len(paths) == 50
        self.check(default, np.stack([np.asarray(Image.open(path)) for path in paths]))


def test_the_papers_model_exports_too(tmp_path):
    """Its shape with small transformers: L2-normalised quantiser and MaskGIT's pixel decoder."""
    torch.manual_seed(0)
    model = build(Config("paper", Vit(32, 1, 2), Vit(32, 1, 2))).eval()
    torch.nn.init.normal_(model.quantize.embedding.weight)
    export(model, tmp_path, "paper")
    ours, reference = OnnxRuntime(read_model(tmp_path), "cpu"), TorchRuntime(read_model(tmp_path))
    tiles = np.random.default_rng(0).integers(0, 256, (3, 256, 256, 3), np.uint8)
    tokens = ours.encode(tiles)
    assert (tokens == reference.encode(tiles)).mean() > 0.99
    np.testing.assert_allclose(
        ours.decode(tokens[:1, :7]), reference.decode(tokens[:1, :7]), atol=0.05
    )
