"""Pictures as the bytes that show them in a terminal.

kitty:  https://sw.kovidgoyal.net/kitty/graphics-protocol/
iTerm2: https://iterm2.com/documentation-images.html
sixel:  VT330/VT340 Programmer Reference Manual, volume 2, chapter 14
"""

from __future__ import annotations

import base64
import io
import re

import numpy as np
from PIL import Image

KITTY_CHUNK = 4096  # characters of base64
SIXEL_ROWS = 6
SIXEL_ZERO = ord("?")  # a column without pixels


def kitty(image: Image.Image) -> bytes:
    """A PNG file in escape codes of at most KITTY_CHUNK characters of base64 each."""
    text = base64.b64encode(_png(image))
    chunks = [text[start : start + KITTY_CHUNK] for start in range(0, len(text), KITTY_CHUNK)]
    escapes = []
    for index, chunk in enumerate(chunks):
        keys = b"a=T,f=100,q=2," if index == 0 else b""
        more = index < len(chunks) - 1
        escapes.append(b"\x1b_G%sm=%d;%s\x1b\\" % (keys, more, chunk))
    return b"".join(escapes)


def iterm(image: Image.Image) -> bytes:
    """A PNG file in one escape code of iTerm2."""
    png = _png(image)
    return b"\x1b]1337;File=size=%d;inline=1:%s\x07" % (len(png), base64.b64encode(png))


def sixel(image: Image.Image) -> bytes:
    """At most 256 colours, in bands of six rows. Transparent pixels are black."""
    colors = on_black(image).quantize(256)
    palette = np.array(colors.getpalette(), int).reshape(-1, 3)
    percent = (palette * 100 + 127) // 255
    pixels = np.asarray(colors)
    parts = [b'\x1bP0;1q"1;1;%d;%d' % image.size]
    parts += [b"#%d;2;%d;%d;%d" % (number, *rgb) for number, rgb in enumerate(percent.tolist())]
    for top in range(0, image.height, SIXEL_ROWS):
        band = pixels[top : top + SIXEL_ROWS]
        parts.append(b"$".join(_one_color(band, int(number)) for number in np.unique(band)) + b"-")
    return b"".join(parts) + b"\x1b\\"


def on_black(image: Image.Image) -> Image.Image:
    """The picture in mode RGB, on black where it is transparent."""
    if "A" not in image.mode:
        return image.convert("RGB")
    black = Image.new("RGBA", image.size, "black")
    return Image.alpha_composite(black, image.convert("RGBA")).convert("RGB")


def _one_color(band: np.ndarray, number: int) -> bytes:
    """The pixels of one colour in up to six rows, (rows, width)."""
    bits = (band == number) * (1 << np.arange(len(band)))[:, None]
    columns = (bits.sum(0) + SIXEL_ZERO).astype(np.uint8).tobytes()
    runs = re.sub(rb"(.)\1{3,}", lambda run: b"!%d%s" % (len(run[0]), run[1]), columns)
    return b"#%d%s" % (number, runs)


def _png(image: Image.Image) -> bytes:
    file = io.BytesIO()
    image.save(file, "PNG")
    return file.getvalue()
