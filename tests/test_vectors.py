"""The conformance vectors: what is committed is what this reader finds, refuses and paints.

There is a folder for each format version, and those of earlier versions are frozen. So the tests
state what a user of any version may rely on:

- A file decodes for ever.
- Its tokens never change, nor does anything else that its bytes say: size, counts, levels, chunks.
- Written again, complete or truncated, it stays a file of its version.
- Its pixels may change: a later model may paint the same tokens better. These tests compare with
  the pictures of the current one.
"""

import json
from pathlib import Path

import numpy as np
import pytest
from odp_files import build, parse
from PIL import Image
from vectors import make

from onedpiece import Codec, errors
from onedpiece.bitstream.header import VERSION

VECTORS = Path(__file__).parent / "vectors"
VERSIONS = (1, 2)


def named(kind):
    """The vectors of a kind, of all versions, as paths without their ending."""
    paths = sorted(VECTORS.glob(f"version-*/{kind}/*.odp"))
    names = [f"{path.parent.parent.name}/{path.stem}" for path in paths]
    return pytest.mark.parametrize("path", [path.with_suffix("") for path in paths], ids=names)


def version_of(path):
    return int(path.parent.parent.name.removeprefix("version-"))


def read(path):
    return path.with_suffix(".odp").read_bytes()


def tokens_of(file):
    """The tokens of each tile that are there."""
    return [known[:count].tolist() for known, count in zip(file.tokens, file.counts, strict=True)]


def test_every_version_has_vectors_of_every_kind():
    assert max(VERSIONS) == VERSION
    for version in VERSIONS:
        for kind in ("valid", "invalid", "decoded"):
            assert list((VECTORS / f"version-{version}" / kind).glob("*.odp"))


@named("valid")
def test_valid_files_hold_what_is_written_beside_them(path):
    file = parse(read(path), tables_of=make.tables_of)
    expected = {"version": 1, "density": 1} | json.loads(path.with_suffix(".json").read_text())
    assert expected["version"] == version_of(path)
    assert make.facts(file) == expected


@named("valid")
def test_valid_files_are_written_again_as_the_same_bytes(path):
    data = read(path)
    file = parse(data, tables_of=make.tables_of)
    coded = file.header.entropy_coded
    front = file.front.pack(coded)
    assert data.startswith(front)
    if not file.is_truncated:
        tables = file.tables if coded else None
        assert build(file.header, file.tokens, file.chunks, file.allocation, tables) == data


@named("valid")
def test_a_truncated_file_keeps_its_version_and_the_beginning_of_its_tokens(path):
    file = parse(read(path), tables_of=make.tables_of)
    least = -(-file.header.grid.count // file.header.base_tiles)
    most = file.total_tokens // file.header.base_tiles
    for num_tokens in {least, (least + most) // 2, most}:
        if not least <= num_tokens <= most:
            continue  # not one token of each tile is left
        shorter = parse(file.truncate(num_tokens).to_bytes(), tables_of=make.tables_of)
        assert shorter.header.version == version_of(path)
        assert shorter.header.density == file.header.density
        assert shorter.total_tokens == num_tokens * file.header.base_tiles
        for before, after in zip(tokens_of(file), tokens_of(shorter), strict=True):
            assert before[: len(after)] == after


@named("invalid")
def test_invalid_files_are_refused_as_is_written(path):
    expected = json.loads((path.parent / "errors.json").read_text())[path.name]
    with pytest.raises(getattr(errors, expected)) as caught:
        parse(read(path), tables_of=make.tables_of)
    assert type(caught.value).__name__ == expected


@named("decoded")
def test_decoded_pictures_are_the_same_but_for_rounding(path, monkeypatch):
    monkeypatch.setattr("onedpiece.runtime.onnx.has_vnni", lambda: False)
    difference = _difference(path, Codec(device="cpu"))
    assert difference.max() <= 3 and difference.mean() < 0.1


@named("decoded")
def test_products_of_8_bit_integers_round_a_little_more(path, codec):
    difference = _difference(path, codec)
    assert difference.max() <= 12 and difference.mean() < 1


def _difference(path, codec):
    """Of the decoded picture and the one of the same name, level by level."""
    file = codec.parse(read(path))
    assert file.header.version == version_of(path)
    decoded = codec.decode(file, realism=0)
    with Image.open(VECTORS / "pictures" / f"{path.name}.png") as expected:
        assert (decoded.size, decoded.mode) == (expected.size, expected.mode)
        return np.abs(np.asarray(decoded).astype(int) - np.asarray(expected))


@named("decoded")
def test_decoded_files_are_written_again_as_the_same_bytes(path, codec):
    data = read(path)
    file = codec.parse(data)
    assert data.startswith(file.front.pack(file.header.entropy_coded))
    if not file.is_truncated:
        tables = file.tables if file.header.entropy_coded else None
        assert build(file.header, file.tokens, file.chunks, file.allocation, tables) == data
