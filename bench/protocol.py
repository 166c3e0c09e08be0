"""Read pictures for measurements: whole, or the central square that papers use."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from PIL import Image

from onedpiece.bench import Protocol
from onedpiece.errors import OdpError
from onedpiece.images.picture import Picture
from onedpiece.images.reader import ReadOptions, open_picture
from onedpiece.images.scaling import center_square

WHITE = (255, 255, 255)


def read(path: Path, protocol: Protocol) -> Picture:
    """A picture on a white background. Raises OdpError, whose message names the file."""
    try:
        picture = open_picture(path, ReadOptions(background=WHITE))
    except OdpError as error:
        raise type(error)(f"{path}: {error}") from error
    pixels = center_crop(picture.pixels) if protocol == Protocol.paper else picture.pixels
    return Picture(pixels, picture.grey)


def center_crop(pixels: np.ndarray) -> np.ndarray:
    """uint8 (H, W, 3) -> uint8 (256, 256, 3): scale the short edge to 256, crop the long one."""
    return np.asarray(center_square(Image.fromarray(pixels)))
