"""Read picture files as upright 8-bit sRGB, with transparency and metadata kept separately."""

from __future__ import annotations

import contextlib
import io
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

import numpy as np
from PIL import Image, ImageOps, UnidentifiedImageError

from onedpiece.constants import MAGIC, MAX_PIXELS, MAX_SIDE
from onedpiece.errors import LimitExceeded, OdpError, PictureError
from onedpiece.images.color import (
    GREY_MODES,
    WIDE_MODES,
    Color,
    fill_transparent,
    to_eight_bits,
    to_rgb_array,
    to_srgb,
)
from onedpiece.images.metadata import (
    ORIENTATION,
    collect_metadata,
    descriptive_exif,
    read_exif,
)
from onedpiece.images.picture import Picture
from onedpiece.images.plugins import BEGINNING, PLUGINS, plugin_of, prepare
from onedpiece.images.png import (
    correct_gamma,
    gamma_to_correct,
    raw_mode,
    scale_transparent_color,
    verified,
)

FORMATS = [
    *("AVIF", "BMP", "DIB", "GIF", "JPEG", "JPEG2000", "PCX"),
    *("PNG", "PPM", "QOI", "SGI", "TGA", "TIFF", "WEBP"),
]
"""Formats that can be read; `writer.py` writes those that Pillow can save. Pillow has more formats,
but some of them start programs or have no pixels. A Pillow plugin must be imported before its
format can be listed here. `plugins.py` has those that need another package."""

PHOTOMETRIC = 262  # tag of TIFF


@dataclass(frozen=True)
class ReadOptions:
    """How to read pictures.

    max_pixels: larger pictures are refused.
    background: colour to put behind transparent pixels; None keeps transparency.
    metadata:   kinds of metadata to keep: any of "exif", "icc" and "xmp". With "icc", pixels keep
        the colours of the profile; otherwise they are converted to sRGB.
    """

    max_pixels: int = MAX_PIXELS
    background: Color | None = None
    metadata: frozenset[str] = frozenset()


def open_picture(source: Path | bytes, options: ReadOptions = ReadOptions()) -> Picture:
    """Read a picture file in one of FORMATS, or in that of an installed plugin.

    Raises PictureError if it cannot be read, LimitExceeded (before decoding) if it is too large.
    """
    with open_lazily(source) as image:
        _check(image, options.max_pixels)
        return from_pillow(verified(image) if image.format == "PNG" else image, options)


@contextlib.contextmanager
def open_lazily(source: Path | bytes) -> Iterator[Image.Image]:
    """Open a picture file and read only its beginning. Raises PictureError."""
    file: BinaryIO = io.BytesIO(source) if isinstance(source, bytes) else _open_file(source)
    with file:
        beginning = file.read(BEGINNING)
        if beginning.startswith(MAGIC):
            raise PictureError("this is an .odp picture already")
        file.seek(0)
        with _as_picture_errors():
            plugin = plugin_of(beginning)
            if plugin:
                prepare(plugin, file)
            formats = [plugin.format] if plugin else FORMATS
            with Image.open(file, formats=formats) as image:
                yield image


def suffixes() -> set[str]:
    """File name extensions, such as ".png", of FORMATS, and of those that need another package."""
    Image.init()
    known = {suffix for suffix, name in Image.registered_extensions().items() if name in FORMATS}
    return known.union(*(plugin.suffixes for plugin in PLUGINS))


def from_pillow(image: Image.Image, options: ReadOptions = ReadOptions()) -> Picture:
    """Convert a PIL image to the codec's input: upright, 8 bits, sRGB.

    Raises PictureError for an image without pixels, with several frames or with broken data,
    LimitExceeded (before decoding) if it is too large, and TypeError if it is not a PIL image.
    """
    if not isinstance(image, Image.Image):
        raise TypeError(f"a picture is a PIL image, not {type(image).__name__}")
    with _as_picture_errors():
        _check(image, options.max_pixels)
        return _convert(image, options)


def _convert(image: Image.Image, options: ReadOptions) -> Picture:
    png_mode, gamma = raw_mode(image), gamma_to_correct(image)
    grey = image.mode in GREY_MODES or png_mode == "LA;16B"
    scale_transparent_color(image, png_mode)
    white_is_zero = (
        image.format == "TIFF" and image.tag_v2.get(PHOTOMETRIC) == 0  # type: ignore[attr-defined]
    )
    if image.format == "PNG":
        image.load()  # reading Exif would load it too, but would hide a failure
    exif = read_exif(image)
    kept_exif = (
        descriptive_exif(exif, image.format == "TIFF") if "exif" in options.metadata else b""
    )
    if exif.get(ORIENTATION, 1) != 1:
        image = ImageOps.exif_transpose(image)
    if image.mode in WIDE_MODES:
        image = to_eight_bits(image, white_is_zero)
    if image.has_transparency_data and image.mode not in {"LA", "RGBA"}:  # avoids a copy
        image = image.convert("LA" if grey else "RGBA")
    metadata = collect_metadata(image, kept_exif, options.metadata)
    profile = None if "icc" in metadata else image.info.get("icc_profile")
    alpha = image.getchannel("A") if image.mode in {"LA", "RGBA"} else None
    if profile:
        image = to_srgb(image, profile, grey)
    pixels = to_rgb_array(image)
    if gamma:
        correct_gamma(pixels, gamma)
    if alpha is None or alpha.getextrema() == (255, 255):
        return Picture(pixels, grey, None, metadata)
    picture = Picture(pixels, grey, np.asarray(alpha), metadata)
    if options.background is not None:
        return picture.flattened(options.background)
    fill_transparent(pixels, np.asarray(alpha))
    return picture


@contextlib.contextmanager
def _as_picture_errors() -> Iterator[None]:
    """Turn all exceptions of Pillow for broken files into PictureError or LimitExceeded."""
    try:
        yield
    except OdpError:
        raise
    except UnidentifiedImageError:
        raise PictureError("not a picture in a format that can be read") from None
    except Image.DecompressionBombError as error:
        count = re.search(r"\d+", str(error))
        pixels = f"{count[0]} pixels, more" if count else "more pixels"
        raise LimitExceeded(f"the picture has {pixels} than allowed") from None
    except MemoryError as error:
        raise PictureError("there is not enough memory to read the picture") from error
    except (AssertionError, AttributeError, LookupError, TypeError) as error:
        raise PictureError("the picture cannot be read: it is damaged") from error
    except Exception as error:  # Pillow's plugins raise many types for broken files
        raise PictureError(f"the picture cannot be read: {error}") from error


def _open_file(path: Path) -> BinaryIO:
    try:
        return path.open("rb")
    except OSError as error:
        raise PictureError(f"cannot be opened: {error.strerror}") from error


def _check(image: Image.Image, max_pixels: int) -> None:
    width, height = image.size
    if width * height > max_pixels:
        raise LimitExceeded(f"the picture has {width}x{height} pixels, more than {max_pixels}")
    if max(image.size) > MAX_SIDE:
        raise LimitExceeded(
            f"the picture has {width}x{height} pixels; "
            f"{MAX_SIDE} a side is the most that the format holds"
        )
    if min(image.size) < 1:
        raise PictureError("the picture has no pixels")
    # The other frames of an MPO are additions of a camera, such as a preview or a gain map.
    if getattr(image, "is_animated", False) and image.format != "MPO":
        raise PictureError(
            "the picture has several frames or pages: only single ones can be encoded"
        )
