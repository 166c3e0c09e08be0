"""What of a picture is measured: all of it, or the square that papers use."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from PIL import Image

from onedpiece.bench import Protocol
from onedpiece.errors import OdpError
from onedpiece.images.reader import Picture, Reading, open_picture
from onedpiece.tiles.grid import TILE


def read(path: Path, protocol: Protocol) -> Picture:
    """A picture file without its transparency, which goes on white. Raises OdpError, which names the file."""
    try:
        picture = open_picture(path, Reading(background=(255, 255, 255)))
    except OdpError as error:
        raise type(error)(f"{path}: {error}") from error
    pixels = central(picture.pixels) if protocol == Protocol.paper else picture.pixels
    return Picture(pixels, picture.grey)


def central(pixels: np.ndarray) -> np.ndarray:
    """uint8 (H, W, 3) -> uint8 (256, 256, 3): short edge scaled to 256, the middle of the long one."""
    image = Image.fromarray(pixels)
    if min(image.size) != TILE:
        factor = TILE / min(image.size)
        size = [max(TILE, round(edge * factor)) for edge in image.size]
        image = image.resize(size, Image.Resampling.BICUBIC)
    left, top = ((edge - TILE) // 2 for edge in image.size)
    return np.asarray(image.crop((left, top, left + TILE, top + TILE)))
