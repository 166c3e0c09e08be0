"""Pictures as the codec sees them: upright RGB, 8 bits; and back."""

from __future__ import annotations

import contextlib
import io
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

import numpy as np
from PIL import Image, ImageOps, UnidentifiedImageError

from onedpiece.bitstream import MAGIC, MAX_PIXELS
from onedpiece.errors import LimitExceeded, OdpError, PictureError

BACKGROUND = (255, 255, 255)  # behind transparent pixels
FORMATS = [
    "AVIF",
    "BMP",
    "DIB",
    "GIF",
    "JPEG",
    "JPEG2000",
    "PCX",
    "PNG",
    "PPM",
    "QOI",
    "SGI",
    "TGA",
    "TIFF",
    "WEBP",
]
"""What is read. Pillow knows more, some of which start other programs or are not pictures of pixels."""

GREY_MODES = {"1", "L", "LA", "I", "I;16", "I;16B", "I;16L", "F"}


@dataclass(frozen=True)
class Picture:
    """pixels: uint8 (H, W, 3), RGB; grey: whether the source had no colour channels."""

    pixels: np.ndarray
    grey: bool


def open_picture(source: Path | bytes, max_pixels: int = MAX_PIXELS) -> Picture:
    """Read a picture file in one of FORMATS.

    Raises PictureError if it cannot be read, LimitExceeded (before decoding) if it is too large.
    """
    file: BinaryIO = io.BytesIO(source) if isinstance(source, bytes) else _open_file(source)
    with file:
        if file.read(len(MAGIC)) == MAGIC:
            raise PictureError("this is an .odp picture already")
        file.seek(0)
        with _own_errors(), Image.open(file, formats=FORMATS) as image:
            return from_pillow(image, max_pixels)


def suffixes() -> set[str]:
    """Endings, such as ".png", of the names of files in FORMATS."""
    Image.init()
    return {suffix for suffix, name in Image.registered_extensions().items() if name in FORMATS}


def from_pillow(image: Image.Image, max_pixels: int = MAX_PIXELS) -> Picture:
    """Upright, on a white background if transparent, 8 bits. ICC profiles are not looked at.

    Raises PictureError for a picture of no pixels, of several frames, or that turns out to be broken, and
    LimitExceeded (before decoding) if it is too large.
    """
    with _own_errors():
        _check_size(image, max_pixels)
        return _from_pillow(image)


def _from_pillow(image: Image.Image) -> Picture:
    if min(image.size) < 1:
        raise PictureError("the picture has no pixels")
    # The further frames of an MPO are what a camera adds to a JPEG, such as a preview or a gain map.
    if getattr(image, "is_animated", False) and image.format != "MPO":
        raise PictureError(
            "the picture has several frames or pages: only single ones can be encoded"
        )
    grey = image.mode in GREY_MODES
    upright = ImageOps.exif_transpose(image)
    if upright.mode in {"I", "I;16", "I;16B", "I;16L", "F"}:
        upright = _eight_bits(upright)
    if upright.has_transparency_data:
        opaque = Image.new("RGBA", upright.size, BACKGROUND)
        opaque.alpha_composite(upright.convert("RGBA"))
        upright = opaque
    return Picture(np.asarray(upright.convert("RGB")), grey)


def to_pillow(picture: Picture) -> Image.Image:
    """Mode "L" for a grey picture, else "RGB"."""
    image = Image.fromarray(picture.pixels)
    return image.convert("L") if picture.grey else image


@contextlib.contextmanager
def _own_errors() -> Iterator[None]:
    try:
        yield
    except OdpError:
        raise
    except UnidentifiedImageError:
        raise PictureError("not a picture in a format that can be read") from None
    except Image.DecompressionBombError:
        raise LimitExceeded("the picture has far more pixels than allowed") from None
    except Exception as error:  # Pillow's plugins raise what they like for broken files
        raise PictureError(f"the picture cannot be read: {error}") from error


def _open_file(path: Path) -> BinaryIO:
    try:
        return path.open("rb")
    except OSError as error:
        raise PictureError(f"cannot be opened: {error.strerror}") from error


def _check_size(image: Image.Image, max_pixels: int) -> None:
    width, height = image.size
    if width * height > max_pixels:
        raise LimitExceeded(f"the picture has {width}x{height} pixels, more than {max_pixels}")


def _eight_bits(image: Image.Image) -> Image.Image:
    """16-bit (or wider, clipped) grey to 8-bit grey."""
    wide = np.asarray(image, dtype=np.float64)
    if image.mode == "F":
        raise PictureError("floating-point pictures have no defined range")
    return Image.fromarray((wide / 257).round().clip(0, 255).astype(np.uint8))
