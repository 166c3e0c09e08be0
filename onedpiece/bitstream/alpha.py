"""Transparency as a small chunk of a file: a coarse plane, losslessly compressed."""

from __future__ import annotations

import numpy as np

from onedpiece.bitstream.chunks import compress, decompress
from onedpiece.errors import DamagedFile, LimitExceeded

# (longest side of the picture, side of a cell whose pixels share a value), both in pixels
CELLS = ((64, 1), (128, 2), (1 << 15, 4))
STEPS = 15  # from transparent to opaque
MAX_CELL = 64


def pack_alpha(alpha: np.ndarray) -> bytes:
    """uint8 (H, W), 0 transparent to 255 opaque, sides at most 32768 -> data of a chunk."""
    height, width = alpha.shape
    cell = next(cell for longest, cell in CELLS if max(height, width) <= longest)
    rows, columns = -(-height // cell), -(-width // cell)
    padded = np.pad(alpha, ((0, rows * cell - height), (0, columns * cell - width)), "edge")
    means = padded.reshape(rows, cell, columns, cell).mean((1, 3), dtype=np.float32)
    plane = (means * (STEPS / 255)).round().astype(np.uint8)
    return bytes([cell, STEPS]) + compress(plane.tobytes())


def unpack_alpha(data: bytes, width: int, height: int) -> np.ndarray:
    """Data of a chunk -> alpha, uint8 (H, W), interpolated bilinearly between centres of cells.

    Raises DamagedFile for other data.
    """
    if len(data) < 2 or not 1 <= data[0] <= MAX_CELL or not data[1]:
        raise DamagedFile("the transparency of the picture is damaged")
    cell, steps = data[0], data[1]
    rows, columns = -(-height // cell), -(-width // cell)
    try:
        plane = np.frombuffer(decompress(data[2:], rows * columns), np.uint8)
    except LimitExceeded as error:
        raise DamagedFile("the transparency of the picture is larger than the picture") from error
    if len(plane) != rows * columns or plane.max() > steps:
        raise DamagedFile("the transparency of the picture is damaged")
    shades = (np.arange(256) * (255 / steps)).round().clip(max=255).astype(np.uint8)
    values = shades[plane].reshape(rows, columns)
    from PIL import Image  # imported late: it is rarely needed

    fine = Image.fromarray(values).resize((columns * cell, rows * cell), Image.Resampling.BILINEAR)
    return np.asarray(fine.crop((0, 0, width, height)))
