"""Pictures that JavaScript resizes and joins are those of Python. Node runs it."""

import base64
import json

import numpy as np
from PIL import Image
from web.test_javascript import node

from onedpiece.bitstream.header import Header
from onedpiece.constants import DEFAULT_TOKEN_SET
from onedpiece.tiles.join import join


def text(pixels):
    return base64.b64encode(np.ascontiguousarray(pixels)).decode()


def asked(resizes=(), joins=()):
    question = json.dumps({"resizes": list(resizes), "joins": list(joins)})
    answer = json.loads(node("tests/pixels.js", input=question, timeout=120))
    return [
        np.frombuffer(base64.b64decode(one), np.uint8)
        for one in answer["resizes"] + answer["joins"]
    ]


SIZES = [(300, 91), (512, 91), (90, 91), (131, 30), (131, 200), (60, 40)]
HEADERS = [
    Header.for_picture(500, 300, 16, DEFAULT_TOKEN_SET),
    Header.for_picture(600, 700, 16, DEFAULT_TOKEN_SET),
    Header.for_picture(200, 300, 16, DEFAULT_TOKEN_SET, density=2),
    Header(257, 600, 16, DEFAULT_TOKEN_SET),  # one pixel behind a seam
    Header(2050, 300, 16, DEFAULT_TOKEN_SET),
    Header(500, 300, 16, DEFAULT_TOKEN_SET, overlap=16),
]


def test_resized_pictures_are_those_of_pillow():
    pixels = np.random.default_rng(0).integers(0, 256, (91, 131, 3), np.uint8)
    sizes = [{"width": width, "height": height} for width, height in SIZES]
    before = {"pixels": text(pixels), "from": {"width": 131, "height": 91}}
    for size, found in zip(
        SIZES, asked(resizes=[before | {"to": to} for to in sizes]), strict=True
    ):
        expected = np.asarray(Image.fromarray(pixels).resize(size, Image.Resampling.BICUBIC))
        assert (found.reshape(expected.shape) == expected).all(), size


def test_joined_tiles_are_those_of_python():
    numbers = np.random.default_rng(0)
    questions, expected = [], []
    for header in HEADERS:
        count = header.grid.count
        steps = numbers.integers(40, 200, (count, 1, 1, 3))
        tiles = (steps + numbers.integers(-9, 9, (count, 256, 256, 3))).astype(np.uint8)
        fields = ("width", "height", "density", "scaled", "overlap")
        question = {"header": {name: getattr(header, name) for name in fields}}
        for sharp in (False, True):
            questions.append({**question, "sharp": sharp, "tiles": [text(tile) for tile in tiles]})
            floats = tiles.astype(np.float32)
            expected.append(join(floats, header.grid, header.density, sharp=sharp))
    for picture, found in zip(expected, asked(joins=questions), strict=True):
        assert np.abs(found.reshape(picture.shape).astype(int) - picture).max() <= 1
        assert (found.reshape(picture.shape) == picture).mean() > 0.999
