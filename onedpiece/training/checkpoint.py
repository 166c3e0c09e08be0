"""The file `checkpoint.pt` of a run: all that resuming needs."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from onedpiece.tokenizer.config import Config
from onedpiece.tokenizer.onedpiece import OneDPiece
from onedpiece.training.ema import with_weights

FILE = "checkpoint.pt"


def exists(run: Path) -> bool:
    """Whether the folder of a run holds a checkpoint."""
    return (run / FILE).exists()


def read(run: Path) -> dict[str, Any]:
    """The state that `write` saved, its tensors on the CPU."""
    return torch.load(run / FILE, map_location="cpu", weights_only=True)


def write(run: Path, state: dict[str, Any]) -> None:
    """Save a state; the file appears under its name only when it is complete."""
    partial = run / "checkpoint.part"
    torch.save(state, partial)
    os.replace(partial, run / FILE)


def ema_model(run: Path) -> OneDPiece:
    """The model of a run with its averaged weights, in evaluation mode on the CPU."""
    state = read(run)
    return with_weights(Config.from_dict(state["config"]), state["ema"])


def replace_tables(run: Path, frequency: Tensor) -> None:
    """Replace the entropy tables of a run: `SpectralQuantizer.frequency`, (blocks, groups)."""
    state = read(run)
    for weights in (state["ema"], state["model"]):
        weights["quantize.frequency"].copy_(frequency)
    write(run, state)
