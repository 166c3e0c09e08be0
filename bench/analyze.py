"""What each token of a model contributes (Miwa et al., arXiv 2501.10064, section 5).

Two questions: how much, and where, does a token change the picture, by its position in the
sequence; and what do pictures with the same first token have in common?
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from PIL import Image

from onedpiece.bench import Protocol
from onedpiece.bench.protocol import read
from onedpiece.bench.rd import Progress
from onedpiece.constants import CODEBOOK_SIZE
from onedpiece.models.registry import find
from onedpiece.runtime import Runtime
from onedpiece.runtime.onnx import OnnxRuntime

CELLS = 32  # along a side of a heat map; each is 8x8 pixels
BATCH = 8  # tiles
HEAT_MAP_COLUMNS = 16
SHEET_ROWS = 24  # first tokens on the sheet
SHEET_PICTURES = 8  # pictures beside each of them
THUMBNAIL = 96  # pixels


def analyze(
    paths: dict[str, Path], out: Path, tokens: int, model: str, device: str, progress: Progress
) -> list[str]:
    """Write `out`/analysis.json and three PNG files; return lines about what could not be written.

    paths:  name -> picture, of which the central square is used.
    tokens: length of the sequences, 1 to 256.
    """
    out.mkdir(parents=True, exist_ok=True)
    selected = find(model)
    # For the least error: what is invented may change far from the token that is replaced.
    runtime = OnnxRuntime(selected, device)
    squares = [read(path, Protocol.paper).pixels for path in paths.values()]
    sequences = np.concatenate([runtime.encode(batch) for batch in _batches(np.stack(squares))])
    sequences = sequences[:, :tokens]
    with progress(len(squares)) as advance:
        maps = np.zeros((tokens, CELLS, CELLS))
        for index, sequence in enumerate(sequences):
            maps += changes(runtime, sequence, seed=index) / len(sequences)
            advance(1)
    groups = first_tokens(list(paths), sequences)
    results = {
        "model": selected.fingerprint,
        "pictures": list(paths),
        "contribution": maps.mean((1, 2)).round(4).tolist(),
        "heat_maps": maps.round(2).tolist(),
        "first_tokens": {str(token): names for token, names in groups.items()},
    }
    (out / "analysis.json").write_text(json.dumps(results) + "\n")
    sheet = _first_token_sheet(runtime, groups, dict(zip(paths, squares, strict=True)))
    sheet.save(out / "first-tokens.png")
    try:
        from onedpiece.bench import plots
    except ImportError as error:
        return [f"contribution.png and heat-maps.png: {error}"]
    plots.save(plots.contribution(maps.mean((1, 2))), out / "contribution.png")
    plots.save(plots.heat_maps(maps, HEAT_MAP_COLUMNS), out / "heat-maps.png")
    return []


def changes(runtime: Runtime, tokens: np.ndarray, seed: int) -> np.ndarray:
    """Heat maps (K, CELLS, CELLS) for tokens (K,) of one picture, a map per position.

    A map holds the mean absolute change of each cell, in levels 0..255, when the token at that
    position is replaced by a random other one.
    """
    random = np.random.default_rng(seed)
    original = runtime.decode(tokens[None], 0)[0]
    replaced = np.repeat(tokens[None], len(tokens), 0)
    # Added modulo CODEBOOK_SIZE, an offset of at least 1 never gives the same token.
    offsets = random.integers(1, CODEBOOK_SIZE, len(tokens))
    diagonal = np.arange(len(tokens))
    replaced[diagonal, diagonal] = (tokens.astype(int) + offsets) % CODEBOOK_SIZE
    maps = []
    for batch in _batches(replaced):
        difference = np.abs(runtime.decode(batch, 0) - original)
        side = original.shape[0] // CELLS
        cells = difference.reshape(len(batch), CELLS, side, CELLS, side, 3)
        maps.append(cells.mean((2, 4, 5)))
    return np.concatenate(maps)


def first_tokens(names: Sequence[str], sequences: np.ndarray) -> dict[int, list[str]]:
    """First token -> names of the pictures that begin with it, the most frequent tokens first.

    sequences: tokens (N, K) of the N pictures.
    """
    groups: dict[int, list[str]] = {}
    for name, token in zip(names, sequences[:, 0].tolist(), strict=True):
        groups.setdefault(token, []).append(name)
    return dict(sorted(groups.items(), key=lambda item: (-len(item[1]), item[0])))


def _batches(items: np.ndarray) -> list[np.ndarray]:
    return [items[start : start + BATCH] for start in range(0, len(items), BATCH)]


def _first_token_sheet(
    runtime: Runtime, groups: dict[int, list[str]], squares: dict[str, np.ndarray]
) -> Image.Image:
    """A row per frequent first token: the token decoded alone, then pictures that begin with it."""
    rows = list(groups.items())[:SHEET_ROWS]
    columns = 1 + min(SHEET_PICTURES, max(len(names) for _, names in rows))
    sheet = Image.new("RGB", (THUMBNAIL * columns, THUMBNAIL * len(rows)), "white")
    for row, (token, names) in enumerate(rows):
        alone = runtime.decode(np.array([[token]], np.uint16), 0)[0].round().clip(0, 255)
        cells = [alone.astype(np.uint8), *(squares[name] for name in names[:SHEET_PICTURES])]
        for column, pixels in enumerate(cells):
            small = Image.fromarray(pixels).resize((THUMBNAIL - 4, THUMBNAIL - 4))
            sheet.paste(small, (column * THUMBNAIL, row * THUMBNAIL))
    return sheet
