"""Placeholders for web pages: a picture in some 60 bytes, as text to write into the page."""

from __future__ import annotations

import base64
import html
import os
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image

from onedpiece import api
from onedpiece.constants import MAX_PIXELS, MEDIA_TYPE, TILE
from onedpiece.encoded_image import EncodedImage
from onedpiece.errors import OdpError, TargetNotReached
from onedpiece.images.reader import ReadOptions, from_pillow, open_picture
from onedpiece.images.scaling import shrink

DEFAULT_BYTES = 60


@dataclass(frozen=True)
class Placeholder:
    """A picture in a few bytes, and what a page must know to leave room for it.

    data:          an .odp file whose longest side is at most 256 pixels.
    width, height: size of the original in pixels.
    color:         mean colour as "#rrggbb".
    """

    data: bytes
    width: int
    height: int
    color: str

    @property
    def uri(self) -> str:
        """The file as a data URI."""
        return f"data:{MEDIA_TYPE};base64,{base64.b64encode(self.data).decode()}"

    def to_html(self, src: str | None = None) -> str:
        """An element `<odp-picture>` (see web/README.md) of the size of the original.

        src: address of the .odp file that takes the place of the placeholder.
        """
        attributes = {
            **({} if src is None else {"src": src}),
            "placeholder": self.uri,
            "width": str(self.width),
            "height": str(self.height),
            "alt": "",
            "style": f"background-color: {self.color}",
        }
        text = " ".join(f'{name}="{html.escape(value)}"' for name, value in attributes.items())
        return f"<odp-picture {text}></odp-picture>"


def placeholder(
    source: Image.Image | api.Source,
    max_bytes: int = DEFAULT_BYTES,
    *,
    max_pixels: int = MAX_PIXELS,
) -> Placeholder:
    """The placeholder of a picture: a file of one tile.

    source:     a PIL image, or the path or bytes of a picture or of an .odp file.
    max_bytes:  limit for the .odp file; as text, it has a third more characters.
    max_pixels: larger pictures are refused.

    Transparent pixels become white. Raises OdpError for a picture that cannot be read,
    TargetNotReached if max_bytes are too few, and ValueError unless they are at least 1.
    """
    options = ReadOptions(max_pixels, background=(255, 255, 255))
    if isinstance(source, str | os.PathLike):
        source = Path(source)
    if not isinstance(source, Image.Image) and api.is_odp(source):
        file = api.open(source)
        source = api.decode(file, realism=0, max_pixels=max_pixels)
        if file.header.grid.count == 1 and not file.chunks:
            return Placeholder(_shortened(file, max_bytes), *source.size, _mean_color(source))
    if isinstance(source, Image.Image):
        picture = from_pillow(source, options)
    else:
        picture = open_picture(source if isinstance(source, Path) else bytes(source), options)
    image = picture.to_pillow()
    width, height = image.size
    image = shrink(image, (TILE, TILE))
    return Placeholder(api.encode(image, max_bytes=max_bytes), width, height, _mean_color(image))


def _shortened(file: EncodedImage, max_bytes: int) -> bytes:
    """The beginning of a file, which is better than its picture encoded again."""
    try:
        return file.truncate(max_bytes=max_bytes).to_bytes()
    except OdpError as error:
        raise TargetNotReached(str(error)) from error


def _mean_color(image: Image.Image) -> str:
    mean = np.asarray(image.convert("RGB")).mean((0, 1)).round().astype(int)
    return "#" + "".join(f"{channel:02x}" for channel in mean)
