"""Which models and decoders are installed, how files find theirs, and what a broken one causes."""

import hashlib
import json
import os
from pathlib import Path

import pytest

import onedpiece
from onedpiece.constants import DEFAULT_TOKEN_SET
from onedpiece.errors import ModelError, UnknownDecoder, UnknownModel
from onedpiece.models.registry import (
    BUNDLED,
    DEFAULT,
    choose_decoder,
    find,
    find_by_key,
    installed,
    installed_tables,
    read_model,
)

TOKENS, OLD_TOKENS = "ab" * 32, "cd" * 32
KEY = bytes.fromhex(TOKENS[:6])
COMMON = {"name": "mine", "blank": [1, 2, 3], "config": {"name": "mine"}}


def manifest_of(decoders=({"name": "first", "version": 1, "released": "2026-01-01"},), **changes):
    """A manifest of a model directory whose files are not looked into."""
    names = [f"decoder-{one['name']}{end}" for one in decoders for end in (".onnx", ".safetensors")]
    files = {name: "00" * 32 for name in ("encoder.onnx", *names)}
    token_set = {"name": "words", "fingerprint": TOKENS, "aliases": []}
    files["token-set.safetensors"] = TOKENS
    return {
        **COMMON,
        "token_set": token_set,
        "decoders": [*decoders],
        "files": files,
        **changes,
    }


def decoder(name, released="2026-01-01", version=1):
    return {"name": name, "version": version, "released": released}


MANIFEST = manifest_of()


@pytest.fixture
def make_model(tmp_path):
    """Writes a model directory, complete but for its contents."""

    def make(place: str, **changes) -> Path:
        folder, manifest = tmp_path / place, manifest_of(**changes)
        folder.mkdir(parents=True)
        for name in manifest["files"]:
            (folder / name).write_bytes(b"")
        (folder / "model.json").write_text(json.dumps(manifest))
        return folder

    return make


@pytest.fixture
def installed_folder(tmp_path, monkeypatch):
    """Name of the user's folder of models, for `make_model`."""
    monkeypatch.setenv("ODP_MODELS", str(tmp_path / "models"))
    return "models"


class TestBundled:
    def test_the_token_set_never_changes(self):
        """Files for decades to come name it without a fingerprint."""
        model = find(DEFAULT)
        data = (model.path / "token-set.safetensors").read_bytes()
        frozen = "97ace4b9f85bfd0c24da198f960f5706fb6f5dc9d1beae8f5f5b6fad5a1f1cbf"
        assert hashlib.sha256(data).hexdigest() == model.fingerprint == frozen
        assert model.token_set.name == "onedpiece-1"
        assert model.key == DEFAULT_TOKEN_SET == bytes.fromhex(frozen)[:3]

    def test_saving_it_again_gives_the_same_bytes(self, tmp_path):
        pytest.importorskip("torch", reason="needs the extra onedpiece[torch]")
        from onedpiece.tokenizer.weights import load_installed, save_token_set

        model = find(DEFAULT)
        save_token_set(load_installed(model), tmp_path / "again")
        assert (tmp_path / "again").read_bytes() == model.token_set_file.read_bytes()

    def test_the_default_model_is_complete_and_intact(self):
        model = find(DEFAULT)
        assert model.path.parent == BUNDLED
        others = {path.name for path in model.path.iterdir()} - {"model.json"}
        assert others == set(model.files) == set(model.check_files())
        assert model.is_intact() and model.searchable

    def test_files_of_version_1_find_it_by_the_fingerprint_of_its_weights(self):
        key = bytes.fromhex("f05218")
        assert find_by_key(key).name == DEFAULT
        assert installed_tables(key) is find(DEFAULT).tables is not None

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

    def test_files_find_a_model_there(self, make_model, installed_folder):
        make_model(f"{installed_folder}/x")
        assert find_by_key(KEY).name == "mine"

    def test_files_find_it_by_an_alias_too(self, make_model, installed_folder):
        token_set = {"name": "words", "fingerprint": TOKENS, "aliases": [OLD_TOKENS]}
        make_model(f"{installed_folder}/x", token_set=token_set)
        assert find_by_key(bytes.fromhex(OLD_TOKENS[:6])).key == KEY

    def test_a_codebook_that_got_tables_has_none_for_its_older_files(self):
        from dataclasses import replace

        model = find(DEFAULT)
        token_set = replace(model.token_set, uncoded=(OLD_TOKENS,))
        tuned, old_key = replace(model, token_set=token_set), bytes.fromhex(OLD_TOKENS[:6])
        assert find_by_key(old_key, also=tuned) is tuned
        assert installed_tables(old_key, also=tuned) is None
        assert installed_tables(tuned.key, also=tuned) is not None

    def test_a_name_may_be_a_directory(self, make_model):
        folder = make_model("elsewhere/x")
        assert find(folder).name == find(str(folder)).name == "mine"

    def test_a_directory_can_be_considered_beside_the_installed_models(self, make_model):
        model = read_model(make_model("elsewhere/x"))
        assert find_by_key(model.key, also=model) is model
        assert find_by_key(find(DEFAULT).key, also=model).name == DEFAULT

    def test_folders_that_are_being_written_are_no_models(self, make_model, monkeypatch, tmp_path):
        make_model(".mine-1.part")
        monkeypatch.setenv("ODP_MODELS", str(tmp_path))
        assert [model.name for model in installed()] == ["default"]

    def test_the_size_does_not_count_what_is_no_file(self, make_model):
        folder = make_model("mine")
        before = read_model(folder).size
        (folder / "notes.txt").symlink_to("nowhere")
        assert read_model(folder).size == before

    def test_of_a_link_only_the_link_is_removed(self, make_model, monkeypatch, tmp_path):
        folder = make_model("elsewhere/mine")
        (tmp_path / "models").mkdir()
        (tmp_path / "models" / "mine").symlink_to(folder)
        monkeypatch.setenv("ODP_MODELS", str(tmp_path / "models"))
        onedpiece.models.remove("mine")
        assert not (tmp_path / "models" / "mine").exists()
        assert read_model(folder).name == "mine"

    def test_what_is_not_installed_is_named(self):
        with pytest.raises(UnknownModel, match="nobody"):
            find("nobody")
        with pytest.raises(UnknownModel, match="c0ffee"):
            find_by_key(bytes.fromhex("c0ffee"))
        with pytest.raises(UnknownModel, match="c0ffee"):
            choose_decoder(bytes.fromhex("c0ffee"), name="first")


class TestDecoders:
    """A token set can have many decoders, in one directory or in several."""

    @pytest.fixture(autouse=True)
    def models(self, make_model, installed_folder):
        two = decoder("first"), decoder("second", "2026-03-01")
        make_model(f"{installed_folder}/a", decoders=two)
        make_model(f"{installed_folder}/b", decoders=[decoder("third", "2026-02-01")])

    def chosen(self, **options):
        model = choose_decoder(KEY, **options)
        return model.path.name, model.decoder.name, model.decoder.version

    def test_a_directory_uses_its_newest(self):
        assert find("mine").decoder.name == "second"
        assert [one.name for one in find("mine").decoders] == ["first", "second"]

    def test_the_newest_of_all_installed_is_the_default(self, make_model):
        assert self.chosen() == ("a", "second", 1)
        make_model("models/c", decoders=[decoder("fourth", "2026-04-01")])
        assert self.chosen() == ("c", "fourth", 1)

    def test_of_the_same_day_it_is_the_highest_version(self, make_model):
        make_model("models/c", decoders=[decoder("second", "2026-03-01", 2)])
        assert self.chosen() == ("c", "second", 2)

    def test_any_can_be_chosen_by_name(self):
        assert self.chosen(name="first") == ("a", "first", 1)
        assert self.chosen(name="third") == ("b", "third", 1)

    def test_by_name_it_is_the_highest_version(self, make_model):
        make_model("models/c", decoders=[decoder("first", "2025-01-01", 3)])
        assert self.chosen(name="first") == ("c", "first", 3)

    def test_a_directory_that_is_named_comes_first(self, make_model):
        also = read_model(make_model("elsewhere/x", decoders=[decoder("first", "2020-01-01", 0)]))
        assert self.chosen(also=also) == ("x", "first", 0)
        assert self.chosen(also=also, name="first") == ("x", "first", 0)
        assert self.chosen(also=also, name="third") == ("b", "third", 1)

    def test_the_bundled_model_is_no_such_directory(self, make_model):
        default = find(DEFAULT)
        token_set = {"name": "words", "fingerprint": TOKENS, "aliases": [default.fingerprint]}
        newer = decoder("newer", "2999-01-01")
        make_model("models/c", decoders=[newer], token_set=token_set)
        assert choose_decoder(default.key, default).decoder.name == "newer"
        assert choose_decoder(default.key, default, "repair").path == default.path

    def test_an_unknown_name_is_an_error_that_lists_the_others(self):
        with pytest.raises(
            UnknownDecoder, match=r"words has no decoder 'x': .*first, second, third"
        ):
            choose_decoder(KEY, name="x")


class TestDirectoriesOfVersion01:
    """One file of weights, whose SHA-256 is the fingerprint, and one decoder."""

    @pytest.fixture
    def folder(self, tmp_path):
        folder = tmp_path / "old"
        folder.mkdir()
        weights = b"weights"
        fingerprint = hashlib.sha256(weights).hexdigest()
        for name in ("encoder.onnx", "decoder.onnx"):
            (folder / name).write_bytes(b"")
        (folder / "weights.safetensors").write_bytes(weights)
        (folder / "model.json").write_text(json.dumps({**COMMON, "fingerprint": fingerprint}))
        return folder

    def test_they_can_be_read(self, folder):
        model = read_model(folder)
        assert model.fingerprint == hashlib.sha256(b"weights").hexdigest()
        assert [one.name for one in model.decoders] == ["mine"]
        assert (model.decoder.graph, model.weights) == (
            "decoder.onnx",
            [folder / "weights.safetensors"],
        )
        assert find_by_key(model.key, model) is model
        assert model.is_intact()

    def test_another_precision_has_a_checksum(self, folder):
        manifest = json.loads((folder / "model.json").read_text())
        checksum = manifest["fingerprint"]
        changed = {**manifest, "fingerprint": TOKENS, "checksum": checksum}
        (folder / "model.json").write_text(json.dumps(changed))
        assert read_model(folder).key == KEY and read_model(folder).is_intact()

    def test_changed_weights_are_found(self, folder):
        (folder / "weights.safetensors").write_bytes(b"other")
        assert not read_model(folder).is_intact()

    @pytest.mark.parametrize("name", ["decoder.onnx", "encoder.onnx", "weights.safetensors"])
    def test_a_missing_file_is_named(self, folder, name):
        (folder / name).unlink()
        with pytest.raises(ModelError, match=f"incomplete: {name}"):
            read_model(folder)


def without(key):
    return {name: value for name, value in MANIFEST.items() if name != key}


def with_token_set(**changes):
    return {**MANIFEST, "token_set": {**MANIFEST["token_set"], **changes}}


def with_files(**changes):
    files = {**MANIFEST["files"], **changes}
    return {**MANIFEST, "files": {name: known for name, known in files.items() if known}}


class TestBrokenModels:
    @pytest.mark.parametrize(
        "manifest",
        [
            "",
            "{",
            "[]",
            "null",
            "{}",
            '"token_set"',
            "[" * 50_000,
            without("decoders"),
            without("files"),
            {**without("token_set"), "fingerprint": "not hexadecimal"},
            {**without("token_set"), "fingerprint": "abcd"},
            {**without("token_set"), "fingerprint": 5},
            {**MANIFEST, "token_set": []},
            {**MANIFEST, "token_set": "words"},
            with_token_set(fingerprint="ab " * 32),
            with_token_set(fingerprint="cd" * 32),
            with_token_set(aliases=["abcd"]),
            with_token_set(aliases=7),
            {**MANIFEST, "files": []},
            with_files(**{"encoder.onnx": None}),
            with_files(**{"decoder-first.safetensors": None}),
            with_files(**{"../outside.onnx": TOKENS}),
            with_files(**{".hidden": TOKENS}),
            with_files(**{"encoder.onnx": "abcd"}),
            {**MANIFEST, "decoders": []},
            {**MANIFEST, "decoders": {}},
            {**MANIFEST, "decoders": [7]},
            {**MANIFEST, "decoders": [{"name": "first"}]},
            manifest_of([decoder("first"), decoder("First")]),
            manifest_of([decoder("../first")]),
            manifest_of([decoder("")]),
            manifest_of([decoder("first", released="yesterday")]),
            manifest_of([decoder("first", released=None)]),
            manifest_of([decoder("first", released=0)]),
            manifest_of([decoder("first", version="one")]),
            {**MANIFEST, "name": "a \x1b[31m name"},
            {**MANIFEST, "blank": [10**400, 0, 0]},
            {**MANIFEST, "blank": [0, 0, 256]},
            {**MANIFEST, "blank": "grey"},
            {**MANIFEST, "blank": [1, 2]},
            {**MANIFEST, "blank": None},
            {**MANIFEST, "config": None},
            {**MANIFEST, "blank": [float("inf"), 0, 0]},
            {**MANIFEST, "filling": " " * 100_000},
        ],
    )
    def test_a_manifest_that_makes_no_sense(self, make_model, manifest):
        folder = make_model("x")
        text = manifest if isinstance(manifest, str) else json.dumps(manifest)
        (folder / "model.json").write_text(text)
        with pytest.raises(ModelError, match="not a model's manifest"):
            read_model(folder)

    def test_a_manifest_that_is_no_text(self, make_model):
        folder = make_model("x")
        (folder / "model.json").write_bytes(b"\xff\xfe\x00")
        with pytest.raises(ModelError):
            read_model(folder)

    @pytest.mark.parametrize("name", sorted(MANIFEST["files"]))
    def test_a_missing_file_is_named(self, make_model, name):
        folder = make_model("x")
        (folder / name).unlink()
        with pytest.raises(ModelError, match=f"incomplete: {name}"):
            read_model(folder)

    def test_a_folder_that_holds_none(self, tmp_path):
        with pytest.raises(ModelError, match="no model in"):
            read_model(tmp_path)

    def test_one_in_the_search_path_does_not_stop_the_others(
        self, make_model, installed_folder, tmp_path
    ):
        make_model(f"{installed_folder}/y", name="good")
        make_model(f"{installed_folder}/x")
        (tmp_path / installed_folder / "x" / "model.json").write_text("{}")
        assert [model.name for model in installed()] == ["default", "good"]
