"""Pictures as the codec sees them: upright, sRGB, 8 bits, transparency and metadata set aside; and back."""

from __future__ import annotations

import contextlib
import io
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import BinaryIO

import numpy as np
from PIL import Image, ImageCms, ImageOps, UnidentifiedImageError

from onedpiece.bitstream import MAGIC, MAX_PIXELS, MAX_SIDE
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

GREY_STEPS = {"L;2": 85, "L;4": 17}  # by which Pillow multiplies samples of few bits
DISPLAY_GAMMA = 2.2
PHOTOMETRIC = 262  # tag of TIFF

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
        _check(image, reading.max_pixels)
        return from_pillow(_verified(image) if image.format == "PNG" else image, reading)


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


def _verified(image: Image.Image) -> Image.Image:
    """A PNG whose checksums are right: Pillow looks at those of pixels only when asked to, and then needs a new start."""
    file = image.fp  # type: ignore[attr-defined]
    image.verify()
    file.seek(0)
    return Image.open(file, formats=["PNG"])


def suffixes() -> set[str]:
    """Endings, such as ".png", of the names of files in FORMATS."""
    Image.init()
    return {suffix for suffix, name in Image.registered_extensions().items() if name in FORMATS}


def from_pillow(image: Image.Image, reading: Reading = Reading()) -> Picture:
    """Upright, in sRGB, 8 bits.

    Raises PictureError for a picture of no pixels, of several frames, or that turns out to be broken, and
    LimitExceeded (before decoding) if it is too large, TypeError for what is no PIL image.
    """
    if not isinstance(image, Image.Image):
        raise TypeError(f"a picture is a PIL image, not {type(image).__name__}")
    with _own_errors():
        _check(image, reading.max_pixels)
        return _from_pillow(image, reading)


def _from_pillow(image: Image.Image, reading: Reading) -> Picture:
    stored, gamma = _stored(image), _gamma(image)
    grey = image.mode in GREY_MODES or stored == "LA;16B"
    _scale_key(image, stored)
    white_is_zero = image.format == "TIFF" and image.tag_v2.get(PHOTOMETRIC) == 0  # type: ignore[attr-defined]
    if image.format == "PNG":
        image.load()  # as looking for Exif does too, but that must not hide a failure
    exif = _exif(image)
    told = _described(exif, image.format == "TIFF") if "exif" in reading.metadata else b""
    if exif.get(ORIENTATION, 1) != 1:
        image = ImageOps.exif_transpose(image)
    if image.mode in WIDE_MODES:
        image = _eight_bits(image, white_is_zero)
    if image.has_transparency_data and image.mode not in {"LA", "RGBA"}:  # or it would be a copy
        image = image.convert("LA" if grey else "RGBA")
    metadata = _metadata(image, told, reading.metadata)
    profile = None if "icc" in metadata else image.info.get("icc_profile")
    alpha = image.getchannel("A") if image.mode in {"LA", "RGBA"} else None
    if profile:
        image = _to_srgb(image, profile, grey)
    pixels = _rgb(image)
    if gamma:
        _correct(pixels, gamma)
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


def in_srgb(picture: Picture) -> Picture:
    """The picture in the colours of sRGB instead of those of its ICC profile, if it has one."""
    metadata = dict(picture.metadata)
    profile = metadata.pop("icc", None)
    if profile is None:
        return picture
    image = _to_srgb(Image.fromarray(picture.pixels), profile, picture.grey)
    return Picture(_rgb(image), picture.grey, picture.alpha, metadata)


def _stored(image: Image.Image) -> str:
    """How samples lie in a PNG file that is not decoded yet, in Pillow's words, such as "L;4"; else nothing."""
    tile = getattr(image, "tile", None) if image.format == "PNG" else None
    return str(tile[0][3]) if tile else ""


def _scale_key(image: Image.Image, stored: str) -> None:
    """Scale a PNG's transparent colour as Pillow scales the pixels that it compares with it."""
    key = image.info.get("transparency")
    if isinstance(key, int) and stored in GREY_STEPS:
        image.info["transparency"] = key * GREY_STEPS[stored]
    if isinstance(key, tuple) and stored == "RGB;16B":
        image.info["transparency"] = tuple(level >> 8 for level in key)


def _gamma(image: Image.Image) -> float | None:
    """The gamma of a PNG, where nothing better says what its samples mean and it is not about that of sRGB."""
    if image.format != "PNG" or {"icc_profile", "srgb"} & set(image.info):
        return None
    gamma = image.info.get("gamma")
    return gamma if gamma and abs(gamma * DISPLAY_GAMMA - 1) > 0.05 else None


def _correct(pixels: np.ndarray, gamma: float) -> None:
    """Samples of a gamma to those of sRGB, in place (PNG specification, "Decoder gamma handling")."""
    levels = (np.arange(256) / 255) ** (1 / (gamma * DISPLAY_GAMMA)) * 255
    levels = levels.round().astype(np.uint8)
    for row in pixels:
        row[:] = levels[row]


def _metadata(image: Image.Image, exif: bytes, wanted: frozenset[str]) -> dict[str, bytes]:
    found = {}
    for kind in sorted(wanted):
        value = next((image.info[name] for name in METADATA[kind] if name in image.info), None)
        if kind == "exif":
            value = exif
        if kind == "icc" and value and value[16:20] != PROFILE_OF.get(image.mode):
            value = None  # says nothing about the channels that are left
        if value:
            found[kind] = value.encode() if isinstance(value, str) else bytes(value)
    return found


def _exif(image: Image.Image) -> Image.Exif:
    """Exif tags, none if they are broken."""
    try:
        return image.getexif()
    except Exception:  # whatever Pillow's parser stumbles over
        return Image.Exif()


def _described(exif: Image.Exif, tiff: bool) -> bytes:
    """Exif without the orientation, and of a TIFF only what does not describe the file itself; b"" if nothing is left."""
    copy = Image.Exif()
    with contextlib.suppress(Exception):  # tags that Pillow can read, but not write
        copy.load(exif.tobytes())
    for tag in set(copy):
        if tag == ORIENTATION or (tiff and tag not in DESCRIPTIVE):
            del copy[tag]
    return copy.tobytes() if len(copy) else b""


def _to_srgb(image: Image.Image, profile: bytes, grey: bool) -> Image.Image:
    """Colours of an ICC profile as sRGB. A broken profile, or one for other channels, is as good as none."""
    if image.mode not in {"RGB", "CMYK", "L"}:
        image = image.convert("L" if grey else "RGB")
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
    except Image.DecompressionBombError as error:
        count = re.search(r"\d+", str(error))
        told = f"{count[0]} pixels, " if count else ""
        raise LimitExceeded(f"the picture has {told}far more pixels than allowed") from None
    except (AssertionError, AttributeError, LookupError, TypeError) as error:
        raise PictureError("the picture cannot be read: it is damaged") from error
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
    if max(image.size) > MAX_SIDE:
        raise LimitExceeded(
            f"the picture has {width}x{height} pixels; "
            f"{MAX_SIDE} a side is the most that the format holds"
        )
    if min(image.size) < 1:
        raise PictureError("the picture has no pixels")
    # The further frames of an MPO are what a camera adds to a JPEG, such as a preview or a gain map.
    if getattr(image, "is_animated", False) and image.format != "MPO":
        raise PictureError(
            "the picture has several frames or pages: only single ones can be encoded"
        )


def _eight_bits(image: Image.Image, white_is_zero: bool) -> Image.Image:
    """16-bit (or wider, clipped) grey to 8-bit grey, with alpha if there is a transparent colour."""
    if image.mode == "F":
        raise PictureError("floating-point pictures have no defined range")
    wide, info = np.asarray(image), dict(image.info)
    key = info.pop("transparency", None)
    narrow = np.empty(wide.shape, np.uint8)
    for row, levels in zip(narrow, wide, strict=True):  # row by row: pictures are large
        row[:] = (levels.astype(np.int64).clip(0, 65535) + 128) // 257
        if white_is_zero:
            row[:] = 255 - row
    grey = Image.fromarray(narrow)
    if key is not None:
        grey.putalpha(Image.fromarray(np.where(wide == key, np.uint8(0), np.uint8(255))))
    grey.info = info
    return grey
