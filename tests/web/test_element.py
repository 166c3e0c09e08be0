"""`<odp-picture>` on a page, in Chromium."""

import base64

import pytest

ADD = """async ([attributes, isWaiting]) => {
  await import("/src/paint/element.js");
  const picture = document.createElement("odp-picture");
  for (const [name, value] of Object.entries(attributes)) picture.setAttribute(name, value);
  const stages = [];
  const watch = new MutationObserver(() => stages.push(picture.getAttribute("stage")));
  watch.observe(picture, { attributeFilter: ["stage"] });
  const end = new Promise((resolve) => {
    for (const kind of ["load", "error"]) picture.addEventListener(kind, resolve);
  });
  document.body.replaceChildren(picture);
  const event = isWaiting && await end;
  await new Promise((resolve) => setTimeout(resolve));
  const { width, height } = picture.getBoundingClientRect();
  const canvas = picture.shadowRoot.querySelector("canvas");
  const span = picture.shadowRoot.querySelector("span");
  return {
    stages, width, height, natural: [picture.naturalWidth, picture.naturalHeight],
    event: event?.type, reason: event?.error?.reason, complete: picture.complete,
    role: picture.role ?? picture.getAttribute("role"), label: picture.getAttribute("aria-label"),
    blank: getComputedStyle(canvas).backgroundColor, text: span.hidden ? "" : span.textContent,
  };
}"""


@pytest.fixture
def show(page):
    """Attributes -> what the element has become; when it is complete, unless `waiting` is false."""
    return lambda waiting=True, **attributes: page.evaluate(ADD, [attributes, waiting])


def test_it_shows_a_picture_of_its_own_size_in_steps(show):
    found = show(src="two-tiles.odp", alt="Two tiles", realism="0")
    assert found["event"] == "load" and found["complete"]
    assert found["stages"][0] == "placeholder" and found["stages"][-1] == "final"
    assert "sketch" in found["stages"]
    assert [found["width"], found["height"]] == found["natural"] != [0, 0]
    assert (found["role"], found["label"]) == ("img", "Two tiles")


def test_a_colour_takes_the_place_and_the_size_until_then(show):
    found = show(False, src="two-tiles.odp", placeholder="#ff0000", width="120", height="60")
    assert found["blank"] == "rgb(255, 0, 0)"
    assert (found["width"], found["height"]) == (120, 60)


def test_a_small_file_is_sketched_and_gives_the_size(show, codec, make_picture):
    small = base64.b64encode(codec.encode(make_picture(300, 200), 16)).decode()
    for placeholder in (small, f"data:application/octet-stream;base64,{small}"):
        found = show(src="nowhere.odp", placeholder=placeholder, alt="A disc")
        assert found["stages"] == ["placeholder", "sketch", "error"]
        assert (found["width"], found["height"]) == (300, 200)


def test_a_broken_placeholder_does_not_hide_the_picture(show):
    found = show(src="two-tiles.odp", placeholder="%%%", realism="0")
    assert found["event"] == "load" and found["stages"][-1] == "final"
    assert show(placeholder="%%%")["event"] == "error"


def test_one_attribute_scales_both_sides(show, codec, make_picture):
    small = base64.b64encode(codec.encode(make_picture(300, 200), 16)).decode()
    found = show(False, placeholder=small, width="150")
    assert (found["width"], found["height"]) == (150, 100)
    assert found["complete"]


@pytest.mark.parametrize("src, reason", [("nowhere.odp", "not-odp"), ("blank.html", "not-odp")])
def test_the_text_takes_the_place_of_what_cannot_be_shown(show, src, reason):
    found = show(src=src, alt="A cat")
    assert (found["event"], found["reason"], found["text"]) == ("error", reason, "A cat")


def test_a_picture_without_meaning_has_no_name(show):
    found = show(False, alt="")
    assert (found["role"], found["label"]) == ("presentation", None)
