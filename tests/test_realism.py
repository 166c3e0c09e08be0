"""Realism: what the natural decoder may invent, and where it must not."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image, ImageDraw, ImageFont

from onedpiece.metrics import psnr

LOSS = 1.5  # dB by which a picture that looks real may be worse where nothing is to be invented


@pytest.fixture(scope="module")
def decoded(codec):
    """Decodes a picture of some tokens with a realism."""

    def decode(picture, tokens, realism):
        return codec.decode(codec.encode(picture, tokens), realism=realism)

    return decode


def writing() -> Image.Image:
    picture = Image.new("RGB", (256, 256), "white")
    pen = ImageDraw.Draw(picture)
    for line in range(9):
        words = "the quick brown fox jumps over"[line:]
        pen.text((12, 8 + 26 * line), words, "black", ImageFont.load_default(18))
    return picture


def line_drawing() -> Image.Image:
    picture = Image.new("RGB", (512, 512), "white")
    pen = ImageDraw.Draw(picture)
    for step in range(12):
        pen.line((20, 40 * step, 500, 480 - 30 * step), "black", 5)
    pen.ellipse((100, 100, 400, 380), outline="navy", width=8)
    return picture.resize((256, 256), Image.Resampling.BOX)


def flat_colours() -> Image.Image:
    picture = Image.new("RGB", (256, 256), "#e02020")
    pen = ImageDraw.Draw(picture)
    pen.rectangle((0, 0, 120, 140), "#1050d0")
    pen.rectangle((121, 141, 255, 255), "#f0d010")
    return picture


def screenshot() -> Image.Image:
    picture = Image.new("RGB", (256, 256), "#f4f4f4")
    pen = ImageDraw.Draw(picture)
    pen.rectangle((0, 0, 255, 28), "#3050a0")
    pen.rectangle((0, 29, 60, 255), "#d8dce4")
    for row in range(7):
        pen.rectangle((72, 44 + 28 * row, 240, 62 + 28 * row), "white", "#b0b0b0")
        pen.text((78, 46 + 28 * row), f"Row {row}: value", "#202020", ImageFont.load_default(12))
    return picture


@pytest.mark.parametrize("draw", [writing, line_drawing, flat_colours, screenshot])
@pytest.mark.parametrize("tokens", [64, 256])
def test_where_nothing_is_to_be_invented_it_is_nearly_the_least_error(decoded, draw, tokens):
    picture = draw()
    least, real = (
        psnr(np.asarray(picture), np.asarray(decoded(picture, tokens, realism).convert("RGB")))
        for realism in (0, 1)
    )
    assert real > least - LOSS


def test_black_stays_black_and_flat_colours_stay_flat(decoded):
    # A saturated colour gets a rim at the edge of the picture (docs/models.md).
    for colour, spread in (("black", 3), ("white", 3), ("#808080", 3), ("#e02020", 10)):
        picture = np.asarray(decoded(Image.new("RGB", (256, 256), colour), 64, 1).convert("RGB"))
        original = np.asarray(Image.new("RGB", (1, 1), colour))
        assert np.abs(picture.astype(int) - original).mean() < 4
        assert picture.std((0, 1)).max() < spread


def test_a_grey_picture_stays_grey(decoded, make_picture):
    assert decoded(make_picture().convert("L"), 64, 1).mode == "L"


def test_realism_leaves_transparency_as_it_is(codec, make_picture):
    picture = make_picture().convert("RGBA")
    picture.putalpha(Image.linear_gradient("L").rotate(90))
    data = codec.encode(picture, 64)
    alphas = [np.asarray(codec.decode(data, realism=realism))[..., 3] for realism in (0, 1)]
    assert np.array_equal(*alphas)


def test_error_falls_and_likeness_rises_steadily_between(codec, shared):
    """PSNR rises and LPIPS falls from one realism to the next."""
    pytest.importorskip("torch", reason="needs the extra onedpiece[torch]")
    from onedpiece.bench.metrics import available

    lpips = next(m for m in available(shared / "perceptual")[0] if m.name == "lpips_squeeze")
    pictures = [Image.open(path) for path in sorted((shared / "eval/256").glob("*.png"))[::12]]
    files = codec.encode_many(pictures, 128)
    rows = []
    for realism in (0, 0.25, 0.5, 0.75, 1):
        images = [np.asarray(image) for image in codec.decode_many(files, realism=realism)]
        pairs = [(np.asarray(p), image) for p, image in zip(pictures, images, strict=True)]
        rows.append([np.mean([score(*pair) for pair in pairs]) for score in (psnr, lpips.score)])
    decibels, distances = np.array(rows).T
    assert (np.diff(decibels) < 0).all()
    assert (np.diff(distances) < 0).all()
