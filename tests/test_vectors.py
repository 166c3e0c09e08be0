"""The conformance vectors: what is committed is what this reader finds, refuses and paints."""

import json
from pathlib import Path

import numpy as np
import pytest
from odp_files import parse
from PIL import Image

from onedpiece import errors
from onedpiece.entropy import Tables

VECTORS = Path(__file__).parent / "vectors"


def tables_of(key):
    if key.hex() != "a1b2c3":
        raise errors.UnknownModel(key.hex())
    known = json.loads((VECTORS / "tables.json").read_text())
    return Tables(np.array(known["frequency"]), np.array(known["block_sizes"]))


def named(kind):
    return pytest.mark.parametrize("name", sorted(p.stem for p in (VECTORS / kind).glob("*.odp")))


@named("valid")
def test_valid_files_hold_what_is_written_beside_them(name):
    file = parse((VECTORS / "valid" / f"{name}.odp").read_bytes(), tables_of=tables_of)
    expected = json.loads((VECTORS / "valid" / f"{name}.json").read_text())
    header = file.header
    for key in ("width", "height", "overlap", "grey", "scaled", "entropy_coded"):
        assert getattr(header, key) == expected[key]
    assert header.grid.count == expected["tiles"]
    assert header.model.hex() == expected["model"]
    assert header.tokens_per_tile == expected["tokens_per_tile"]
    assert file.allocation.total == expected["total"]
    levels = expected["levels"]
    assert file.allocation.levels == (None if levels is None else tuple(levels))
    assert [[chunk.type, chunk.data.hex()] for chunk in file.chunks] == expected["parts"]
    tokens = [known[:count].tolist() for known, count in zip(file.tokens, file.counts, strict=True)]
    assert tokens == expected["tokens"]


@named("invalid")
def test_invalid_files_are_refused_as_is_written(name):
    expected = json.loads((VECTORS / "invalid" / "errors.json").read_text())[name]
    with pytest.raises(getattr(errors, expected)) as caught:
        parse((VECTORS / "invalid" / f"{name}.odp").read_bytes(), tables_of=tables_of)
    assert type(caught.value).__name__ == expected


@named("decoded")
def test_decoded_pictures_are_the_same_but_for_rounding(name, codec):
    decoded = codec.decode((VECTORS / "decoded" / f"{name}.odp").read_bytes())
    with Image.open(VECTORS / "decoded" / f"{name}.png") as expected:
        assert (decoded.size, decoded.mode) == (expected.size, expected.mode)
        difference = np.abs(np.asarray(decoded).astype(int) - np.asarray(expected))
    assert difference.max() <= 3 and difference.mean() < 0.1
