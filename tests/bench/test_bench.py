"""The measurements themselves: known values, honest budgets."""

from __future__ import annotations

import csv
import sys

import numpy as np
import pytest
from PIL import Image

from onedpiece.bench.codecs import SCALES, Ladder, available
from onedpiece.bench.measure import process, spread
from onedpiece.bench.metrics import psnr


@pytest.fixture(scope="module")
def photo() -> np.ndarray:
    """A smooth picture with a few edges, 128x128."""
    y, x = np.mgrid[0:128, 0:128] / 128
    pixels = np.stack([x, y, np.hypot(x - 0.5, y - 0.5) < 0.3], -1)
    return (pixels * 255).astype(np.uint8)


def test_psnr_of_equal_pictures_is_infinite():
    picture = np.full((4, 4, 3), 7, np.uint8)
    assert psnr(picture, picture) == float("inf")


def test_psnr_of_an_error_of_one_level_everywhere_is_48_13_db():
    picture = np.full((4, 4, 3), 7, np.uint8)
    assert psnr(picture, picture + 1) == pytest.approx(48.1308, abs=1e-4)


def test_psnr_does_not_wrap_around_at_zero():
    black, white = np.zeros((2, 2, 3), np.uint8), np.full((2, 2, 3), 255, np.uint8)
    assert psnr(black, white) == psnr(white, black) == pytest.approx(0)


@pytest.mark.parametrize("codec", available(), ids=lambda codec: codec.name)
def test_a_conventional_file_keeps_its_budget_and_more_bytes_never_hurt(codec, photo):
    ladder = Ladder(codec, photo)
    best = [ladder.best(budget) for budget in (500, 800, 1600)]
    scores = [psnr(photo, coded.pixels) for coded in best]
    assert all(coded.size <= b for coded, b in zip(best, (500, 800, 1600), strict=True))
    assert all(coded.pixels.shape == photo.shape for coded in best)
    assert scores == sorted(scores)


@pytest.mark.parametrize("codec", available(), ids=lambda codec: codec.name)
def test_a_budget_below_the_smallest_file_has_no_file(codec, photo):
    assert Ladder(codec, photo).best(20) is None


def test_the_ladder_never_scales_up(photo):
    jpeg = available()[0]
    assert len(Ladder(jpeg, photo)._scaled) == len([s for s in SCALES if s <= 128])


def test_spread_is_the_median_and_the_quartiles():
    assert spread([4.0, 1.0, 3.0, 2.0, 5.0]).median == 3.0
    assert (spread([4.0, 1.0, 3.0, 2.0, 5.0]).low, spread([1.0, 2.0, 3.0, 4.0, 5.0]).high) == (
        2.0,
        4.0,
    )


def test_a_process_is_timed_and_its_memory_is_measured():
    seconds, peak = process(
        [sys.executable, "-c", "import time; x = b'x' * 50_000_000; time.sleep(0.2)"]
    )
    assert 0.2 <= seconds < 20
    assert 50e6 < peak < 200e6


def test_rate_distortion_lists_every_codec_that_has_a_file(tmp_path, photo):
    from onedpiece.bench.rate_distortion import TOKENS, rate_distortion

    Image.fromarray(photo).save(tmp_path / "photo.png")
    rate_distortion([tmp_path / "photo.png"], tmp_path / "table.csv", "cpu")
    with (tmp_path / "table.csv").open() as file:
        rows = list(csv.DictReader(file))
    ours = [row for row in rows if row["codec"] == "odp"]
    sizes = {int(row["tokens"]): int(row["bytes"]) for row in ours}
    assert list(sizes) == list(TOKENS)
    assert all(int(row["bytes"]) <= sizes[int(row["tokens"])] for row in rows)
    assert float(ours[-1]["psnr"]) > float(ours[0]["psnr"])


def test_the_demonstration_writes_files_and_a_picture_of_all(tmp_path, capsys):
    from onedpiece.bench.demo import PICTURES, TOKENS, demo

    demo(tmp_path, "cpu")
    photographs = [path for path in PICTURES.iterdir() if path.suffix != ".md"]
    assert len(list(tmp_path.glob("*.odp"))) == len(photographs) * len(TOKENS)
    assert Image.open(tmp_path / "side-by-side.png").width > 256 * (1 + len(TOKENS))
    assert "cat.png" in capsys.readouterr().out


def test_large_pictures_are_timed_and_weighed(capfd):
    from onedpiece.bench.large import large

    large(600, threads=1)
    _, *lines = capfd.readouterr().out.splitlines()
    expected = ("encode  600x600 RGBA", "encode  600x600 RGB", "decode  600x600 RGB")
    for line, beginning in zip(lines, expected, strict=True):
        assert line.startswith(f"odp {beginning}  ") and line.endswith(" MB")


def test_rd_takes_folders(odp, make_picture, tmp_path):
    make_picture(64, 64).save(tmp_path / "a.png")
    assert odp("bench", "rd", tmp_path).code == 0


def test_tiling_prints_its_tables(odp, make_picture, tmp_path, monkeypatch):
    from onedpiece.bench import tiling

    monkeypatch.setattr(tiling, "TOKENS", (2,))
    monkeypatch.setattr(tiling, "OVERLAPS", (32,))
    monkeypatch.setattr(tiling, "ADAPTED", (2,))
    make_picture(480, 320).save(tmp_path / "a.png")
    result = odp("bench", "tiling", tmp_path)
    assert result.code == 0
    assert result.stdout.count(b" dB") == 3 + 2 + 2
