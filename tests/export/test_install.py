"""Installing published state dicts: the model directory and its manifest."""

import json
from dataclasses import replace

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="needs the extra onedpiece[torch]")
pytest.importorskip("onnxscript", reason="needs the extra onedpiece[torch]")

from onedpiece.errors import ModelError, OutputError  # noqa: E402
from onedpiece.export.published import install  # noqa: E402
from onedpiece.runtime.onnx import OnnxRuntime  # noqa: E402
from onedpiece.tokenizer.published import load_published  # noqa: E402


def test_onnx_runtime_gives_what_the_module_gives(published, paper, installed_paper, synthetic):
    module, runtime = load_published(published, paper), OnnxRuntime(installed_paper, "cpu")
    pixels = torch.from_numpy(synthetic).permute(0, 3, 1, 2).float() / 255
    with torch.inference_mode():
        tokens = module.encode(pixels)
        prefix = tokens[:1, :9]
        decoded = module.decode(prefix).clamp(0, 1).permute(0, 2, 3, 1).numpy()
    assert (runtime.encode(synthetic) == tokens.numpy()).mean() > 0.995
    assert decoded.std() > 0.01
    np.testing.assert_allclose(runtime.decode(prefix.numpy()) / 255, decoded, atol=1e-3)


def test_the_manifest_has_the_source(installed_paper):
    manifest = json.loads((installed_paper.path / "model.json").read_text())
    assert manifest["precision"] == "float32"
    assert manifest["source"]["commit"] == "0" * 40
    assert len(manifest["source"]["sha256"]) == 64
    assert installed_paper.is_intact()


def test_a_refused_file_leaves_nothing(tmp_path, paper):
    (tmp_path / "x.bin").write_bytes(b"no model")
    with pytest.raises(ModelError):
        install(tmp_path / "x.bin", tmp_path / "models", "x", paper)
    assert not list(tmp_path.glob("models/*"))


@pytest.mark.parametrize("force", [False, True])
def test_a_directory_that_is_no_model_is_never_replaced(published, paper, tmp_path, force):
    (tmp_path / "precious").mkdir()
    (tmp_path / "precious" / "file").touch()
    with pytest.raises(OutputError, match="exists"):
        install(published, tmp_path, "precious", paper, force)
    assert (tmp_path / "precious" / "file").exists()


def test_titok_is_refused_because_it_has_no_prefixes(published, paper, tmp_path):
    state = torch.load(published, weights_only=True)
    for name in [name for name in state if "latent_token" in name]:
        state[name] = state[name][:32].clone()
    torch.save(state, tmp_path / "titok.bin")
    titok = replace(paper, name="titok", tokens=32)
    with pytest.raises(ModelError, match="no prefixes"):
        install(tmp_path / "titok.bin", tmp_path / "models", "titok", titok)
