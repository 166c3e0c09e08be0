"""Pictures of the teacher for the training pictures, made once and kept in a folder.

One batch of ten is of drawings, where invention harms: their targets are the least-error pictures.
One of twenty is of grey photographs, whose targets are grey.

tokens.u16    (N, 256), all tokens of each picture
painted.u8    (N, 256, 256, 3), the teacher's pictures
original.u8   (N, 256, 256, 3), the pictures themselves
index.json    how many tokens the teacher was shown of each picture, and how many are done
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from onedpiece.constants import MAX_TOKENS, TILE
from onedpiece.tokenizer.onedpiece import SpectralOneDPiece
from onedpiece.training.data import Pictures
from onedpiece.training.drawings import draw
from onedpiece.training.precision import autocast
from onedpiece.training.teacher import Teacher, teach

LENGTHS = (256, 64, 16, 128, 256, 48, 192, 32, 256, 96, 128, 64, 24)
"""Numbers of tokens: `make_targets` takes them in turn, training draws one for each batch."""

BATCH = 8
SAVE_BATCHES = 16
DRAWINGS_EVERY, GREY_EVERY = 10, 20  # batches


@dataclass(frozen=True)
class Batch:
    """Pictures with equally many tokens.

    tokens:   int64 (B, K).
    painted:  what is to be painted, (B, 3, 256, 256) in 0..1.
    original: the pictures themselves; None where the painted ones count alone.
    """

    tokens: Tensor
    painted: Tensor
    original: Tensor | None = None


@dataclass(frozen=True)
class Targets:
    """The finished targets of a folder.

    tokens: uint16 (N, 256). num_tokens: (N,). painted, original: uint8 (N, 256, 256, 3).
    """

    tokens: NDArray[np.uint16]
    painted: NDArray[np.uint8]
    original: NDArray[np.uint8]
    num_tokens: NDArray[np.int64]

    @classmethod
    def open(cls, folder: Path) -> Targets:
        """Raises FileNotFoundError if there are none."""
        index = json.loads((folder / "index.json").read_text())
        tokens, painted, original = _arrays(folder, len(index["num_tokens"]), "r")
        done = index["done"]
        lengths = np.array(index["num_tokens"])
        return cls(tokens[:done], painted[:done], original[:done], lengths[:done])

    def batch(self, size: int, rng: np.random.Generator) -> Batch:
        """One picture drawn at random, and others that are like it.

        They have equally many tokens, and are drawings too if it is one.
        """
        first = rng.integers(len(self.num_tokens))
        num_tokens, is_drawing = self.num_tokens[first], _is_drawing(first)
        same_kind = _is_drawing(np.arange(len(self.num_tokens))) == is_drawing
        alike = np.flatnonzero((self.num_tokens == num_tokens) & same_kind)
        rows = rng.choice(alike, size, replace=len(alike) < size)
        return Batch(
            tokens=torch.from_numpy(self.tokens[rows, :num_tokens].astype(np.int64)),
            painted=to_tensor(self.painted[rows]),
            original=None if is_drawing else to_tensor(self.original[rows]),
        )


@torch.inference_mode()
def make_targets(
    model: SpectralOneDPiece,
    teacher: Teacher,
    pictures: Pictures,
    folder: Path,
    lengths: Sequence[int] = LENGTHS,
    device: str = "cpu",
) -> Targets:
    """Let the teacher paint all pictures; a second call goes on where the first one stopped.

    model: decodes for the least error; the teacher must be on `device` already.
    """
    folder.mkdir(parents=True, exist_ok=True)
    count = len(pictures)
    # Neighbours have the same number of tokens, so that they go through the networks together.
    num_tokens = [lengths[i // BATCH % len(lengths)] for i in range(count)]
    index = folder / "index.json"
    done = json.loads(index.read_text())["done"] if index.exists() else 0
    tokens, painted, stored = _arrays(folder, count, "r+")
    model = model.to(device)
    for number, first in enumerate(range(done, count, BATCH)):
        rows = slice(first, min(first + BATCH, count))
        originals = np.stack([_picture(pictures, i) for i in range(rows.start, rows.stop)])
        batch = torch.from_numpy(originals).to(device).permute(0, 3, 1, 2).float() / 255
        known = model.encode(batch)
        length = num_tokens[first]
        with autocast(torch.device(device)):
            picture = model.decode(known[:, :length]).clamp(0, 1)
            if not _is_drawing(first):
                picture = teach(teacher, picture, length)
            if _is_grey(first):
                picture = picture.mean(1, keepdim=True).expand_as(picture)
        tokens[rows] = known.cpu().numpy()
        painted[rows] = (picture.permute(0, 2, 3, 1) * 255).round().byte().cpu().numpy()
        stored[rows] = originals
        if number % SAVE_BATCHES == 0 or rows.stop == count:
            index.write_text(json.dumps({"done": rows.stop, "num_tokens": num_tokens}))
            print(f"{rows.stop} of {count} pictures", flush=True)
    return Targets.open(folder)


def _is_drawing(i: Any) -> Any:
    """Whether picture i is a drawing in the place of a photograph; i may be an array."""
    return i // BATCH % DRAWINGS_EVERY == DRAWINGS_EVERY - 1


def _is_grey(i: int) -> bool:
    """Whether picture i is made grey."""
    return i // BATCH % GREY_EVERY == GREY_EVERY // 2


def to_tensor(pictures: NDArray[np.uint8]) -> Tensor:
    """uint8 (B, 256, 256, 3) -> (B, 3, 256, 256) in 0..1."""
    return torch.from_numpy(pictures).permute(0, 3, 1, 2).float() / 255


def _picture(pictures: Pictures, i: int) -> NDArray[np.uint8]:
    """Picture i as uint8 (256, 256, 3)."""
    if _is_drawing(i):
        return draw(np.random.default_rng(i))
    picture = pictures.centre(i)
    if _is_grey(i):
        grey = picture.mean(2, keepdims=True).round().astype(np.uint8)
        return np.broadcast_to(grey, picture.shape)
    return picture


def _arrays(folder: Path, count: int, mode: str) -> list[NDArray[Any]]:
    """Tokens, painted and original pictures."""
    arrays = []
    for name, shape, kind in (
        ("tokens.u16", (count, MAX_TOKENS), np.uint16),
        ("painted.u8", (count, TILE, TILE, 3), np.uint8),
        ("original.u8", (count, TILE, TILE, 3), np.uint8),
    ):
        path = folder / name
        create = mode == "r+" and not path.exists()
        arrays.append(np.memmap(path, kind, "w+" if create else mode, shape=shape))  # type: ignore[call-overload]
    return arrays
