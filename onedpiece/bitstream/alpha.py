"""Transparency as a small chunk of a file: a coarse plane, losslessly compressed."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np

from onedpiece.bitstream.chunks import compress, decompressed_pieces
from onedpiece.errors import DamagedFile, LimitExceeded

# (longest side of the picture, side of a cell whose pixels share a value), both in pixels
CELLS = ((64, 1), (128, 2), (1 << 15, 4))
STEPS = 15  # from transparent to opaque
MAX_CELL = 64
DAMAGED = "the transparency of the picture is damaged"


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
    layout = _Layout.of(data, width, height)
    plane = np.frombuffer(b"".join(_pieces(data, layout)), np.uint8)
    shades = (np.arange(256) * (255 / layout.steps)).round().clip(max=255).astype(np.uint8)
    values = shades[plane].reshape(layout.rows, layout.columns)
    from PIL import Image  # imported late: it is rarely needed

    size = layout.columns * layout.cell, layout.rows * layout.cell
    fine = Image.fromarray(values).resize(size, Image.Resampling.BILINEAR)
    return np.asarray(fine.crop((0, 0, width, height)))


def check_alpha(data: bytes, width: int, height: int) -> None:
    """Raise DamagedFile if `unpack_alpha` would, in little memory."""
    for _ in _pieces(data, _Layout.of(data, width, height)):
        pass


class _Layout(NamedTuple):
    """How the transparency of a picture is stored: cells of so many pixels a side, 0 to `steps`."""

    cell: int
    steps: int
    rows: int
    columns: int

    @classmethod
    def of(cls, data: bytes, width: int, height: int) -> _Layout:
        """Raises DamagedFile."""
        if len(data) < 2 or not 1 <= data[0] <= MAX_CELL or not data[1]:
            raise DamagedFile(DAMAGED)
        cell, steps = data[0], data[1]
        return cls(cell, steps, -(-height // cell), -(-width // cell))


def _pieces(data: bytes, layout: _Layout) -> Iterator[bytes]:
    """The values of all cells, row by row, piece by piece. Raises DamagedFile."""
    cells, length = layout.rows * layout.columns, 0
    try:
        for piece in decompressed_pieces(data[2:], cells):
            if np.frombuffer(piece, np.uint8).max(initial=0) > layout.steps:
                raise DamagedFile(DAMAGED)
            length += len(piece)
            yield piece
    except LimitExceeded as error:
        raise DamagedFile("the transparency of the picture is larger than the picture") from error
    if length != cells:
        raise DamagedFile(DAMAGED)
