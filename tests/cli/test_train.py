"""`odp train`: fine-tuning, and its errors."""

from __future__ import annotations

from dataclasses import replace

import pytest

pytest.importorskip("torch", reason="needs the torch extra")
pytest.importorskip("onnxscript", reason="needs the torch extra")

from onedpiece.export import model_directory
from onedpiece.export.model_directory import add_decoder, export, new_decoder
from onedpiece.tokenizer.config import CONFIGS, Natural
from onedpiece.tokenizer.natural import NaturalOneDPiece
from onedpiece.tokenizer.onedpiece import build
from onedpiece.tokenizer.weights import load_installed
from onedpiece.training import finetune as finetune_module
from onedpiece.training.finetune import finetune

TINY = CONFIGS["tiny"]
HOURS = 0.0005


@pytest.fixture
def without_graphs(monkeypatch):
    """Exports files that stand for ONNX graphs, which take a minute (tests/export)."""

    def write_graph(module, inputs, dynamic, outputs, path, entries, weights):
        path.write_bytes(b"graph")

    def write_search(model, path, weights):
        path.write_bytes(b"graph")

    def quantise_activations(graph, target, tokens):
        assert all(batch.size for batch in tokens)
        target.write_bytes(graph.read_bytes())

    monkeypatch.setattr(model_directory, "quantise_activations", quantise_activations)
    monkeypatch.setattr(model_directory, "quantise_natural", quantise_activations)
    monkeypatch.setattr(model_directory, "round_weights", lambda *_: {})
    monkeypatch.setattr(model_directory, "write_graph", write_graph)
    monkeypatch.setattr(model_directory, "_write_search", write_search)


@pytest.fixture
def model(tmp_path, randomise, without_graphs):
    """A tiny model with random weights, as if installed."""
    return export(randomise(build(TINY)), tmp_path / "tiny", "tiny", new_decoder("first"))


@pytest.fixture
def photos(tmp_path, make_picture):
    """A folder of three pictures and a broken one."""
    folder = tmp_path / "photos"
    folder.mkdir()
    for seed in range(3):
        make_picture(300, 280, seed).save(folder / f"{seed}.jpg")
    (folder / "broken.png").write_bytes(b"not a picture")
    return folder


def changed(model, tuned) -> set[str]:
    """First parts of the names of the weights that differ from those of the original model."""
    before, after = (load_installed(one).state_dict() for one in (model, tuned))
    names = {name for name, value in before.items() if not value.equal(after[name])}
    return {name.split(".")[0] for name in names}


def test_a_decoder_is_trained_and_the_tokens_stay(model, photos, tmp_path):
    tuned = finetune(model, [photos], HOURS, tmp_path / "mine", "mine")
    assert {"decoder", "repair"} <= changed(model, tuned)
    assert not {"quantize", "encoder", "latent_tokens"} & changed(model, tuned)
    assert not (tmp_path / "mine" / "run").exists()


def test_its_files_are_those_of_the_model_that_it_started_from(model, photos, tmp_path):
    tuned = finetune(model, [photos], HOURS, tmp_path / "mine", "mine")
    for name in ("token-set.safetensors", "encoder.safetensors", "encoder.onnx"):
        assert (tuned.path / name).read_bytes() == (model.path / name).read_bytes()
    assert tuned.token_set == model.token_set
    assert tuned.name == "mine"
    assert [decoder.name for decoder in tuned.decoders] == ["mine"]
    assert tuned.is_intact()


def test_a_new_token_set_is_made_by_request_only(model, photos, tmp_path, monkeypatch):
    monkeypatch.setattr(finetune_module, "CODEBOOK_LEARNING_RATE", 0.05)  # in a few steps
    tuned = finetune(model, [photos], HOURS, tmp_path / "mine", "mine", new_token_set=True)
    assert "quantize" in changed(model, tuned)
    assert tuned.fingerprint != model.fingerprint
    assert tuned.token_set.name == "mine"
    assert not tuned.token_set.aliases


def test_a_natural_decoder_is_trained_beside_it(model, photos, tmp_path):
    module = NaturalOneDPiece(replace(TINY, natural=Natural(1, 8)))
    module.quantize.load_state_dict(load_installed(model).quantize.state_dict())
    info = replace(new_decoder("real"), faithful="first", source="a network, its licence")
    model = add_decoder(module, model, info)
    tuned = finetune(model, [photos], 3 * HOURS, tmp_path / "mine", "mine")
    assert [decoder.name for decoder in tuned.decoders] == ["mine", "mine-natural"]
    assert tuned.decoder.name == "mine-natural"
    assert tuned.faithful.decoder.name == "mine"
    assert tuned.decoder.source == info.source
    assert changed(model, tuned) == {"restore"}
    assert {"decoder", "repair"} <= changed(model.faithful, tuned.faithful)


def test_an_interrupted_run_is_resumed_with_its_kind_of_token_set(
    model, photos, tmp_path, monkeypatch
):
    out = tmp_path / "mine"
    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(finetune_module, "_retrain_natural", interrupt)
        finetune(model, [photos], HOURS, out, "mine")
    assert (out / "run" / "checkpoint.pt").exists()
    with monkeypatch.context() as patch:
        patch.setattr(finetune_module, "load_installed", interrupt)  # it must not start again
        tuned = finetune(model, [photos], HOURS, out, "mine", new_token_set=True)
    assert tuned.token_set == model.token_set
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
