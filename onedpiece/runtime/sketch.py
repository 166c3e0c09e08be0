"""A sketch of a tile: what its tokens say, before any network repairs it. NumPy only.

The tokens of a spectral token set are vectors of cosine coefficients (docs/format.md). A sketch
takes about a millisecond, and its error tells how good the decoded tile will be.
"""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from onedpiece.constants import CODEBOOK_SIZE, TILE
from onedpiece.models.tensors import read_tensor

TABLES = ("colour", "class_mean", "class_of", "order", "scale", "block_sizes", "codebooks")


class Sketcher:
    """Sketches tiles of one token set.

    tables: arrays by name, as in the token set's file, without the prefix "quantize.".
    """

    def __init__(self, tables: dict[str, NDArray[Any]]) -> None:
        self._tables = tables
        self._block_of = np.repeat(np.arange(len(tables["block_sizes"])), tables["block_sizes"])
        self._frequencies = round((tables["class_mean"].shape[1] / 3) ** 0.5)
        self._basis = _cosine_basis(self._frequencies)

    def sketch(self, tokens: NDArray[np.integer]) -> NDArray[np.float32]:
        """The first K tokens of a tile, (K,) -> pixels float32 (256, 256, 3) in 0..255.

        Without any token, it is the mean of the first class.
        """
        tables, count = self._tables, len(tokens)
        class_id = tables["class_of"][tokens[0]] if count else 0
        codes = tables["codebooks"][tokens + self._block_of[:count] * CODEBOOK_SIZE]
        values = codes.astype(np.float32) * tables["scale"][class_id, :count, None]
        coefficients = tables["class_mean"][class_id].astype(np.float32)
        np.add.at(coefficients, tables["order"][class_id, :count], values)
        spectrum = tables["colour"] @ coefficients.reshape(3, -1)
        spectrum = spectrum.reshape(3, self._frequencies, self._frequencies)
        pixels = self._basis.T @ spectrum @ self._basis
        return np.asarray((255 * pixels.transpose(1, 2, 0)).clip(0, 255), np.float32)


@cache
def load_sketcher(token_set: Path, _fingerprint: str) -> Sketcher | None:
    """The sketcher of a token set's file; None if its tokens are not spectral. Cached.

    Raises ModelError if the file cannot be read.
    """
    tables = {name: read_tensor(token_set, f"quantize.{name}") for name in TABLES}
    present = {name: table for name, table in tables.items() if table is not None}
    return Sketcher(present) if len(present) == len(TABLES) else None


def _cosine_basis(frequencies: int) -> NDArray[np.float32]:
    """The orthonormal DCT-II of 256 points, (frequencies, 256)."""
    k, x = np.arange(frequencies)[:, None], (np.arange(TILE) + 0.5) / TILE
    basis = np.cos(np.pi * k * x) * np.sqrt(2 / TILE)
    basis[0] /= np.sqrt(2)
    return np.asarray(basis, np.float32)
