"""Conventional codecs: files keep their budget, and are the best of those tried."""

from __future__ import annotations

import csv

import numpy as np
import pytest
from PIL import Image

from onedpiece.bench.codecs import Ladder, _cjxl, available, decode, encode
from onedpiece.metrics import psnr


@pytest.fixture(scope="module")
def photo() -> np.ndarray:
    """A smooth picture with a few edges, 96x64."""
    y, x = np.mgrid[0:64, 0:96] / 96
    pixels = np.stack([x, y, np.hypot(x - 0.5, y - 0.4) < 0.3], -1)
    return (pixels * 255).astype(np.uint8)


@pytest.fixture(scope="module", params=available()[0], ids=lambda format: format.name)
def format(request):
    """Each format that this machine can write."""
    return request.param


@pytest.fixture(scope="module")
def ladder(format, photo) -> Ladder:
    """The photo's files in that format, which tests share."""
    return Ladder(format, photo)


def test_files_keep_their_budget_and_more_bytes_never_hurt(ladder, photo):
    budgets = (500, 1000)
    best = [ladder.best(budget) for budget in budgets]
    scores = [psnr(photo, file.pixels) for file in best]
    assert all(len(file.data) <= budget for file, budget in zip(best, budgets, strict=True))
    assert all(file.pixels.shape == photo.shape for file in best)
    assert scores == sorted(scores)


def test_a_budget_below_the_smallest_file_has_no_file(ladder):
    assert ladder.best(20) is None


def test_native_files_hold_the_picture_at_its_own_size(ladder, format, photo):
    file = ladder.best(20_000, native=True)
    assert format.decode(file.data).size == (96, 64)
    assert file.settings.startswith("96x64 ")
    assert psnr(photo, file.pixels) > 27


def test_the_best_file_is_no_worse_than_the_native_one(ladder, photo):
    native = ladder.best(1000, native=True)
    if native is None:
        pytest.skip("no native file of 1000 bytes")
    assert psnr(photo, ladder.best(1000).pixels) >= psnr(photo, native.pixels)


def test_encoding_a_file_again_gives_the_same_bytes(ladder, format, photo):
    file = ladder.best(500)
    assert encode(format, photo, file) == file.data


def test_jpeg_files_open_without_their_jfif_segment(photo):
    jpeg = next(format for format in available()[0] if format.name == "jpeg")
    file = Ladder(jpeg, photo).best(1000)
    assert b"JFIF" not in file.data
    assert jpeg.decode(file.data).format == "JPEG"


def test_it_agrees_with_files_made_by_other_software(shared):
    """Mean PSNR of JPEG and WebP over a few pictures, against a table made by another program."""
    table: dict[tuple[str, str, int], float] = {}
    with (shared / "tools/baselines.csv").open() as file:
        for row in csv.DictReader(file):
            table[row["picture"], row["codec"], int(row["budget"])] = float(row["psnr"])
    formats = {format.name: format for format in available()[0]}
    pictures = sorted((shared / "eval/256").glob("*.png"))[3::12]
    for name, budgets in (("jpeg", (384, 1024)), ("webp", (96, 384))):
        differences = {budget: [] for budget in budgets}
        for path in pictures:
            pixels = np.asarray(Image.open(path).convert("RGB"))
            ladder = Ladder(formats[name], pixels)
            for budget in budgets:
                score = psnr(pixels, ladder.best(budget).pixels)
                differences[budget].append(score - table[path.stem, name, budget])
        assert all(abs(np.mean(values)) < 0.1 for values in differences.values()), differences


def test_the_reference_programs_of_jpeg_xl_keep_their_budget(make_picture):
    try:
        format = _cjxl()
    except ImportError as error:
        pytest.skip(str(error))
    pixels = np.asarray(make_picture(64, 64))
    file = Ladder(format, pixels).best(300)
    assert file is not None and len(file.data) <= 300
    assert format.version.startswith("cjxl")
    assert decode(format, file.data, 64, 64).shape == (64, 64, 3)
