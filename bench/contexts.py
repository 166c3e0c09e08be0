"""What contexts would take off a file: python -m onedpiece.bench.contexts PICTURES...

Static tables know the position of a token. What is known besides when it is decoded is how large the vectors before it
are, in its own tile and in tiles that are there already. Whether that helps is measured with ideal adaptive tables:
codes of alike magnitude are counted together for each of some contexts, over all other pictures.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from onedpiece.bench.protocol import Protocol, read
from onedpiece.entropy.tables import GROUP_OF, GROUP_SIZES, TOTAL
from onedpiece.models.registry import find
from onedpiece.models.tensors import read_tensor
from onedpiece.runtime.onnx import OnnxRuntime
from onedpiece.tiles import join as tiles
from onedpiece.tiles.grid import Grid

MAGNITUDES = 12  # classes of codes, by the size of their vectors
CONTEXTS = 10
PRIOR = 5.0  # what every class counts before any code has been seen
INERTIA = 8  # vectors of usual size that go into a mean, so that few do not make it jump


def main(paths: Sequence[Path]) -> None:
    """Print bytes a tile by static tables, and with contexts of each kind."""
    model = find("default")
    pictures = [read(path, Protocol.native).pixels for path in paths]
    grids = [Grid(pixels.shape[1], pixels.shape[0], 0) for pixels in pictures]
    runtime = OnnxRuntime(model, "cpu")
    tokens = [
        runtime.encode(np.stack(list(tiles.split(pixels, grid))))
        for pixels, grid in zip(pictures, grids, strict=True)
    ]
    books = _Books(model.path / "weights.safetensors")
    sizes = [books.standard_size(known) for known in tokens]
    own = [_mean_before(size) for size in sizes]
    near = [_neighbours(size, grid) for size, grid in zip(sizes, grids, strict=True)]
    kinds = {
        "none": [np.zeros_like(x) for x in own],
        "vectors before it in its tile": own,
        "the same and tiles before it": [0.6 * x + 0.4 * y for x, y in zip(own, near, strict=True)],
        "tiles before it": near,
    }
    static = np.mean([books.bits(known).sum(1).mean() for known in tokens]) / 8
    count = sum(len(known) for known in tokens)
    print(f"{len(paths)} pictures, {count} tiles, 256 tokens: {static:.1f} bytes a tile\n")
    print("| context | bytes a tile saved | % |\n|---|---|---|")
    for name, contexts in kinds.items():
        saved = _saved(contexts, [books.magnitude(known) for known in tokens], books) / count / 8
        print(f"| {name} | {saved:.2f} | {100 * saved / static:.2f} |")


class _Books:
    """What the codes of each position are like: how likely, and how large their vectors."""

    def __init__(self, weights: Path) -> None:
        frequency, blocks, vectors = (
            read_tensor(weights, f"quantize.{name}")
            for name in ("frequency", "block_sizes", "codebooks")
        )
        assert frequency is not None and blocks is not None and vectors is not None
        self._block = np.repeat(np.arange(len(blocks)), blocks)
        self._share = (frequency / TOTAL / GROUP_SIZES)[:, GROUP_OF]
        squares = np.square(vectors.astype(np.float64)).mean(1).reshape(self._share.shape)
        size = np.log2(squares + 0.02)
        mean = (self._share * size).sum(1, keepdims=True)
        self._size = (size - mean) / np.sqrt(
            (self._share * (size - mean) ** 2).sum(1, keepdims=True)
        )
        order = size.argsort(1)
        below = np.take_along_axis(self._share, order, 1).cumsum(1)
        self._magnitude = np.empty(size.shape, int)
        ranks = (below * MAGNITUDES).astype(int).clip(max=MAGNITUDES - 1)
        np.put_along_axis(self._magnitude, order, ranks, 1)

    def bits(self, tokens: np.ndarray) -> np.ndarray:
        return -np.log2(self._share[self._block, tokens])

    def standard_size(self, tokens: np.ndarray) -> np.ndarray:
        """Log of the vectors' squares, (B, 256), of mean 0 and variance 1 by the static tables; 0 for first tokens."""
        return self._size[self._block, tokens] * (np.arange(tokens.shape[1]) > 0)

    def magnitude(self, tokens: np.ndarray) -> np.ndarray:
        return self._magnitude[self._block, tokens]

    def chance(self) -> np.ndarray:
        """Of each class of magnitudes at each position, by the static tables: (256, MAGNITUDES)."""
        of_block = [
            np.bincount(magnitude, share, MAGNITUDES)
            for magnitude, share in zip(self._magnitude, self._share, strict=True)
        ]
        return np.array(of_block)[self._block]


def _mean_before(sizes: np.ndarray) -> np.ndarray:
    """Mean of the sizes before each position, (B, 256)."""
    total = sizes.cumsum(1) - sizes
    return total / (np.arange(sizes.shape[1]) + INERTIA)


def _neighbours(sizes: np.ndarray, grid: Grid) -> np.ndarray:
    """Mean of the sizes up to each position in the tiles left, above left, above and above right, (B, 256)."""
    known = sizes.cumsum(1) / (np.arange(sizes.shape[1]) + INERTIA)
    known = known.reshape(grid.rows, grid.columns, -1)
    means = np.zeros_like(known)
    for row in range(grid.rows):
        for column in range(grid.columns):
            places = [(row, column - 1), *((row - 1, column + step) for step in (-1, 0, 1))]
            found = [known[y, x] for y, x in places if y >= 0 and 0 <= x < grid.columns]
            if found:
                means[row, column] = np.mean(found, 0)
    return means.reshape(sizes.shape)


def _saved(contexts: list[np.ndarray], magnitudes: list[np.ndarray], books: _Books) -> float:
    """Bits of all tiles, if the magnitude's chance is what all other pictures had in the same context."""
    edges = np.quantile(np.concatenate(contexts)[:, 1:], np.arange(1, CONTEXTS) / CONTEXTS)
    seen = [np.searchsorted(edges, context)[:, 1:] for context in contexts]
    counts = []
    for context, magnitude in zip(seen, magnitudes, strict=True):
        pairs = context * MAGNITUDES + magnitude[:, 1:]
        counts.append(np.bincount(pairs.ravel(), minlength=CONTEXTS * MAGNITUDES))
    everything, static, bits = np.sum(counts, 0), books.chance()[1:], 0.0
    for context, magnitude, own in zip(seen, magnitudes, counts, strict=True):
        table = (everything - own).reshape(CONTEXTS, MAGNITUDES) + PRIOR
        table /= table.sum(1, keepdims=True)
        now = magnitude[:, 1:]
        before = static[np.arange(static.shape[0]), now]
        bits += float(np.log2(table[context, now] / before).sum())
    return bits


if __name__ == "__main__":
    main(list(map(Path, sys.argv[1:])))
