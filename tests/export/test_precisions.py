"""A model in other precisions: the same files, smaller weights, nearly the same images."""

import shutil

import numpy as np
import pytest

pytest.importorskip("torch", reason="needs the extra onedpiece[torch]")
pytest.importorskip("onnxscript", reason="needs the extra onedpiece[torch]")

from onedpiece.codec import Codec
from onedpiece.errors import ModelError
from onedpiece.export import precisions
from onedpiece.export.precisions import compare, export_variant
from onedpiece.models.registry import find
from onedpiece.runtime.torch import TorchRuntime


def test_int8_is_smaller_and_nearly_the_same(
    installed_paper, int8, make_picture, tmp_path, monkeypatch
):
    monkeypatch.setattr(precisions, "RUNS", 1)  # of the measurement of speed
    make_picture().save(tmp_path / "in.png")
    comparison = compare(installed_paper, int8, [tmp_path / "in.png"])
    assert int8.size < 0.6 * installed_paper.size
    assert 0.9 < comparison.equal < 1  # the arithmetic is another one
    assert all(35 < db < 100 for db in comparison.decibels.values())
    assert "% of the tokens are the same" in str(comparison)


def test_files_of_one_precision_decode_with_the_other(installed_paper, int8, make_picture):
    codecs = [Codec(model.path, device="cpu") for model in (installed_paper, int8)]
    data = codecs[0].encode(make_picture(), 64)
    pixels, other_pixels = (np.asarray(codec.decode(data), float) for codec in codecs)
    assert np.abs(pixels - other_pixels).mean() < 3


def test_the_token_set_is_copied_byte_for_byte(installed_paper, int8):
    files = [model.path / "token-set.safetensors" for model in (installed_paper, int8)]
    assert files[0].read_bytes() == files[1].read_bytes()


def test_the_manifest_keeps_identity_and_source(installed_paper, int8, tmp_path):
    assert int8.token_set == installed_paper.token_set
    assert int8.decoders == installed_paper.decoders
    assert int8.source == installed_paper.source
    assert (int8.config, int8.blank) == (installed_paper.config, installed_paper.blank)
    assert (int8.name, int8.precision) == ("small", "int8")
    assert int8.is_intact()
    shutil.copytree(int8.path, tmp_path / "copy")
    with (tmp_path / "copy" / "encoder.safetensors").open("ab") as weights:
        weights.write(b"x")
    assert not find(tmp_path / "copy").is_intact()


def test_int8_is_for_models_with_large_transformers(tmp_path):
    with pytest.raises(ModelError, match="too little"):
        export_variant(find("default"), tmp_path / "x", "int8")
    assert not list(tmp_path.iterdir())


def test_int8_cannot_be_undone(int8, tmp_path):
    with pytest.raises(ModelError, match="is int8"):
        export_variant(int8, tmp_path / "x", "float32")
    with pytest.raises(ModelError, match="int8"):
        TorchRuntime(int8)


def test_float16_is_half_of_float32(odp, installed_paper, tmp_path, monkeypatch):
    monkeypatch.setattr(precisions, "RUNS", 1)  # of the measurement of speed
    half_path = tmp_path / "half"
    result = odp("models", "export", installed_paper.path, half_path, "--precision", "float16")
    assert result.code == 0, result.stderr
    half = find(half_path)
    assert half.size < 0.55 * installed_paper.size
    assert half.token_set == installed_paper.token_set
    codebook = (half.path / "token-set.safetensors").read_bytes()
    assert codebook == (installed_paper.path / "token-set.safetensors").read_bytes()
    assert b"% of the tokens are the same" in result.stdout
    assert odp("models", "export", "default", half_path, "--precision", "float16").code == 1
