"""Colours: convert ICC profiles to sRGB and wide samples to 8 bits; flatten transparency."""

from __future__ import annotations

import io

import numpy as np
from PIL import Image, ImageColor

from onedpiece.errors import PictureError

Color = tuple[int, int, int]

STRIP = 256  # rows
GREY_MODES = {"1", "L", "LA", "La", "I", "I;16", "I;16B", "I;16L", "F"}
WIDE_MODES = {"I", "I;16", "I;16B", "I;16L", "F"}


def parse_color(color: str | Color | None) -> Color | None:
    """RGB, 0 to 255, of a colour name ("white"), hexadecimal digits ("#20a0ff") or an RGB tuple.

    None stays None. Raises ValueError for anything else.
    """
    if color is None:
        return None
    try:
        red, green, blue = ImageColor.getrgb(color)[:3] if isinstance(color, str) else color
    except (TypeError, ValueError):
        raise ValueError(f"{color!r} is not a colour: 'white', '#20a0ff' or (r, g, b)") from None
    if not all(0 <= level <= 255 for level in (red, green, blue)):
        raise ValueError(f"{color} is not a colour: levels are 0 to 255")
    return red, green, blue


def to_rgb_array(image: Image.Image) -> np.ndarray:
    """Pixels, uint8 (H, W, 3). Works in strips, since Pillow copies when it converts."""
    pixels = np.empty((image.height, image.width, 3), np.uint8)
    for top in range(0, image.height, STRIP):
        strip = image.crop((0, top, image.width, min(top + STRIP, image.height)))
        pixels[top : top + STRIP] = np.asarray(strip.convert("RGB"))
    return pixels


def to_srgb(image: Image.Image, profile: bytes, grey: bool) -> Image.Image:
    """The image in sRGB. A profile that is broken or for other channels is ignored."""
    if image.mode not in {"RGB", "CMYK", "L"}:
        image = image.convert("L" if grey else "RGB")
    from PIL import ImageCms  # takes milliseconds, and decoding does not need it

    try:
        source = ImageCms.ImageCmsProfile(io.BytesIO(profile))
        converted = ImageCms.profileToProfile(
            image, source, ImageCms.createProfile("sRGB"), outputMode="RGB"
        )
    except (ImageCms.PyCMSError, OSError, ValueError):
        return image
    return converted or image


def blend(pixels: np.ndarray, alpha: np.ndarray, background: Color) -> np.ndarray:
    """Pixels, uint8 (H, W, 3), with alpha, uint8 (H, W), over a background colour."""
    canvas = Image.new("RGB", (pixels.shape[1], pixels.shape[0]), background)
    canvas.paste(Image.fromarray(pixels), mask=Image.fromarray(alpha))
    return np.asarray(canvas)


def fill_transparent(pixels: np.ndarray, alpha: np.ndarray) -> None:
    """Set invisible pixels to the mean colour of the others, in place, so that they cost little."""
    total, visible_count = np.zeros(3), 0
    for row, opacity in zip(pixels, alpha, strict=True):
        visible = row[opacity > 0]
        total += visible.sum(0)
        visible_count += len(visible)
    mean = (total / max(visible_count, 1)).round().astype(np.uint8)
    for row, opacity in zip(pixels, alpha, strict=True):
        row[opacity == 0] = mean


def to_eight_bits(image: Image.Image, white_is_zero: bool) -> Image.Image:
    """Grey of 16 bits (wider samples are clipped) to 8 bits, with alpha if a level is transparent.

    Raises PictureError for floating-point samples.
    """
    if image.mode == "F":
        raise PictureError("floating-point pictures have no defined range")
    wide, info = np.asarray(image), dict(image.info)
    transparent = info.pop("transparency", None)
    narrow = np.empty(wide.shape, np.uint8)
    for row, samples in zip(narrow, wide, strict=True):  # row by row: pictures are large
        row[:] = (samples.astype(np.int64).clip(0, 65535) + 128) // 257
        if white_is_zero:
            row[:] = 255 - row
    grey = Image.fromarray(narrow)
    if transparent is not None:
        alpha = np.where(wide == transparent, np.uint8(0), np.uint8(255))
        grey.putalpha(Image.fromarray(alpha))
    grey.info = info
    return grey
