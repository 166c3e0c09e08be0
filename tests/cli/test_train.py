"""`odp train`: fine-tuning, and files that name the new model."""

from __future__ import annotations

import pytest

pytest.importorskip("torch", reason="needs the torch extra")
pytest.importorskip("onnxscript", reason="needs the torch extra")

from onedpiece.export.model_directory import export
from onedpiece.models.registry import find
from onedpiece.tokenizer.config import CONFIGS
from onedpiece.tokenizer.onedpiece import build
from onedpiece.training.finetune import finetune


@pytest.fixture(scope="module")
def trained(tmp_path_factory, make_picture, randomise):
    """A model directory after a few seconds of fine-tuning a tiny model on three pictures."""
    folder = tmp_path_factory.mktemp("train")
    (folder / "photos").mkdir()
    for seed in range(3):
        make_picture(300, 280, seed).save(folder / "photos" / f"{seed}.jpg")
    (folder / "photos" / "broken.png").write_bytes(b"not a picture")
    export(randomise(build(CONFIGS["tiny"])), folder / "tiny", "tiny")
    finetune(find(folder / "tiny"), [folder / "photos"], 0.0005, folder / "mine", "mine")
    return folder / "mine"


def test_the_folder_holds_a_model_and_nothing_of_the_run(trained):
    names = {path.name for path in trained.iterdir()}
    graphs = {"encoder.onnx", "decoder.onnx", "search.onnx"}
    assert names == {"model.json", "weights.safetensors"} | graphs


def test_files_name_the_model_and_need_it(trained, tmp_path, make_picture, odp):
    make_picture().save(tmp_path / "in.png")
    coded, back = tmp_path / "x.odp", tmp_path / "back.png"
    assert odp("encode", tmp_path / "in.png", coded, "--model", trained)[0] == 0
    code, _, err = odp("decode", coded, back)
    assert (code, back.exists()) == (1, False)
    assert "not installed" in err
    assert odp("decode", coded, back, "--model", trained)[0] == 0
    assert back.exists()


def test_a_model_is_never_overwritten(trained, odp):
    before = (trained / "weights.safetensors").read_bytes()
    assert odp("train", trained, "--data", trained, "--hours", "0.001")[0] == 1
    assert (trained / "weights.safetensors").read_bytes() == before


def test_the_default_model_can_be_trained_but_needs_pictures(tmp_path, odp):
    (tmp_path / "empty").mkdir()
    code, _, err = odp("train", tmp_path / "mine", "--data", tmp_path / "empty")
    assert code == 1
    assert "no readable picture" in err
    assert not (tmp_path / "mine" / "run").exists()


def test_a_picture_instead_of_a_folder_is_one_clear_line(tmp_path, run_odp, make_picture):
    make_picture().save(tmp_path / "a.png")
    code, _, err = run_odp("train", tmp_path / "mine", "--data", tmp_path / "a.png")
    assert code == 1
    assert err.startswith("odp: ") and "neither a folder nor a whole tar file" in err
