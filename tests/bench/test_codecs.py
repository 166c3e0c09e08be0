"""Conventional codecs: honest budgets, at their best."""

from __future__ import annotations

import csv

import numpy as np
import pytest
from PIL import Image

from onedpiece.bench.codecs import Ladder, _cjxl, available, decoded
from onedpiece.bench.metrics import psnr

FORMATS = pytest.mark.parametrize("format", available()[0], ids=lambda format: format.name)


@pytest.fixture(scope="module")
def photo() -> np.ndarray:
    """A smooth picture with a few edges, 128x96."""
    y, x = np.mgrid[0:96, 0:128] / 128
    pixels = np.stack([x, y, np.hypot(x - 0.5, y - 0.5) < 0.3], -1)
    return (pixels * 255).astype(np.uint8)


@FORMATS
def test_files_keep_their_budget_and_more_bytes_never_hurt(format, photo):
    ladder = Ladder(format, photo)
    budgets = (500, 1500)
    best = [ladder.best(budget) for budget in budgets]
    scores = [psnr(photo, coded.pixels) for coded in best]
    assert all(len(c.data) <= budget for c, budget in zip(best, budgets, strict=True))
    assert all(coded.pixels.shape == photo.shape for coded in best)
    assert scores == sorted(scores)


@FORMATS
def test_a_budget_below_the_smallest_file_has_no_file(format, photo):
    assert Ladder(format, photo).best(20) is None


@FORMATS
def test_native_files_hold_the_picture_at_its_own_size(format, photo):
    coded = Ladder(format, photo).best(20_000, native=True)
    assert format.decode(coded.data).size == (128, 96)
    assert coded.how.startswith("128x96 ")
    assert psnr(photo, coded.pixels) > 29


@FORMATS
def test_the_best_file_is_no_worse_than_the_native_one(format, photo):
    ladder = Ladder(format, photo)
    native = ladder.best(1500, native=True)
    if native is None:
        pytest.skip("no native file of 1500 bytes")
    assert psnr(photo, ladder.best(1500).pixels) >= psnr(photo, native.pixels)


def test_jpeg_files_open_without_their_jfif_segment(photo):
    jpeg = next(format for format in available()[0] if format.name == "jpeg")
    coded = Ladder(jpeg, photo).best(1000)
    assert b"JFIF" not in coded.data
    assert jpeg.decode(coded.data).format == "JPEG"


def test_it_agrees_with_files_made_by_other_software(shared):
    """Mean PSNR of JPEG and WebP over a few pictures, against a table made without this project."""
    table: dict[tuple[str, str, int], float] = {}
    with (shared / "tools/baselines.csv").open() as file:
        for row in csv.DictReader(file):
            table[row["picture"], row["codec"], int(row["budget"])] = float(row["psnr"])
    formats = {format.name: format for format in available()[0]}
    pictures = sorted((shared / "eval/256").glob("*.png"))[3::12]
    for name, budgets in (("jpeg", (384, 1024)), ("webp", (96, 192, 384))):
        for budget in budgets:
            differences = []
            for path in pictures:
                pixels = np.asarray(Image.open(path).convert("RGB"))
                score = psnr(pixels, Ladder(formats[name], pixels).best(budget).pixels)
                differences.append(score - table[path.stem, name, budget])
            assert abs(np.mean(differences)) < 0.1, (name, budget)


def test_the_reference_programs_of_jpeg_xl_keep_their_budget(make_picture):
    try:
        format = _cjxl()
    except ImportError as error:
        pytest.skip(str(error))
    pixels = np.asarray(make_picture(64, 64))
    coded = Ladder(format, pixels).best(300)
    assert coded is not None and len(coded.data) <= 300
    assert format.version.startswith("cjxl")
    assert decoded(format, coded.data, 64, 64).shape == (64, 64, 3)
