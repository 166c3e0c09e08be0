"""A model as small files: its averaged weights in half the bytes, cut into parts, to carry between machines."""

from __future__ import annotations

import io
from pathlib import Path

import torch
from torch import Tensor

from onedpiece.tokenizer.config import Config
from onedpiece.tokenizer.onedpiece import OneDPiece, build

PART_BYTES = 15 * 2**20


def pack(model: OneDPiece, folder: Path) -> None:
    """Write `weights-0`, `weights-1`, ... of at most 15 MiB; floats become bfloat16, tables float16."""
    state = {name: _small(name, value) for name, value in model.state_dict().items()}
    buffer = io.BytesIO()
    torch.save({"config": model.config.to_dict(), "model": state}, buffer)
    data = buffer.getbuffer()
    folder.mkdir(parents=True, exist_ok=True)
    for old in folder.glob("weights-*"):
        old.unlink()
    for number, first in enumerate(range(0, len(data), PART_BYTES)):
        (folder / f"weights-{number}").write_bytes(data[first : first + PART_BYTES])


def unpack(folder: Path) -> OneDPiece:
    """The model that `pack` wrote. Raises FileNotFoundError if there is none."""
    parts = sorted(folder.glob("weights-*"), key=lambda part: int(part.name.split("-")[1]))
    if not parts:
        raise FileNotFoundError(f"no packed model in {folder}")
    data = io.BytesIO(b"".join(part.read_bytes() for part in parts))
    state = torch.load(data, map_location="cpu", weights_only=True)
    model = build(Config.from_dict(state["config"]))
    model.load_state_dict(state["model"])
    return model


def inherit(model: OneDPiece, parent: OneDPiece) -> None:
    """Copy every parameter and table that has the same name and shape in both; of the grain all or nothing."""
    theirs, ours = parent.state_dict(), model.state_dict()
    common = {name for name in ours if name in theirs and theirs[name].shape == ours[name].shape}
    grain = {name for name in ours if name.startswith("grain.")}
    if not grain <= common:
        common -= grain
    model.load_state_dict({name: (theirs if name in common else ours)[name] for name in ours})


def _small(name: str, value: Tensor) -> Tensor:
    if not value.is_floating_point():
        return value
    # The quantiser's tables were rounded to float16 when they were fitted.
    return value.half() if name.startswith("quantize.") else value.bfloat16()
