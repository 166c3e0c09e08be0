"""`odp train`: fine-tuning, and its errors."""

from __future__ import annotations

import pytest

pytest.importorskip("torch", reason="needs the torch extra")
pytest.importorskip("onnxscript", reason="needs the torch extra")

from onedpiece.models.registry import Model
from onedpiece.tokenizer.config import CONFIGS
from onedpiece.tokenizer.onedpiece import build
from onedpiece.tokenizer.weights import load, save
from onedpiece.training import finetune as finetune_module
from onedpiece.training.finetune import finetune

TINY = CONFIGS["tiny"]
HOURS = 0.0005
FINGERPRINT = "0" * 64


def write_weights(model, out, name):
    """In place of the export, whose ONNX graphs take a minute (tests/tokenizer/test_export.py)."""
    save(model, out / "weights.safetensors", half=False)
    return FINGERPRINT


@pytest.fixture
def quick_export(monkeypatch):
    monkeypatch.setattr(finetune_module, "export", write_weights)


@pytest.fixture
def model(tmp_path, randomise):
    """A tiny model with random weights, as if installed."""
    folder = tmp_path / "tiny"
    folder.mkdir()
    save(randomise(build(TINY)), folder / "weights.safetensors", half=False)
    return Model(folder, "tiny", FINGERPRINT, (0, 0, 0), TINY.to_dict())


@pytest.fixture
def photos(tmp_path, make_picture):
    """A folder of three pictures and a broken one."""
    folder = tmp_path / "photos"
    folder.mkdir()
    for seed in range(3):
        make_picture(300, 280, seed).save(folder / f"{seed}.jpg")
    (folder / "broken.png").write_bytes(b"not a picture")
    return folder


def changed(model, out) -> set[str]:
    """First parts of the names of the weights that differ from those of the original model."""
    before, after = (load(TINY, path / "weights.safetensors") for path in (model.path, out))
    state = after.state_dict()
    names = {name for name, value in before.state_dict().items() if not value.equal(state[name])}
    return {name.split(".")[0] for name in names}


def test_decoder_and_grain_are_trained_and_the_tokens_stay(model, photos, tmp_path, quick_export):
    out = tmp_path / "mine"
    assert finetune(model, [photos], HOURS, out, "mine") == FINGERPRINT
    assert {"decoder", "repair", "grain"} <= changed(model, out)
    assert not {"quantize", "encoder", "latent_tokens"} & changed(model, out)
    assert [path.name for path in out.iterdir()] == ["weights.safetensors"]  # the run is removed


def test_an_interrupted_run_is_resumed(model, photos, tmp_path, quick_export, monkeypatch):
    out = tmp_path / "mine"
    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(finetune_module, "match_grain", interrupt)
        finetune(model, [photos], HOURS, out, "mine")
    assert (out / "run" / "checkpoint.pt").exists()
    with monkeypatch.context() as patch:
        patch.setattr(finetune_module, "load_installed", interrupt)  # it must not start again
        finetune(model, [photos], HOURS, out, "mine")
    assert not (out / "run").exists()


def interrupt(*_):
    raise KeyboardInterrupt


def test_a_model_is_never_overwritten(tmp_path, odp):
    (tmp_path / "model.json").write_text("{}")
    code, _, err = odp("train", tmp_path, "--data", tmp_path, "--hours", "0.001")
    assert code == 1 and "already holds a model" in err
    assert [path.name for path in tmp_path.iterdir()] == ["model.json"]


def test_a_missing_folder_is_one_clear_line(tmp_path, odp):
    code, _, err = odp("train", tmp_path / "mine", "--data", tmp_path / "missing")
    assert code == 1 and err.startswith("odp: ") and "does not exist" in err


def test_a_folder_without_pictures_is_one_clear_line(tmp_path, odp):
    (tmp_path / "empty").mkdir()
    code, _, err = odp("train", tmp_path / "mine", "--data", tmp_path / "empty")
    assert code == 1
    assert "no readable picture" in err
    assert not (tmp_path / "mine" / "run").exists()


def test_a_picture_instead_of_a_folder_is_one_clear_line(tmp_path, odp, make_picture):
    make_picture().save(tmp_path / "a.png")
    code, _, err = odp("train", tmp_path / "mine", "--data", tmp_path / "a.png")
    assert code == 1
    assert err.startswith("odp: ") and "neither a folder nor a whole tar file" in err
