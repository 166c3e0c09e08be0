"""Random drawings: flat and saturated colours, shapes, lines and text.

Tables fitted to photographs alone cannot represent pure red, since no photograph is that far from
the mean.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from onedpiece.constants import TILE

SCALE = 2  # drawn larger and scaled down, so that edges are smooth
SIDE = SCALE * TILE
WORDS = [
    *"abcdefghijklmnopqrstuvwxyz",
    "quick",
    "brown",
    "foxes",
    "0123456789",
    "(x + y)",
    "[z];",
    "%",
    "@",
]

Colour = tuple[int, int, int]


def draw(rng: np.random.Generator) -> NDArray[np.uint8]:
    """A drawing, uint8 (256, 256, 3): a background with 0 to 40 shapes, lines or words on it."""
    image = _background(rng)
    pen = ImageDraw.Draw(image)
    palette = [_colour(rng) for _ in range(rng.integers(1, 5))]
    add = (_shape, _line, _text)[rng.choice(3, p=(0.4, 0.35, 0.25))]
    for _ in range(int(rng.choice((0, 1, 4, 12, 40), p=(0.25, 0.15, 0.2, 0.2, 0.2)))):
        add(pen, palette[rng.integers(len(palette))], rng)
    return np.asarray(image.resize((TILE, TILE), Image.Resampling.BOX))


def _colour(rng: np.random.Generator) -> Colour:
    """Half of the time a corner of the RGB cube, else uniform."""
    corner = 255 * rng.integers(0, 2, 3)
    uniform = rng.integers(0, 256, 3)
    red, green, blue = corner if rng.random() < 0.5 else uniform
    return int(red), int(green), int(blue)


def _background(rng: np.random.Generator) -> Image.Image:
    first, last = _colour(rng), _colour(rng)
    style = rng.choice(("white", "flat", "gradient"), p=(0.3, 0.5, 0.2))
    if style != "gradient":
        return Image.new("RGB", (SIDE, SIDE), (255, 255, 255) if style == "white" else first)
    gradient = Image.linear_gradient("L").rotate(90 * int(rng.integers(4))).resize((SIDE, SIDE))
    return Image.composite(
        Image.new("RGB", (SIDE, SIDE), first), Image.new("RGB", (SIDE, SIDE), last), gradient
    )


def _shape(pen: ImageDraw.ImageDraw, colour: Colour, rng: np.random.Generator) -> None:
    x, y = rng.uniform(-0.2, 1, 2) * SIDE
    width, height = rng.exponential(0.25, 2) * SIDE
    box = (x, y, x + width, y + height)
    (pen.ellipse if rng.random() < 0.4 else pen.rectangle)(box, fill=colour)


def _line(pen: ImageDraw.ImageDraw, colour: Colour, rng: np.random.Generator) -> None:
    points = [tuple(point) for point in rng.uniform(-0.1, 1.1, (2, 2)) * SIDE]
    pen.line(points, fill=colour, width=SCALE * int(rng.integers(1, 7)))


def _text(pen: ImageDraw.ImageDraw, colour: Colour, rng: np.random.Generator) -> None:
    corner = tuple(rng.uniform(-0.1, 0.9, 2) * SIDE)
    text = " ".join(rng.choice(WORDS, rng.integers(1, 8)))
    pen.text(corner, text, colour, ImageFont.load_default(SCALE * int(rng.integers(8, 40))))
