"""The demo page in Chromium: by mouse, by keyboard, on a phone; and what it asks for."""

import re

import numpy as np
import pytest
from odp_files import parse
from PIL import Image

DONE = re.compile("^(Painted in|That did not work)")


@pytest.fixture(scope="module")
def visit(chromium, site):
    """Opens the page in a context; notes what it asks for and what goes wrong."""

    def go(context):
        page = context.new_page()
        page.set_default_timeout(120_000)
        page.asked, page.errors = [], []
        page.on("request", lambda request: page.asked.append(request.url))
        page.on("pageerror", lambda error: page.errors.append(error))
        page.goto(site)
        return page

    return go


@pytest.fixture(scope="module")
def desktop(chromium):
    return chromium.new_context(accept_downloads=True)


def wait(page):
    page.locator("#status", has_text=DONE).wait_for()
    assert page.inner_text("#status").startswith("Painted"), page.inner_text("#status")


def test_a_dropped_picture_is_shown_beside_webp_and_can_be_kept(visit, desktop, site, tmp_path):
    page = visit(desktop)
    levels = np.random.default_rng(0).integers(0, 256, (6, 8, 3), np.uint8)
    Image.fromarray(levels).resize((320, 240)).save(tmp_path / "mine.png")
    page.set_input_files("#file", tmp_path / "mine.png")
    wait(page)
    assert page.inner_text("#original-size") == "256x192 pixels"
    assert re.fullmatch(r"\d\d\.\d\d dB", page.inner_text("#odp-facts"))
    assert "dB" in page.inner_text("#webp-facts")
    with page.expect_download() as download:
        page.click("#download")
    download.value.save_as(tmp_path / "mine.odp")
    file = parse((tmp_path / "mine.odp").read_bytes())
    assert download.value.suggested_filename == "mine.odp"
    assert (file.width, file.height, file.num_tokens) == (256, 192, 256)
    assert page.inner_text("#odp-bytes") == f"{(tmp_path / 'mine.odp').stat().st_size} bytes"

    # The slider by keyboard: fewer tokens, fewer bytes.
    page.focus("#tokens")
    page.keyboard.press("Home")
    assert page.inner_text("#odp-bytes") == f"{len(file.truncate(16).to_bytes())} bytes"
    wait(page)

    # A file that was kept is shown alone.
    page.set_input_files("#file", tmp_path / "mine.odp")
    page.locator("#odp-facts", has_text=re.compile("^256x192 pixels$")).wait_for()
    assert not page.is_visible("#original") and not page.is_visible("#webp")

    assert page.errors == []
    assert all(url.startswith((site, "blob:", "data:")) for url in page.asked)


def test_the_model_is_kept_for_the_next_visit(visit, desktop):
    page = visit(desktop)  # after the test above, in the same browser
    page.click("[data-sample='cat.png']")
    wait(page)
    assert not [url for url in page.asked if url.endswith((".safetensors", ".onnx"))]


def test_what_is_no_picture_is_refused_in_words(visit, desktop, tmp_path):
    (tmp_path / "note.png").write_text("no picture")
    page = visit(desktop)
    page.set_input_files("#file", tmp_path / "note.png")
    page.locator("#status", has_text=DONE).wait_for()
    assert "cannot read" in page.inner_text("#status")


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_it_fits_a_phone_and_has_enough_contrast(visit, chromium, scheme):
    context = chromium.new_context(viewport={"width": 360, "height": 740}, color_scheme=scheme)
    page = visit(context)
    page.evaluate("for (const one of document.querySelectorAll('[hidden]')) one.hidden = false")
    assert page.evaluate("document.documentElement.scrollWidth") <= 360
    ground, *inks = (
        page.evaluate(f"getComputedStyle(document.querySelector('{where}')).{what}")
        for where, what in [("html", "backgroundColor"), ("html", "color"), ("footer p", "color")]
    )
    for ink in inks:
        assert contrast(ink, ground) > 4.5  # WCAG 2, level AA
    context.close()


def test_everything_can_be_reached_by_keyboard(visit, chromium):
    page = visit(chromium.new_context())
    page.evaluate("for (const one of document.querySelectorAll('[hidden]')) one.hidden = false")
    page.evaluate("document.getElementById('download').href = '#'")
    reached = []
    for _ in range(12):
        page.keyboard.press("Tab")
        reached.append(page.evaluate("document.activeElement.id || document.activeElement.tagName"))
    assert reached[:5] == ["file", *["BUTTON"] * 4]
    assert {"tokens", "side", "download", "INPUT", "SUMMARY"} <= set(reached)


def contrast(one, other):
    lights = []
    for colour in (one, other):
        levels = np.array([int(level) for level in re.findall(r"\d+", colour)[:3]]) / 255
        linear = np.where(levels <= 0.03928, levels / 12.92, ((levels + 0.055) / 1.055) ** 2.4)
        lights.append(linear @ [0.2126, 0.7152, 0.0722] + 0.05)
    return max(lights) / min(lights)
