"""Pictures as the codec sees them: upright, sRGB, 8 bits, transparency and metadata set aside; and back."""

from __future__ import annotations

import contextlib
import io
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import BinaryIO

import numpy as np
from PIL import Image, ImageCms, ImageOps, UnidentifiedImageError

from onedpiece.bitstream import MAGIC, MAX_PIXELS
from onedpiece.errors import LimitExceeded, OdpError, PictureError

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

ORIENTATION = 0x0112  # Exif
STRIP = 256  # rows

DESCRIPTIVE = {0x010E, 0x010F, 0x0110, ORIENTATION, 0x0131, 0x0132, 0x013B, 0x8298, 0x8769, 0x8825}
"""Tags of Exif that say something about the picture: description, camera, author, time, place."""

PROFILE_OF = {"RGB": b"RGB ", "RGBA": b"RGB ", "L": b"GRAY", "LA": b"GRAY"}
"""Colour space that an ICC profile must name to fit a mode."""

GREY_MODES = {"1", "L", "LA", "La", "I", "I;16", "I;16B", "I;16L", "F"}
WIDE_MODES = {"I", "I;16", "I;16B", "I;16L", "F"}

METADATA = {"exif": ("exif",), "icc": ("icc_profile",), "xmp": ("xmp", "XML:com.adobe.xmp")}
"""Kinds of metadata, and what Pillow calls them."""

Colour = tuple[int, int, int]


@dataclass(frozen=True)
class Picture:
    """pixels:   uint8 (H, W, 3), RGB.
    grey:     whether the source had no colour channels.
    alpha:    uint8 (H, W), 0 transparent to 255 opaque; None if the picture is opaque.
    metadata: "exif", "icc", "xmp" -> bytes, as far as they were asked for and are there.
    """

    pixels: np.ndarray
    grey: bool
    alpha: np.ndarray | None = None
    metadata: dict[str, bytes] = field(default_factory=dict)


@dataclass(frozen=True)
class Reading:
    """How to read pictures.

    max_pixels: larger ones are refused.
    background: colour to put behind transparent pixels; None keeps transparency.
    metadata:   kinds of METADATA to keep. With "icc" pixels stay in the profile's colours, else they become sRGB.
    """

    max_pixels: int = MAX_PIXELS
    background: Colour | None = None
    metadata: frozenset[str] = frozenset()


def open_picture(source: Path | bytes, reading: Reading = Reading()) -> Picture:
    """Read a picture file in one of FORMATS.

    Raises PictureError if it cannot be read, LimitExceeded (before decoding) if it is too large.
    """
    with open_lazily(source) as image:
        return from_pillow(image, reading)


@contextlib.contextmanager
def open_lazily(source: Path | bytes) -> Iterator[Image.Image]:
    """A picture file of which only the beginning has been read. Raises PictureError."""
    file: BinaryIO = io.BytesIO(source) if isinstance(source, bytes) else _open_file(source)
    with file:
        if file.read(len(MAGIC)) == MAGIC:
            raise PictureError("this is an .odp picture already")
        file.seek(0)
        with _own_errors(), Image.open(file, formats=FORMATS) as image:
            yield image


def suffixes() -> set[str]:
    """Endings, such as ".png", of the names of files in FORMATS."""
    Image.init()
    return {suffix for suffix, name in Image.registered_extensions().items() if name in FORMATS}


def from_pillow(image: Image.Image, reading: Reading = Reading()) -> Picture:
    """Upright, in sRGB, 8 bits.

    Raises PictureError for a picture of no pixels, of several frames, or that turns out to be broken, and
    LimitExceeded (before decoding) if it is too large.
    """
    with _own_errors():
        _check(image, reading.max_pixels)
        return _from_pillow(image, reading)


def _from_pillow(image: Image.Image, reading: Reading) -> Picture:
    grey = image.mode in GREY_MODES
    if _exif(image).get(ORIENTATION, 1) != 1:
        image = ImageOps.exif_transpose(image)
    metadata = _metadata(image, reading.metadata)
    profile = None if "icc" in metadata else image.info.get("icc_profile")
    if image.mode in WIDE_MODES:
        image = _eight_bits(image)
    alpha = None
    if image.has_transparency_data:
        if image.mode not in {"LA", "RGBA"}:  # converting to the same mode would be a copy
            image = image.convert("LA" if image.mode == "La" else "RGBA")
        alpha = image.getchannel("A")
    if profile:
        image = _to_srgb(image, profile)
    pixels = _rgb(image)
    if alpha is None or alpha.getextrema() == (255, 255):
        return Picture(pixels, grey, None, metadata)
    picture = Picture(pixels, grey, np.asarray(alpha), metadata)
    if reading.background is not None:
        return flattened(picture, reading.background)
    _fill_hidden(picture)
    return picture


def _rgb(image: Image.Image) -> np.ndarray:
    """Pixels uint8 (H, W, 3), strip by strip: Pillow makes copies, and pictures are large."""
    pixels = np.empty((image.height, image.width, 3), np.uint8)
    for top in range(0, image.height, STRIP):
        strip = image.crop((0, top, image.width, min(top + STRIP, image.height)))
        pixels[top : top + STRIP] = np.asarray(strip.convert("RGB"))
    return pixels


def to_pillow(picture: Picture) -> Image.Image:
    """Mode "L" for a grey picture, else "RGB"; "LA" or "RGBA" with transparency. Metadata is in `info`."""
    image = Image.fromarray(picture.pixels)
    if picture.grey:
        image = image.convert("L")
    if picture.alpha is not None:
        image.putalpha(Image.fromarray(picture.alpha))
    for kind, data in picture.metadata.items():
        image.info[METADATA[kind][0]] = data
    return image


def flattened(picture: Picture, background: Colour) -> Picture:
    """The picture on a colour, without transparency."""
    if picture.alpha is None:
        return picture
    grey = picture.grey and len(set(background)) == 1
    pixels = _flatten(picture.pixels, picture.alpha, background)
    return Picture(pixels, grey, None, picture.metadata)


def _metadata(image: Image.Image, wanted: frozenset[str]) -> dict[str, bytes]:
    found = {}
    for kind in sorted(wanted):
        value = next((image.info[name] for name in METADATA[kind] if name in image.info), None)
        if kind == "exif":
            exif = _exif(image)
            value = exif.tobytes() if len(exif) else None
        if kind == "icc" and value and value[16:20] != PROFILE_OF.get(image.mode):
            value = None  # says nothing about the channels that are left
        if value:
            found[kind] = value.encode() if isinstance(value, str) else bytes(value)
    return found


def _exif(image: Image.Image) -> Image.Exif:
    """Exif tags, none if they are broken; of a TIFF only what does not describe the file itself."""
    try:
        exif = image.getexif()
    except Exception:  # whatever Pillow's parser stumbles over
        return Image.Exif()
    if image.format == "TIFF":
        for tag in set(exif) - DESCRIPTIVE:
            del exif[tag]
    return exif


def _to_srgb(image: Image.Image, profile: bytes) -> Image.Image:
    """Colours of an ICC profile as sRGB. A broken profile, or one for other channels, is as good as none."""
    if image.mode not in {"RGB", "CMYK", "L"}:
        image = image.convert("RGB")
    try:
        source = ImageCms.ImageCmsProfile(io.BytesIO(profile))
        converted = ImageCms.profileToProfile(
            image, source, ImageCms.createProfile("sRGB"), outputMode="RGB"
        )
    except (ImageCms.PyCMSError, OSError, ValueError):
        return image
    return converted or image


def _flatten(pixels: np.ndarray, alpha: np.ndarray, background: Colour) -> np.ndarray:
    behind = Image.new("RGB", (pixels.shape[1], pixels.shape[0]), background)
    behind.paste(Image.fromarray(pixels), mask=Image.fromarray(alpha))
    return np.asarray(behind)


def _fill_hidden(picture: Picture) -> None:
    """Give pixels that nobody sees the mean colour of the others, in place: no token is lost on them."""
    assert picture.alpha is not None
    total, seen = np.zeros(3), 0
    for row, opacity in zip(picture.pixels, picture.alpha, strict=True):
        shown = row[opacity > 0]
        total += shown.sum(0)
        seen += len(shown)
    mean = (total / max(seen, 1)).round().astype(np.uint8)
    for row, opacity in zip(picture.pixels, picture.alpha, strict=True):
        row[opacity == 0] = mean


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


def _check(image: Image.Image, max_pixels: int) -> None:
    width, height = image.size
    if width * height > max_pixels:
        raise LimitExceeded(f"the picture has {width}x{height} pixels, more than {max_pixels}")
    if min(image.size) < 1:
        raise PictureError("the picture has no pixels")
    # The further frames of an MPO are what a camera adds to a JPEG, such as a preview or a gain map.
    if getattr(image, "is_animated", False) and image.format != "MPO":
        raise PictureError(
            "the picture has several frames or pages: only single ones can be encoded"
        )


def _eight_bits(image: Image.Image) -> Image.Image:
    """16-bit (or wider, clipped) grey to 8-bit grey."""
    if image.mode == "F":
        raise PictureError("floating-point pictures have no defined range")
    wide = np.asarray(image)
    narrow = np.empty(wide.shape, np.uint8)
    for row, levels in zip(narrow, wide, strict=True):  # row by row: pictures are large
        row[:] = (levels.astype(np.int64).clip(0, 65535) + 128) // 257
    return Image.fromarray(narrow)
