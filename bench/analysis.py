"""What tokens say (Miwa et al., section 5): how much each position changes the picture and where, and what first tokens share."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from PIL import Image

from onedpiece.bench import Protocol
from onedpiece.bench.protocol import read
from onedpiece.bench.rate_distortion import Progress
from onedpiece.constants import CODEBOOK_SIZE
from onedpiece.models.registry import find
from onedpiece.runtime import Runtime
from onedpiece.runtime.onnx import OnnxRuntime

CELLS = 32  # to a side of a heat map; 8 pixels each
BATCH = 8
COLUMNS = 16  # of the sheet of heat maps
ROWS = 24  # first tokens on their sheet, each with
BESIDE = 8  # pictures that begin with it
THUMB = 96  # pixels


def analyze(
    paths: dict[str, Path], out: Path, tokens: int, model: str, device: str, progress: Progress
) -> list[str]:
    """Write `out`/analysis.json and three PNG files; lines about what is missing on this machine.

    paths: name -> picture, of which the central square is used. tokens: how many of each picture, 1 to 256.
    """
    out.mkdir(parents=True, exist_ok=True)
    found = find(model)
    runtime = OnnxRuntime(found, device, grain=0)  # its noise follows from the first token
    squares = [read(path, Protocol.paper).pixels for path in paths.values()]
    coded = np.concatenate([runtime.encode(part) for part in _batches(np.stack(squares))])
    coded = coded[:, :tokens]
    with progress(len(squares)) as advance:
        maps = np.zeros((tokens, CELLS, CELLS))
        for index, known in enumerate(coded):
            maps += changes(runtime, known, seed=index) / len(coded)
            advance(1)
    groups = first_tokens(list(paths), coded)
    facts = {
        "model": found.fingerprint,
        "pictures": list(paths),
        "contribution": maps.mean((1, 2)).round(4).tolist(),
        "heat_maps": maps.round(2).tolist(),
        "first_tokens": {str(token): names for token, names in groups.items()},
    }
    (out / "analysis.json").write_text(json.dumps(facts) + "\n")
    _first_token_sheet(runtime, groups, dict(zip(paths, squares, strict=True))).save(
        out / "first-tokens.png"
    )
    try:
        from onedpiece.bench import plots
    except ImportError as error:
        return [f"contribution.png and heat-maps.png: {error}"]
    plots.save(plots.contribution(maps.mean((1, 2))), out / "contribution.png")
    plots.save(plots.heat_maps(maps, COLUMNS), out / "heat-maps.png")
    return []


def changes(runtime: Runtime, tokens: np.ndarray, seed: int) -> np.ndarray:
    """Mean absolute change in levels, 0..255, of every cell of the picture when each token is replaced by a random one.

    tokens: (K,) of one picture. Gives (K, CELLS, CELLS), one map for each position.
    """
    random = np.random.default_rng(seed)
    whole = runtime.decode(tokens[None])[0]
    replaced = np.repeat(tokens[None], len(tokens), 0)
    others = random.integers(
        1, CODEBOOK_SIZE, len(tokens)
    )  # added modulo CODEBOOK_SIZE: never the same token
    diagonal = np.arange(len(tokens))
    replaced[diagonal, diagonal] = (tokens.astype(int) + others) % CODEBOOK_SIZE
    maps = []
    for part in _batches(replaced):
        difference = np.abs(runtime.decode(part) - whole)
        side = whole.shape[0] // CELLS
        cells = difference.reshape(len(part), CELLS, side, CELLS, side, 3)
        maps.append(cells.mean((2, 4, 5)))
    return np.concatenate(maps)


def first_tokens(names: Sequence[str], coded: np.ndarray) -> dict[int, list[str]]:
    """First token -> pictures that begin with it, the most frequent tokens first. coded: (N, K)."""
    groups: dict[int, list[str]] = {}
    for name, token in zip(names, coded[:, 0].tolist(), strict=True):
        groups.setdefault(token, []).append(name)
    return dict(sorted(groups.items(), key=lambda item: (-len(item[1]), item[0])))


def _batches(items: np.ndarray) -> list[np.ndarray]:
    return [items[start : start + BATCH] for start in range(0, len(items), BATCH)]


def _first_token_sheet(
    runtime: Runtime, groups: dict[int, list[str]], squares: dict[str, np.ndarray]
) -> Image.Image:
    """A row for each of the most frequent first tokens: its picture alone, then pictures that begin with it."""
    shown = list(groups.items())[:ROWS]
    columns = 1 + min(BESIDE, max(len(names) for _, names in shown))
    sheet = Image.new("RGB", (THUMB * columns, THUMB * len(shown)), "white")
    for row, (token, names) in enumerate(shown):
        alone = runtime.decode(np.array([[token]], np.uint16))[0].round().clip(0, 255)
        cells = [alone.astype(np.uint8), *(squares[name] for name in names[:BESIDE])]
        for column, pixels in enumerate(cells):
            small = Image.fromarray(pixels).resize((THUMB - 4, THUMB - 4))
            sheet.paste(small, (column * THUMB, row * THUMB))
    return sheet
