"""The conformance vectors: what is committed is what this reader finds, refuses and paints.

A file decodes for ever, with the same tokens; its pixels may change with better decoders. The files
of version 1 were written by earlier versions of this package and must never change.
"""

import json
from pathlib import Path

import numpy as np
import pytest
from odp_files import parse
from PIL import Image

from onedpiece import errors
from onedpiece.encoded_image import EncodedImage
from onedpiece.entropy import Tables

VECTORS = Path(__file__).parent / "vectors"


def tables_of(key):
    if key.hex() != "a1b2c3":
        raise errors.UnknownModel(key.hex())
    known = json.loads((VECTORS / "tables.json").read_text())
    return Tables(np.array(known["frequency"]), np.array(known["block_sizes"]))


def files(kind):
    """A test for each file of a kind, of all versions of the format."""
    found = sorted(VECTORS.glob(f"version-*/{kind}/*.odp"))
    return pytest.mark.parametrize("path", found, ids=lambda path: f"{path.parts[-3]}: {path.stem}")


@files("valid")
def test_valid_files_hold_what_is_written_beside_them(path):
    file = parse(path.read_bytes(), tables_of=tables_of)
    expected = json.loads(path.with_suffix(".json").read_text())
    header = file.header
    assert f"version-{header.version}" == path.parts[-3]
    assert header.density == expected.get("density", 1)
    for key in ("width", "height", "overlap", "grey", "scaled", "entropy_coded"):
        assert getattr(header, key) == expected[key]
    assert header.grid.count == expected["tiles"]
    assert header.model.hex() == expected["model"]
    assert header.tokens_per_tile == expected["tokens_per_tile"]
    assert file.allocation.total == expected["total"]
    levels = expected["levels"]
    assert file.allocation.levels == (None if levels is None else tuple(levels))
    assert [[chunk.type, chunk.data.hex()] for chunk in file.chunks] == (
        expected["chunks"] if header.version > 1 else expected["parts"]
    )
    tokens = [known[:count].tolist() for known, count in zip(file.tokens, file.counts, strict=True)]
    assert tokens == expected["tokens"]


@files("valid")
def test_what_was_read_is_written_as_the_same_bytes(path):
    file = parse(path.read_bytes(), tables_of=tables_of)
    if file.is_truncated:
        return
    again = EncodedImage.build(
        file.header,
        file.tokens,
        file.chunks,
        file.allocation,
        tables_of(file.header.model) if file.header.entropy_coded else None,
    )
    assert again.to_bytes() == path.read_bytes()


@files("valid")
def test_truncation_keeps_the_version(path):
    file = parse(path.read_bytes(), tables_of=tables_of)
    if file.total_tokens >= file.header.grid.count:
        shorter = file.truncate(max_bytes=len(path.read_bytes()) + 9)
        assert parse(shorter.to_bytes(), tables_of=tables_of).header.version == file.header.version


@files("invalid")
def test_invalid_files_are_refused_as_is_written(path):
    expected = json.loads((path.parent / "errors.json").read_text())[path.stem]
    with pytest.raises(getattr(errors, expected)) as caught:
        parse(path.read_bytes(), tables_of=tables_of)
    assert type(caught.value).__name__ == expected


@files("decoded")
@pytest.mark.filterwarnings("ignore:the file is truncated")
def test_decoded_pictures_are_the_same_but_for_rounding(path, codec):
    decoded = codec.decode(path.read_bytes())
    with Image.open(path.with_suffix(".png")) as expected:
        assert (decoded.size, decoded.mode) == (expected.size, expected.mode)
        difference = np.abs(np.asarray(decoded).astype(int) - np.asarray(expected))
    assert difference.max() <= 3 and difference.mean() < 0.1
