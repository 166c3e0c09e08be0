"""Which models are installed, how files find theirs, and what a broken one causes."""

import hashlib
import json
import os
from pathlib import Path

import pytest

from onedpiece.errors import ModelError, UnknownModel
from onedpiece.models.registry import BUNDLED, DEFAULT, find, find_by_key, installed, read_model

FILES = ["decoder.onnx", "encoder.onnx", "model.json", "search.onnx", "weights.safetensors"]
MANIFEST = {
    "name": "mine",
    "fingerprint": "ab" * 32,
    "blank": [1, 2, 3],
    "config": {"name": "mine"},
}


@pytest.fixture
def make_model(tmp_path):
    """Writes a model directory, complete but for its contents."""

    def make(place: str, **changes) -> Path:
        folder = tmp_path / place
        folder.mkdir(parents=True)
        for name in FILES:
            (folder / name).write_bytes(b"")
        (folder / "model.json").write_text(json.dumps({**MANIFEST, **changes}))
        return folder

    return make


class TestBundled:
    def test_the_default_model_is_complete(self):
        model = find(DEFAULT)
        assert model.path.parent == BUNDLED
        assert sorted(path.name for path in model.path.iterdir()) == FILES

    def test_its_fingerprint_is_that_of_its_weights(self):
        model = find(DEFAULT)
        weights = (model.path / "weights.safetensors").read_bytes()
        assert model.fingerprint == hashlib.sha256(weights).hexdigest()
        assert model.key == hashlib.sha256(weights).digest()[:3]

    def test_it_is_small_enough_to_come_with_the_package(self):
        assert find(DEFAULT).size <= 25_000_000
        assert find(DEFAULT).size == sum(p.stat().st_size for p in find(DEFAULT).path.iterdir())

    def test_its_blank_colour_is_a_colour(self):
        blank = find(DEFAULT).blank
        assert len(blank) == 3 and all(0 <= value <= 255 for value in blank)

    def test_it_is_all_there_is_without_a_search_path(self):
        assert [model.name for model in installed()] == [DEFAULT]


class TestSearchPath:
    def test_every_folder_of_the_variable_is_searched(self, make_model, monkeypatch, tmp_path):
        make_model("one/x", name="first")
        make_model("two/y", name="second")
        folders = [str(tmp_path / "one"), "", str(tmp_path / "missing"), str(tmp_path / "two")]
        monkeypatch.setenv("ODP_MODELS", os.pathsep.join(folders))
        assert [model.name for model in installed()] == [DEFAULT, "first", "second"]
        assert find("second").path == tmp_path / "two" / "y"

    def test_files_find_a_model_there(self, make_model, monkeypatch, tmp_path):
        make_model("one/x")
        monkeypatch.setenv("ODP_MODELS", str(tmp_path / "one"))
        assert find_by_key(b"\xab\xab\xab").name == "mine"

    def test_a_name_may_be_a_directory(self, make_model):
        folder = make_model("elsewhere/x")
        assert find(folder).name == find(str(folder)).name == "mine"

    def test_a_directory_can_be_considered_beside_the_installed_models(self, make_model):
        model = read_model(make_model("elsewhere/x"))
        assert find_by_key(model.key, also=model) is model
        assert find_by_key(find(DEFAULT).key, also=model).name == DEFAULT

    def test_what_is_not_installed_is_named(self):
        with pytest.raises(UnknownModel, match="nobody"):
            find("nobody")
        with pytest.raises(UnknownModel, match="c0ffee"):
            find_by_key(bytes.fromhex("c0ffee"))


class TestBrokenModels:
    @pytest.mark.parametrize(
        "manifest",
        [
            "",
            "{",
            "[]",
            "null",
            "{}",
            json.dumps({key: value for key, value in MANIFEST.items() if key != "fingerprint"}),
            json.dumps({**MANIFEST, "fingerprint": "not hexadecimal"}),
            json.dumps({**MANIFEST, "fingerprint": "abcd"}),
            json.dumps({**MANIFEST, "fingerprint": "ab " * 32}),
            json.dumps({**MANIFEST, "blank": "grey"}),
            json.dumps({**MANIFEST, "blank": [1, 2]}),
            json.dumps({**MANIFEST, "blank": None}),
            json.dumps({**MANIFEST, "config": None}),
            json.dumps({**MANIFEST, "blank": [float("inf"), 0, 0]}),
            "[" * 50_000,
            json.dumps({**MANIFEST, "filling": " " * 100_000}),
        ],
    )
    def test_a_manifest_that_makes_no_sense(self, make_model, manifest):
        folder = make_model("x")
        (folder / "model.json").write_text(manifest)
        with pytest.raises(ModelError, match="not a model's manifest"):
            read_model(folder)

    def test_a_manifest_that_is_no_text(self, make_model):
        folder = make_model("x")
        (folder / "model.json").write_bytes(b"\xff\xfe\x00")
        with pytest.raises(ModelError):
            read_model(folder)

    @pytest.mark.parametrize("name", ["decoder.onnx", "encoder.onnx", "weights.safetensors"])
    def test_a_missing_file_is_named(self, make_model, name):
        folder = make_model("x")
        (folder / name).unlink()
        with pytest.raises(ModelError, match=f"incomplete: {name}"):
            read_model(folder)

    def test_a_folder_that_holds_none(self, tmp_path):
        with pytest.raises(ModelError, match="no model in"):
            read_model(tmp_path)

    def test_one_in_the_search_path_does_not_stop_the_others(
        self, make_model, monkeypatch, tmp_path
    ):
        make_model("one/y", name="good")
        make_model("one/x")
        (tmp_path / "one" / "x" / "model.json").write_text("{}")
        monkeypatch.setenv("ODP_MODELS", str(tmp_path / "one"))
        assert [model.name for model in installed()] == ["default", "good"]
