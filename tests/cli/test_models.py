"""`odp models`: the verbs that need no network."""

import json
import shutil
import sys
from pathlib import Path

import pytest

from onedpiece.errors import OutputError
from onedpiece.models.folder import complete
from onedpiece.models.registry import BUNDLED, find, installed, user_folders


@pytest.fixture
def user_model(tmp_path, monkeypatch) -> Path:
    """A model that the user has installed."""
    monkeypatch.setenv("ODP_MODELS", str(tmp_path / "models"))
    folder = tmp_path / "models" / "mine"
    shutil.copytree(BUNDLED / "default", folder)
    manifest = json.loads((folder / "model.json").read_text())
    (folder / "model.json").write_text(json.dumps({**manifest, "name": "mine"}))
    return folder


def test_models_without_a_verb_lists_models(odp, user_model):
    assert odp("models", "list").stdout == odp("models").stdout
    assert odp("models", "list", "--json").stdout == odp("models", "--json").stdout
    assert b"mine" in odp("models").stdout


def test_a_removed_model_is_gone(odp, user_model):
    assert odp("models", "remove", "mine").code == 0
    assert not user_model.exists()
    assert [model.name for model in installed()] == ["default"]
    assert odp("models", "remove", "mine").code == 1


def test_the_bundled_model_stays(odp, user_model):
    done = odp("models", "remove", "default")
    assert done.code == 1 and "comes with odp" in done.stderr
    assert find("default").path.exists()


def test_a_model_directory_elsewhere_is_not_an_installed_model(
    odp, user_model, tmp_path, monkeypatch
):
    shutil.copytree(user_model, tmp_path / "yours")
    monkeypatch.chdir(tmp_path)
    done = odp("models", "remove", "yours")
    assert done.code == 1 and "no model 'yours'" in done.stderr
    assert (tmp_path / "yours").exists()


@pytest.mark.parametrize("name", ["..", "/", "a/b", ".hidden", ""])
def test_a_path_is_not_a_valid_name(odp, user_model, name):
    assert odp("models", "remove", name).code == 2
    assert odp("models", "pull", name).code == 2
    assert user_model.exists()


@pytest.mark.skipif(sys.platform != "linux", reason="every platform has its own place")
def test_without_the_variable_models_live_where_the_platform_keeps_data(monkeypatch, tmp_path):
    monkeypatch.delenv("ODP_MODELS")
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path))
    assert user_folders() == [tmp_path / "onedpiece" / "models"]
    shutil.copytree(BUNDLED / "default", tmp_path / "onedpiece" / "models" / "copy")
    assert len(installed()) == 2


class TestComplete:
    def test_a_directory_appears_whole_and_replaces_the_old_one(self, tmp_path):
        for words in ("one", "two"):
            with complete(tmp_path / "x") as partial:
                (partial / words).touch()
                assert words not in [path.name for path in tmp_path.glob("x/*")]
        assert [path.name for path in tmp_path.rglob("*")] == ["x", "two"]

    def test_nothing_is_left_of_a_failure(self, tmp_path):
        (tmp_path / "x").mkdir()
        (tmp_path / "x" / "old").touch()
        with pytest.raises(RuntimeError), complete(tmp_path / "x") as partial:
            (partial / "new").touch()
            raise RuntimeError
        assert [path.name for path in tmp_path.rglob("*")] == ["x", "old"]

    def test_the_old_one_stays_if_the_new_one_cannot_take_its_place(self, tmp_path, monkeypatch):
        (tmp_path / "x").mkdir()
        (tmp_path / "x" / "old").touch()
        rename = Path.rename

        def held(self, target):
            if self.suffix == ".part":
                raise PermissionError("a virus scanner looks at it")
            return rename(self, target)

        monkeypatch.setattr(Path, "rename", held)
        with pytest.raises(OutputError, match="virus"), complete(tmp_path / "x"):
            pass
        assert [path.name for path in tmp_path.rglob("*")] == ["x", "old"]
