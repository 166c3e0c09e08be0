"""A model in other precisions: the same files, smaller weights, nearly the same pictures."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("torch", reason="needs the extra onedpiece[torch]")
pytest.importorskip("onnxscript", reason="needs the extra onedpiece[torch]")

from onedpiece.codec import Codec
from onedpiece.errors import ModelError
from onedpiece.export.precisions import compare, export_variant
from onedpiece.models.registry import find
from onedpiece.runtime.torch import TorchRuntime

PICTURES = sorted((Path(__file__).parents[2] / "bench" / "pictures").glob("*.png"))


@pytest.fixture(scope="module")
def int8(installed_paper, tmp_path_factory):
    return export_variant(installed_paper, tmp_path_factory.mktemp("int8") / "small", "int8")


def test_int8_is_smaller_and_nearly_the_same(installed_paper, int8):
    found = compare(installed_paper, int8, PICTURES)
    assert int8.size < 0.6 * installed_paper.size
    assert 0.9 < found.equal < 1  # it really is another arithmetic
    assert all(35 < db < 100 for db in found.decibels.values())
    assert "% of the tokens are the same" in str(found)


def test_files_of_one_precision_decode_with_the_other(installed_paper, int8, make_picture):
    image = make_picture()
    ours, theirs = Codec(installed_paper.path, device="cpu"), Codec(int8.path, device="cpu")
    a, b = (np.asarray(codec.decode(ours.encode(image, 64)), float) for codec in (ours, theirs))
    assert np.abs(a - b).mean() < 3


def test_the_manifest_keeps_identity_and_source_and_has_a_checksum_of_its_own(
    installed_paper, int8, tmp_path
):
    manifest = json.loads((int8.path / "model.json").read_text())
    assert int8.fingerprint == installed_paper.fingerprint != manifest["checksum"]
    assert int8.source == installed_paper.source
    assert (int8.name, int8.precision) == ("small", "int8")
    assert int8.is_intact()
    shutil.copytree(int8.path, tmp_path / "copy")
    with (tmp_path / "copy" / "weights.safetensors").open("ab") as weights:
        weights.write(b"x")
    assert not find(tmp_path / "copy").is_intact()


def test_int8_is_for_models_with_large_transformers(tmp_path):
    with pytest.raises(ModelError, match="too little"):
        export_variant(find("default"), tmp_path / "x", "int8")
    assert not list(tmp_path.iterdir())


def test_from_int8_there_is_no_way_back(int8, tmp_path):
    with pytest.raises(ModelError, match="is int8"):
        export_variant(int8, tmp_path / "x", "float32")
    with pytest.raises(ModelError, match="int8"):
        TorchRuntime(int8)


def test_float16_is_half_of_float32(odp, installed_paper, tmp_path):
    done = odp(
        "models", "export", installed_paper.path, tmp_path / "half", "--precision", "float16"
    )
    assert done.code == 0, done.stderr
    half = find(tmp_path / "half")
    assert half.size < 0.55 * installed_paper.size
    assert half.fingerprint == installed_paper.fingerprint
    assert b"% of the tokens are the same" in done.stdout
    assert odp("models", "export", "default", tmp_path / "half", "--precision", "float16").code == 1
