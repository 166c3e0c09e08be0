"""Give a published model entropy tables, measured on pictures of the user.

Published codebooks are not sorted and have no tables, so that every token takes 12 bits. But some
codes are more frequent than others, and each position has its own favourites.
"""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from safetensors.numpy import load_file, save_file

from onedpiece.constants import CODEBOOK_SIZE, MAX_TOKENS, TOKEN_BITS
from onedpiece.entropy.tables import bits, frequencies
from onedpiece.errors import ModelError, PictureError
from onedpiece.export.graphs import copy_graph
from onedpiece.images.reader import open_picture, suffixes
from onedpiece.models.folder import complete
from onedpiece.models.manifest import MANIFEST, TOKEN_SET, Model, read_model, sha256, write_manifest
from onedpiece.runtime.onnx import OnnxRuntime
from onedpiece.tokenizer.tokenizer import Tokenizer

BATCH = 8
HELD_OUT = 4  # every fourth picture
MIN_PICTURES = 64
"""With fewer, 16 pictures held out do not tell a gain from chance (docs/published.md)."""

BLOCKS = (256, 64, 16, 4)
"""Numbers of consecutive positions that share a table, of which the best is chosen."""


@dataclass(frozen=True)
class Tuning:
    """A model that was given tables.

    pictures: how many pictures the tables were measured on.
    skipped:  files that could not be read.
    bits:     of a token, on pictures that were held out.
    """

    model: Model
    pictures: int
    skipped: list[Path]
    bits: float


@dataclass(frozen=True)
class _Tables:
    """Arrays of `entropy.Tables`: frequencies (blocks, 80) and order (blocks, 4096)."""

    frequency: NDArray[np.int32]
    order: NDArray[np.int32]

    @classmethod
    def measure(cls, tokens: NDArray[np.uint16], block: int) -> _Tables:
        """The tables of tokens (N, 256), one for each `block` positions."""
        counts = np.stack(
            [
                np.bincount(columns.ravel(), minlength=CODEBOOK_SIZE)
                for columns in np.split(tokens, MAX_TOKENS // block, axis=1)
            ]
        )
        order = np.argsort(-counts, axis=1, kind="stable")
        ranked = np.take_along_axis(counts, order, 1)
        frequency = np.stack([frequencies(row) for row in ranked])
        return cls(frequency.astype(np.int32), order.astype(np.int32))

    def bits(self, tokens: NDArray[np.uint16]) -> NDArray[np.float64]:
        """Mean bits of a token of each picture, (N,), for tokens (N, 256)."""
        by_code = np.empty(self.order.shape)
        by_rank = np.stack([bits(row) for row in self.frequency])
        np.put_along_axis(by_code, self.order, by_rank, 1)
        blocks = np.repeat(np.arange(len(by_code)), MAX_TOKENS // len(by_code))
        return by_code[blocks, tokens].mean(1)


def tune(model: Model, pictures: Sequence[Path]) -> Tuning:
    """Measure entropy tables on pictures and put them into the model's directory.

    The codebook stays, so that files that were encoded earlier still decode; their fingerprint
    becomes one of `TokenSet.uncoded`. Files of the new model need the new token set.

    pictures: at least 64 pictures, or folders of them (searched recursively).

    Raises ModelError for a model that has tables, or whose tables would not save bits on pictures
    held out, and PictureError for too few pictures.
    """
    if model.is_old or model.tables is not None:
        raise ModelError(
            f"{model.name} is in a directory of version 0.1: install it again"
            if model.is_old
            else f"{model.name} has entropy tables, which never change"
        )
    tokens, skipped = _all_tokens(model, _files(pictures))
    if len(tokens) < MIN_PICTURES:
        raise PictureError(f"{len(tokens)} pictures can be read; {MIN_PICTURES} are needed")
    block, mean = _best_block(tokens)
    if block is None:
        raise ModelError(
            f"tables of {len(tokens)} pictures do not surely save bits: {mean:.2f} instead of "
            f"{TOKEN_BITS} a token on those held out; give more pictures"
        )
    tuned = _write(model, _Tables.measure(tokens, block))
    return Tuning(tuned, len(tokens), skipped, mean)


def _best_block(tokens: NDArray[np.uint16]) -> tuple[int | None, float]:
    """The best of BLOCKS and its bits of a token on pictures held out, (N, 256) in all.

    None if these are not below 12 by two standard errors.
    """
    held_out = np.arange(len(tokens)) % HELD_OUT == 0
    results = {
        block: _Tables.measure(tokens[~held_out], block).bits(tokens[held_out]) for block in BLOCKS
    }
    best = min(BLOCKS, key=lambda block: float(results[block].mean()))
    mean, error = results[best].mean(), results[best].std(ddof=1) / np.sqrt(held_out.sum())
    return (best if mean + 2 * error < TOKEN_BITS else None), float(mean)


def _files(paths: Sequence[Path]) -> list[Path]:
    """The files among the paths, and the pictures in folders."""
    files: list[Path] = []
    for path in paths:
        inside = sorted(file for file in path.rglob("*") if file.suffix.lower() in suffixes())
        files += inside if path.is_dir() else [path]
    return files


def _all_tokens(model: Model, files: Sequence[Path]) -> tuple[NDArray[np.uint16], list[Path]]:
    """Tokens of the central squares of pictures, (N, 256), and the files that cannot be read."""
    runtime, skipped = OnnxRuntime(model), list[Path]()
    tokens = [np.zeros((0, MAX_TOKENS), np.uint16)]
    for start in range(0, len(files), BATCH):
        tiles = []
        for file in files[start : start + BATCH]:
            try:
                tiles.append(Tokenizer.preprocess(open_picture(file).to_pillow()))
            except PictureError:
                skipped.append(file)
        if tiles:
            tokens.append(runtime.encode(np.concatenate(tiles)))
    return np.concatenate(tokens), skipped


def _write(model: Model, tables: _Tables) -> Model:
    """Replace the model directory by one whose token set has the tables."""
    weights = [name for name in model.files if name.endswith(".safetensors")]
    arrays = load_file(model.token_set_file)
    blocks = len(tables.frequency)
    arrays["quantize.frequency"], arrays["quantize.code_order"] = tables.frequency, tables.order
    arrays["quantize.block_sizes"] = np.full(blocks, MAX_TOKENS // blocks, np.int32)
    with complete(model.path) as partial:
        for name in weights:
            shutil.copyfile(model.path / name, partial / name)
        save_file(arrays, partial / TOKEN_SET)
        (partial / TOKEN_SET).chmod(0o644)  # safetensors writes for the owner alone
        for name in set(model.files) - {*weights, MANIFEST}:
            copy_graph(model.path / name, partial / name, weights)
        old = model.token_set
        token_set = replace(
            old,
            fingerprint=sha256(partial / TOKEN_SET),
            aliases=(),
            uncoded=(old.fingerprint, *old.aliases, *old.uncoded),
        )
        write_manifest(replace(model, path=partial, token_set=token_set))
    return read_model(model.path)
