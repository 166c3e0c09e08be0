"""Additions to Pillow's PNG reader: checksums, transparent colours, gamma."""

from __future__ import annotations

import numpy as np
from PIL import Image

GREY_STEPS = {"L;2": 85, "L;4": 17}  # factors by which Pillow multiplies samples of few bits
DISPLAY_GAMMA = 2.2


def verified(image: Image.Image) -> Image.Image:
    """The PNG, opened again after all its checksums were checked.

    Pillow checks those of pixels only in `verify`, after which the file must be reopened.
    """
    file = image.fp  # type: ignore[attr-defined]
    image.verify()
    file.seek(0)
    return Image.open(file, formats=["PNG"])


def raw_mode(image: Image.Image) -> str:
    """Pillow's name, such as "L;4", of the sample format of a PNG not yet decoded; else ""."""
    tile = getattr(image, "tile", None) if image.format == "PNG" else None
    return str(tile[0][3]) if tile else ""


def scale_transparent_color(image: Image.Image, mode: str) -> None:
    """Scale a PNG's transparent colour as Pillow scales the pixels that it is compared with."""
    transparent = image.info.get("transparency")
    if isinstance(transparent, int) and mode in GREY_STEPS:
        image.info["transparency"] = transparent * GREY_STEPS[mode]
    if isinstance(transparent, tuple) and mode == "RGB;16B":
        image.info["transparency"] = tuple(level >> 8 for level in transparent)


def gamma_to_correct(image: Image.Image) -> float | None:
    """The gamma of a PNG without better colour information; None if it is close to that of sRGB."""
    if image.format != "PNG" or {"icc_profile", "srgb"} & set(image.info):
        return None
    gamma = image.info.get("gamma")
    return gamma if gamma and abs(gamma * DISPLAY_GAMMA - 1) > 0.05 else None


def correct_gamma(pixels: np.ndarray, gamma: float) -> None:
    """Convert uint8 samples from a gamma to sRGB, in place (PNG specification, section 13.13)."""
    levels = (np.arange(256) / 255) ** (1 / (gamma * DISPLAY_GAMMA)) * 255
    levels = levels.round().astype(np.uint8)
    for row in pixels:
        row[:] = levels[row]
