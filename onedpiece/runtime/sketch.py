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

from onedpiece.constants import CODEBOOK_SIZE, MAX_TOKENS, TILE
from onedpiece.models.tensors import read_tensor

Floats = NDArray[np.float32]

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

    def sketch(self, tokens: NDArray[np.integer]) -> Floats:
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

    def errors(self, tiles: NDArray[np.uint8], tokens: NDArray[np.integer]) -> Floats:
        """The squared error of sketches of the first 0 to 256 tokens, float32 (B, 257).

        tiles:  uint8 (B, 256, 256, 3).
        tokens: (B, 256).

        It is summed over pixels and channels in 0..1, and counts values out of that range as they
        are. Coefficients are orthonormal, so that no sketch has to be made.
        """
        tables, count = self._tables, len(tiles)
        pixels = tiles.transpose(0, 3, 1, 2).astype(np.float32) / 255
        spectrum = (self._basis @ pixels @ self._basis.T).reshape(count, 3, -1)
        coefficients = (tables["colour"].T @ spectrum).reshape(count, -1)
        class_id = tables["class_of"][tokens[:, 0]]
        residual = coefficients - tables["class_mean"][class_id]
        errors = np.empty((count, MAX_TOKENS + 1), np.float32)
        beyond = _energy(pixels.reshape(count, -1)) - _energy(coefficients)
        errors[:, 0] = beyond + _energy(residual)
        first = 0
        for block, size in enumerate(tables["block_sizes"]):
            span = slice(first, first + size)
            codes = tables["codebooks"][tokens[:, span] + np.int64(block * CODEBOOK_SIZE)]
            values = codes * tables["scale"][class_id, span, None].astype(np.float32)
            # No block codes a coefficient twice (`onedpiece.training.fit`).
            order = tables["order"][class_id, span].reshape(count, -1)
            before = np.take_along_axis(residual, order, 1).reshape(values.shape)
            after = before - values
            np.put_along_axis(residual, order, after.reshape(count, -1), 1)
            steps = (_energy(after) - _energy(before)).cumsum(1)
            errors[:, first + 1 : first + size + 1] = errors[:, first, None] + steps
            first += size
        return errors


@cache
def load_sketcher(token_set: Path, _fingerprint: str) -> Sketcher | None:
    """The sketcher of a token set's file; None if its tokens are not spectral. Cached.

    Raises ModelError if the file cannot be read.
    """
    tables = {name: read_tensor(token_set, f"quantize.{name}") for name in TABLES}
    present = {name: table for name, table in tables.items() if table is not None}
    return Sketcher(present) if len(present) == len(TABLES) else None


def _energy(values: NDArray[Any]) -> NDArray[Any]:
    """Sum of squares along the last axis."""
    energy: NDArray[Any] = np.square(values).sum(-1)
    return energy


def _cosine_basis(frequencies: int) -> Floats:
    """The orthonormal DCT-II of 256 points, (frequencies, 256)."""
    k, x = np.arange(frequencies)[:, None], (np.arange(TILE) + 0.5) / TILE
    basis = np.cos(np.pi * k * x) * np.sqrt(2 / TILE)
    basis[0] /= np.sqrt(2)
    return np.asarray(basis, np.float32)
