"""ThumbHash (Evan Wallace), a placeholder of some 24 bytes: a reference for the smallest files."""

from __future__ import annotations

import numpy as np
from PIL import Image

MAX_EDGE = 100  # pixels; the algorithm accepts no larger picture


def encode(pixels: np.ndarray) -> bytes:
    """uint8 (H, W, 3) -> the hash. Raises ImportError if thumbhash-rs is not installed."""
    from thumbhash import rgba_to_thumb_hash

    image = Image.fromarray(pixels).convert("RGBA")
    image.thumbnail((MAX_EDGE, MAX_EDGE))
    return bytes(rgba_to_thumb_hash(*image.size, image.tobytes()))


def decode(data: bytes, width: int, height: int) -> np.ndarray:
    """The hash -> uint8 (height, width, 3). Raises ImportError if thumbhash-rs is not installed."""
    from thumbhash import thumb_hash_to_rgba

    columns, rows, rgba = thumb_hash_to_rgba(data)
    image = Image.frombytes("RGBA", (columns, rows), bytes(rgba)).convert("RGB")
    return np.asarray(image.resize((width, height), Image.Resampling.BICUBIC))
