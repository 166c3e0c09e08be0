"""How many bytes context modelling of the tokens would save.

    python -m onedpiece.bench.ablations.contexts PICTURES...

The static tables that ship depend on the position of a token only. A decoder also knows the
magnitudes of the vectors before it, in the same tile and in tiles decoded earlier. What they are
worth is measured with ideal adaptive tables: for each context, counts of classes of magnitude over
all other pictures.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from onedpiece.bench import Protocol
from onedpiece.bench.protocol import read
from onedpiece.entropy.tables import GROUP_OF, GROUP_SIZES, TOTAL
from onedpiece.models.registry import find
from onedpiece.models.tensors import read_tensor
from onedpiece.runtime.onnx import OnnxRuntime
from onedpiece.tiles.grid import Grid
from onedpiece.tiles.split import split

MAGNITUDES = 12  # classes of codes, by the length of their vectors
CONTEXTS = 10
PRIOR = 5.0  # pseudo-count of every class
INERTIA = 8  # pseudo-count of vectors of average length in each mean, to steady short prefixes


def main(paths: Sequence[Path]) -> None:
    """Print the bytes per tile with static tables, and the savings of each kind of context."""
    model = find("default")
    pictures = [read(path, Protocol.native).pixels for path in paths]
    grids = [Grid(pixels.shape[1], pixels.shape[0], 0) for pixels in pictures]
    runtime = OnnxRuntime(model, "cpu")
    tokens = [
        runtime.encode(np.stack(list(split(pixels, grid))))
        for pixels, grid in zip(pictures, grids, strict=True)
    ]
    codebooks = _Codebooks(model.token_set_file)
    lengths = [codebooks.standard_length(rows) for rows in tokens]
    within = [_mean_before(length) for length in lengths]
    across = [_neighbours(length, grid) for length, grid in zip(lengths, grids, strict=True)]
    kinds = {
        "none": [np.zeros_like(context) for context in within],
        "vectors before it in its tile": within,
        "the same and tiles before it": [
            0.6 * x + 0.4 * y for x, y in zip(within, across, strict=True)
        ],
        "tiles before it": across,
    }
    static = np.mean([codebooks.bits(rows).sum(1).mean() for rows in tokens]) / 8
    count = sum(len(rows) for rows in tokens)
    print(f"{len(paths)} pictures, {count} tiles, 256 tokens: {static:.1f} bytes a tile\n")
    print("| context | bytes a tile saved | % |\n|---|---|---|")
    magnitudes = [codebooks.magnitude(rows) for rows in tokens]
    for name, contexts in kinds.items():
        saved = _saved(contexts, magnitudes, codebooks) / count / 8
        print(f"| {name} | {saved:.2f} | {100 * saved / static:.2f} |")


class _Codebooks:
    """Probability and vector length of each code, by the block of positions that it belongs to."""

    def __init__(self, token_set: Path) -> None:
        frequency, blocks, vectors = (
            read_tensor(token_set, f"quantize.{name}")
            for name in ("frequency", "block_sizes", "codebooks")
        )
        assert frequency is not None and blocks is not None and vectors is not None
        self._block = np.repeat(np.arange(len(blocks)), blocks)
        self._probability = (frequency / TOTAL / GROUP_SIZES)[:, GROUP_OF]
        squares = np.square(vectors.astype(np.float64)).mean(1).reshape(self._probability.shape)
        log_length = np.log2(squares + 0.02)
        centred = log_length - (self._probability * log_length).sum(1, keepdims=True)
        deviation = np.sqrt((self._probability * centred**2).sum(1, keepdims=True))
        self._length = centred / deviation
        order = log_length.argsort(1)
        cumulative = np.take_along_axis(self._probability, order, 1).cumsum(1)
        ranks = (cumulative * MAGNITUDES).astype(int).clip(max=MAGNITUDES - 1)
        self._magnitude = np.empty(log_length.shape, int)
        np.put_along_axis(self._magnitude, order, ranks, 1)

    def bits(self, tokens: np.ndarray) -> np.ndarray:
        """Cost of each token (B, 256) by the static tables."""
        return -np.log2(self._probability[self._block, tokens])

    def standard_length(self, tokens: np.ndarray) -> np.ndarray:
        """Log of squared vector length (B, 256), of mean 0 and variance 1; 0 for first tokens."""
        return self._length[self._block, tokens] * (np.arange(tokens.shape[1]) > 0)

    def magnitude(self, tokens: np.ndarray) -> np.ndarray:
        """Class of vector length of each token (B, 256), 0 to MAGNITUDES - 1."""
        return self._magnitude[self._block, tokens]

    def magnitude_probability(self) -> np.ndarray:
        """Probability of each class at each position by the static tables, (256, MAGNITUDES)."""
        by_block = [
            np.bincount(magnitude, probability, MAGNITUDES)
            for magnitude, probability in zip(self._magnitude, self._probability, strict=True)
        ]
        return np.array(by_block)[self._block]


def _mean_before(lengths: np.ndarray) -> np.ndarray:
    """Mean of the lengths before each position, (B, 256)."""
    total = lengths.cumsum(1) - lengths
    return total / (np.arange(lengths.shape[1]) + INERTIA)


def _neighbours(lengths: np.ndarray, grid: Grid) -> np.ndarray:
    """Mean length up to each position, (B, 256), in the tile to the left and three above."""
    means = lengths.cumsum(1) / (np.arange(lengths.shape[1]) + INERTIA)
    means = means.reshape(grid.rows, grid.columns, -1)
    contexts = np.zeros_like(means)
    for row in range(grid.rows):
        for column in range(grid.columns):
            places = [(row, column - 1), *((row - 1, column + step) for step in (-1, 0, 1))]
            neighbours = [means[y, x] for y, x in places if y >= 0 and 0 <= x < grid.columns]
            if neighbours:
                contexts[row, column] = np.mean(neighbours, 0)
    return contexts.reshape(lengths.shape)


def _saved(
    contexts: list[np.ndarray], magnitudes: list[np.ndarray], codebooks: _Codebooks
) -> float:
    """Bits saved over all tiles, if counts of all other pictures in the same context are used."""
    edges = np.quantile(np.concatenate(contexts)[:, 1:], np.arange(1, CONTEXTS) / CONTEXTS)
    classes = [np.searchsorted(edges, context)[:, 1:] for context in contexts]
    counts = []
    for context, magnitude in zip(classes, magnitudes, strict=True):
        pairs = context * MAGNITUDES + magnitude[:, 1:]
        counts.append(np.bincount(pairs.ravel(), minlength=CONTEXTS * MAGNITUDES))
    total, static, bits = np.sum(counts, 0), codebooks.magnitude_probability()[1:], 0.0
    for context, magnitude, count in zip(classes, magnitudes, counts, strict=True):
        adaptive = (total - count).reshape(CONTEXTS, MAGNITUDES) + PRIOR
        adaptive /= adaptive.sum(1, keepdims=True)
        current = magnitude[:, 1:]
        static_probability = static[np.arange(static.shape[0]), current]
        bits += float(np.log2(adaptive[context, current] / static_probability).sum())
    return bits


if __name__ == "__main__":
    main(list(map(Path, sys.argv[1:])))
