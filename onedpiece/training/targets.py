"""Pictures of the teacher for the training pictures, made once and kept in a folder.

tokens.u16    (N, 256), all tokens of each picture
pixels.u8     (N, 256, 256, 3), the teacher's pictures
index.json    how many tokens the teacher was shown of each picture, and how many are done
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from onedpiece.constants import MAX_TOKENS, TILE
from onedpiece.tokenizer.onedpiece import SpectralOneDPiece
from onedpiece.training.data import Pictures
from onedpiece.training.precision import autocast
from onedpiece.training.teacher import Teacher, teach

LENGTHS = (16, 24, 32, 48, 64, 96, 128, 192, 256)
"""Numbers of tokens; each picture has one of them."""

BATCH = 8
SAVE_BATCHES = 16


@dataclass(frozen=True)
class Targets:
    """The finished targets of a folder.

    tokens: uint16 (N, 256). num_tokens: (N,). pixels: uint8 (N, 256, 256, 3).
    """

    tokens: NDArray[np.uint16]
    num_tokens: NDArray[np.int64]
    pixels: NDArray[np.uint8]

    @classmethod
    def open(cls, folder: Path) -> Targets:
        """Raises FileNotFoundError if there are none."""
        index = json.loads((folder / "index.json").read_text())
        tokens, pixels = _arrays(folder, len(index["num_tokens"]), "r")
        done = index["done"]
        lengths = np.array(index["num_tokens"])
        return cls(tokens[:done], lengths[:done], pixels[:done])

    def batch(self, size: int, rng: np.random.Generator) -> tuple[Tensor, Tensor]:
        """Tokens int64 (size, K) and the teacher's pixels (size, 3, 256, 256) in 0..1.

        K is that of a picture drawn at random; the others are drawn from those with equally many.
        """
        num_tokens = self.num_tokens[rng.integers(len(self.num_tokens))]
        alike = np.flatnonzero(self.num_tokens == num_tokens)
        rows = rng.choice(alike, size, replace=len(alike) < size)
        tokens = torch.from_numpy(self.tokens[rows, :num_tokens].astype(np.int64))
        return tokens, torch.from_numpy(self.pixels[rows]).permute(0, 3, 1, 2).float() / 255


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
    tokens, pixels = _arrays(folder, count, "r+")
    model = model.to(device)
    for number, first in enumerate(range(done, count, BATCH)):
        rows = slice(first, min(first + BATCH, count))
        originals = np.stack([pictures.centre(i) for i in range(rows.start, rows.stop)])
        batch = torch.from_numpy(originals).to(device).permute(0, 3, 1, 2).float() / 255
        known = model.encode(batch)
        length = num_tokens[first]
        with autocast(torch.device(device)):
            painted = teach(teacher, model.decode(known[:, :length], grain=0.0), length)
        tokens[rows] = known.cpu().numpy()
        pixels[rows] = (painted.permute(0, 2, 3, 1) * 255).round().byte().cpu().numpy()
        if number % SAVE_BATCHES == 0 or rows.stop == count:
            index.write_text(json.dumps({"done": rows.stop, "num_tokens": num_tokens}))
            print(f"{rows.stop} of {count} pictures", flush=True)
    return Targets.open(folder)


def _arrays(folder: Path, count: int, mode: str) -> tuple[NDArray[np.uint16], NDArray[np.uint8]]:
    arrays = []
    for name, shape, kind in (
        ("tokens.u16", (count, MAX_TOKENS), np.uint16),
        ("pixels.u8", (count, TILE, TILE, 3), np.uint8),
    ):
        path = folder / name
        create = mode == "r+" and not path.exists()
        arrays.append(np.memmap(path, kind, "w+" if create else mode, shape=shape))  # type: ignore[call-overload]
    return arrays[0], arrays[1]
