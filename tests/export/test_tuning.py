"""Entropy tables for a published model: smaller files, and those from before still decode."""

import shutil

import numpy as np
import pytest

pytest.importorskip("torch", reason="needs the extra onedpiece[torch]")
pytest.importorskip("onnxscript", reason="needs the extra onedpiece[torch]")

from onedpiece.codec import Codec
from onedpiece.errors import ModelError, PictureError
from onedpiece.export import tables
from onedpiece.export.tables import tune
from onedpiece.models.registry import find, installed_tables, read_model
from onedpiece.tokenizer.weights import load_installed


@pytest.fixture(scope="module")
def photos(tmp_path_factory, make_picture):
    """64 pictures in a folder, and a broken one."""
    folder = tmp_path_factory.mktemp("photos")
    for seed in range(64):
        make_picture(seed=seed).save(folder / f"{seed}.png", compress_level=1)
    (folder / "broken.png").write_bytes(b"no picture")
    return folder


@pytest.fixture
def untuned(installed_paper, tmp_path, monkeypatch):
    """The small published model, installed."""
    monkeypatch.setenv("ODP_MODELS", str(tmp_path / "models"))
    return read_model(shutil.copytree(installed_paper.path, tmp_path / "models" / "paper"))


@pytest.fixture(scope="module")
def tuned_directory(installed_paper, photos, tmp_path_factory):
    folder = tmp_path_factory.mktemp("tuned") / "paper"
    return tune(read_model(shutil.copytree(installed_paper.path, folder)), [photos]).model.path


@pytest.fixture
def tuned(tuned_directory, tmp_path, monkeypatch):
    """The same model with tables, installed."""
    monkeypatch.setenv("ODP_MODELS", str(tuned_directory.parent))
    return read_model(tuned_directory)


def test_the_model_gets_a_new_token_set_and_names_the_old_one(installed_paper, tuned):
    assert tuned.fingerprint != installed_paper.fingerprint
    assert tuned.token_set.uncoded == (installed_paper.fingerprint,)
    assert tuned.is_intact() and tuned.decoders == installed_paper.decoders
    assert tuned.source == installed_paper.source
    assert installed_paper.tables is None and tuned.tables is not None


def test_tokens_and_pictures_stay_the_same(installed_paper, tuned, make_picture):
    before, after = (Codec(model.path, "cpu") for model in (installed_paper, tuned))
    old, new = (codec.parse(codec.encode(make_picture(seed=100))) for codec in (before, after))
    assert np.array_equal(old.tokens, new.tokens)
    assert np.array_equal(before.decode(old), after.decode(new))


def test_its_files_are_smaller(installed_paper, tuned, make_picture):
    before, after = (Codec(model.path, "cpu") for model in (installed_paper, tuned))
    old, new = (codec.encode(make_picture(seed=100)) for codec in (before, after))
    assert after.parse(new).header.entropy_coded
    assert len(new) < 0.95 * len(old)


def test_files_from_before_decode_and_stay_without_tables(installed_paper, tuned, make_picture):
    before = Codec(installed_paper.path, "cpu")
    old, codec = before.encode(make_picture(), 64), Codec(device="cpu")
    assert codec.model_of(codec.parse(old)).path == tuned.path
    assert np.array_equal(codec.decode(old), before.decode(old))
    assert installed_tables(installed_paper.key) is None
    shorter = codec.parse(old).truncate(8).to_bytes()
    assert np.array_equal(before.decode(shorter), before.decode(old, 8))


def test_decoders_of_the_untuned_model_paint_its_files(installed_paper, tuned, make_picture):
    data = Codec(tuned.path, "cpu").encode(make_picture(), 8)
    untuned = Codec(installed_paper.path, "cpu")
    assert untuned.model_of(untuned.parse(data)).path == installed_paper.path


def test_pytorch_reads_it(installed_paper, tuned):
    old, new = (load_installed(model).state_dict() for model in (installed_paper, tuned))
    assert all(value.equal(new[name]) for name, value in old.items())


def test_the_command_says_what_it_used(odp, untuned, photos):
    done = odp("models", "tune", "paper", photos)
    assert done.code == 0, done.stderr
    assert "64 pictures used" in done.stdout.decode() and "bits a token" in done.stdout.decode()
    assert "broken.png: cannot be read, skipped" in done.stderr
    assert find("paper").fingerprint in done.stdout.decode()
    again = odp("models", "tune", "paper", photos)
    assert again.code == 1 and "has entropy tables" in again.stderr


def test_too_few_pictures_are_refused_with_the_number_needed(odp, untuned, photos):
    done = odp("models", "tune", "paper", *sorted(photos.glob("1*.png")))
    assert done.code == 1 and "11 pictures can be read; 64 are needed" in done.stderr
    assert find("paper") == untuned


def test_tables_that_save_nothing_are_refused(untuned, photos, monkeypatch):
    tokens = np.random.default_rng(0).integers(0, 4096, (80, 256)).astype(np.uint16)
    monkeypatch.setattr(tables, "_all_tokens", lambda model, files: (tokens, []))
    with pytest.raises(ModelError, match="do not surely save bits"):
        tune(untuned, [photos])
    assert find("paper") == untuned


def test_the_token_set_of_the_default_model_stays(photos):
    with pytest.raises(ModelError, match="never change"):
        tune(find("default"), [photos])


def test_no_pictures_at_all(untuned, tmp_path):
    with pytest.raises(PictureError, match="0 pictures"):
        tune(untuned, [tmp_path / "missing.png"])
