"""Placeholders: a picture in a few bytes, as text for web pages."""

import base64
import json
from html.parser import HTMLParser
from urllib.request import urlopen

import numpy as np
import pytest
from PIL import Image

import onedpiece
from onedpiece.errors import PictureError, TargetNotReached
from onedpiece.placeholder import placeholder


@pytest.fixture(scope="module")
def photo(make_picture, tmp_path_factory):
    """A picture of 640x320 pixels in a file."""
    path = tmp_path_factory.mktemp("photos") / "a & b.png"
    make_picture(640, 320).save(path)
    return path


@pytest.fixture(scope="module")
def small(photo):
    return placeholder(photo)


class Attributes(HTMLParser):
    """Reads the attributes of the elements in a text."""

    def __init__(self, text):
        super().__init__()
        self.elements = []
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        self.elements.append((tag, dict(attrs)))


def test_it_is_one_small_tile_of_the_same_shape(small):
    assert 30 <= len(small.data) <= 60
    image = onedpiece.open(small.data)
    assert (image.width, image.height) == (256, 128)
    assert image.header.grid.count == 1


def test_it_knows_the_size_and_the_colour_of_the_original(small, photo):
    assert (small.width, small.height) == (640, 320)
    with Image.open(photo) as original:
        mean = np.asarray(original).mean((0, 1))
    channels = [int(small.color[start : start + 2], 16) for start in (1, 3, 5)]
    assert np.abs(mean - channels).max() < 2


def test_the_data_uri_holds_the_file(small):
    # Python's own reader of data URIs (RFC 2397).
    with urlopen(small.uri) as response:
        assert response.headers["Content-Type"] == "image/x-onedpiece"
        assert response.read() == small.data


def test_the_element_has_size_and_colour(small):
    text = small.to_html()
    (tag, attributes), *others = Attributes(text).elements
    assert not others and "\n" not in text and text.endswith("></odp-picture>")
    assert tag == "odp-picture"
    assert attributes == {
        "placeholder": small.uri,
        "width": "640",
        "height": "320",
        "alt": "",
        "style": f"background-color: {small.color}",
    }


def test_addresses_are_escaped(small):
    (_, attributes), *_ = Attributes(small.to_html('a"&.odp')).elements
    assert attributes["src"] == 'a"&.odp'


def test_odp_files_and_images_have_placeholders_too(photo, one_tile):
    assert placeholder(one_tile, 40).width == 256
    with Image.open(photo) as image:
        assert len(placeholder(image, 40).data) <= 40


def test_that_of_a_file_of_one_tile_is_its_beginning(one_tile):
    file = onedpiece.open(one_tile)
    small = placeholder(one_tile, 50)
    assert small.data == file.truncate(max_bytes=50).to_bytes()
    assert (small.width, small.height) == (file.width, file.height)
    with pytest.raises(TargetNotReached):
        placeholder(one_tile, 5)


def test_transparent_pixels_are_white():
    clear = Image.new("RGBA", (40, 30), (255, 0, 0, 0))
    assert placeholder(clear).color == "#ffffff"


@pytest.mark.parametrize("size", [(3000, 1), (2, 2000)])
def test_a_thin_picture_keeps_a_pixel_across(size):
    small = onedpiece.open(placeholder(Image.new("RGB", size)).data)
    assert min(small.width, small.height) == 1


def test_too_few_bytes_and_other_files_are_errors(photo):
    with pytest.raises(TargetNotReached):
        placeholder(photo, 5)
    with pytest.raises(PictureError):
        placeholder(b"hello")


class TestCommand:
    def test_a_picture_is_one_line(self, odp, photo, small):
        done = odp("placeholder", photo)
        assert (done.code, done.stderr) == (0, "")
        assert done.stdout.decode() == small.uri + "\n"

    def test_several_are_one_line_each_and_failures_go_to_stderr(self, odp, photo, tmp_path):
        done = odp("placeholder", photo, tmp_path / "none.png", photo, "--bytes", 40)
        lines = done.stdout.decode().splitlines()
        assert done.code == 1 and "none.png: cannot be opened" in done.stderr
        assert len(lines) == 2 and lines[0] == lines[1]
        assert len(base64.b64decode(lines[0].partition(",")[2])) <= 40

    def test_a_warning_names_the_file(self, odp, one_tile, tmp_path):
        (tmp_path / "cut.odp").write_bytes(one_tile[:50])
        done = odp("placeholder", tmp_path / "cut.odp")
        assert done.code == 0
        assert done.stderr.startswith(f"odp: {tmp_path / 'cut.odp'}: the file is truncated")

    def test_html(self, odp, photo, small):
        assert odp("placeholder", photo, "--html").stdout.decode() == small.to_html() + "\n"

    def test_the_element_of_an_odp_file_shows_it(self, odp, one_tile, tmp_path):
        path = tmp_path / "x.odp"
        path.write_bytes(one_tile)
        done = odp("placeholder", path, "--html")
        (_, attributes), *_ = Attributes(done.stdout.decode()).elements
        assert attributes["src"] == path.as_posix()

    def test_json(self, odp, photo, small):
        fields = json.loads(odp("placeholder", photo, "--json").stdout)
        assert fields == {
            "input": str(photo),
            "width": 640,
            "height": 320,
            "color": small.color,
            "bytes": len(small.data),
            "placeholder": small.uri,
        }
        assert odp("placeholder", photo, "--json", "--html").code == 2
