"""`odp analyze`: changes by replaced tokens, and groups by first token."""

from __future__ import annotations

import json

import numpy as np
import pytest
from PIL import Image

from onedpiece.bench.analyze import CELLS, changes, first_tokens


class Quarters:
    """A runtime whose token at position i sets the level of the i-th quarter of the picture."""

    def decode(self, tokens, realism=1.0):
        pixels = np.zeros((len(tokens), 256, 256, 3), np.float32)
        for index in range(4):
            y, x = 128 * (index // 2), 128 * (index % 2)
            pixels[:, y : y + 128, x : x + 128] = (tokens[:, index] / 16)[:, None, None, None]
        return pixels


def test_a_replaced_token_changes_the_part_that_it_describes():
    maps = changes(Quarters(), np.array([7, 7, 7, 7], np.uint16), seed=0)
    assert maps.shape == (4, CELLS, CELLS)
    half = CELLS // 2
    quarters = maps.reshape(4, 2, half, 2, half).mean((2, 4)).reshape(4, 4)
    assert (np.diag(quarters) > 0).all()
    assert quarters.sum() == pytest.approx(np.trace(quarters))


def test_first_tokens_are_grouped_the_most_frequent_first():
    sequences = np.array([[5, 1], [9, 2], [9, 3], [1, 4]])
    assert first_tokens(["a", "b", "c", "d"], sequences) == {9: ["b", "c"], 1: ["d"], 5: ["a"]}


def test_a_picture_that_fails_is_named(odp, tmp_path):
    (tmp_path / "bad.png").write_bytes(b"bad")
    done = odp("analyze", tmp_path / "bad.png", "--out", tmp_path / "out")
    assert done.code == 1 and f"{tmp_path / 'bad.png'}: not a picture" in done.stderr


def test_it_writes_json_and_pictures(odp, make_picture, tmp_path):
    pytest.importorskip("matplotlib", reason="needs the bench extra")
    make_picture(seed=1).save(tmp_path / "a.png")
    make_picture(300, 200, seed=2).save(tmp_path / "b.png")
    out = tmp_path / "out"
    result = odp("analyze", tmp_path / "a.png", tmp_path / "b.png", "--out", out, "--tokens", 4)
    assert result.code == 0, result.stderr
    results = json.loads((out / "analysis.json").read_text())
    assert len(results["contribution"]) == 4
    assert results["contribution"][0] == max(
        results["contribution"]
    )  # it describes most of the picture
    assert np.array(results["heat_maps"]).shape == (4, CELLS, CELLS)
    assert sorted(name for names in results["first_tokens"].values() for name in names) == [
        "a.png",
        "b.png",
    ]
    for name in ("contribution.png", "heat-maps.png", "first-tokens.png"):
        assert min(Image.open(out / name).size) > 50
