"""State dicts in files of others, for the published models and for what their training starts from.

A file from outside is hostile until parsed. Before anything in it is believed, its size is bounded by the largest
model, a zip archive must store its entries as they are, and the pickle in it may make nothing but tensors.
"""

from __future__ import annotations

import pickle
import zipfile
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from onedpiece.errors import ModelError

MAX_BYTES = 4 << 30  # the largest model, L-256, takes 2.6 GB in float32
MAX_PICKLE_BYTES = 1 << 20  # the names and shapes of a model's tensors take a tenth of it
NAMED = 3  # entries that an error lists


def read_state(path: Path) -> dict[str, Tensor]:
    """The tensors of a file by name. Raises ModelError."""
    try:
        if path.stat().st_size > MAX_BYTES:
            raise ModelError(f"{path} is larger than any published model")
        if zipfile.is_zipfile(path):
            _check_archive(path)
            state = torch.load(path, map_location="cpu", weights_only=True, mmap=True)
        else:
            state = _read_safetensors(path)
    except ModelError:
        raise
    except pickle.UnpicklingError as error:
        raise ModelError(f"{path} is refused: it holds more than tensors") from error
    except OSError as error:
        raise ModelError(f"{path} cannot be read: {error.strerror or error}") from error
    except Exception as error:  # broken archives and pickles raise what they like
        raise ModelError(
            f"{path} is no state dict: neither a whole file of torch.save nor of safetensors"
        ) from error
    return _plain(state, path)


def _read_safetensors(path: Path) -> dict[str, Tensor]:
    """Raises ValueError."""
    from safetensors import SafetensorError  # which training does without
    from safetensors.torch import load_file

    try:
        return load_file(path)
    except SafetensorError as error:
        raise ValueError("not safetensors") from error


def _check_archive(path: Path) -> None:
    """Refuse archives that unpack to more than they are."""
    with zipfile.ZipFile(path) as archive:
        for entry in archive.infolist():
            if entry.compress_type != zipfile.ZIP_STORED or entry.file_size != entry.compress_size:
                raise ModelError(f"{path} is refused: a state dict is not compressed")
            if entry.filename.endswith(".pkl") and entry.file_size > MAX_PICKLE_BYTES:
                raise ModelError(f"{path} is refused: its pickle is too large")


def _plain(state: Any, path: Path) -> dict[str, Tensor]:
    if not isinstance(state, dict) or not all(
        isinstance(name, str) and _is_plain(value) for name, value in state.items()
    ):
        raise ModelError(f"{path} is no plain state dict of tensors")
    return state


def _is_plain(value: Any) -> bool:
    return (
        isinstance(value, Tensor)
        and value.layout == torch.strided
        and value.device.type == "cpu"
        and not value.is_quantized
    )


def check_entries(
    state: dict[str, Tensor], wanted: dict[str, tuple[int, ...]], failure: str
) -> None:
    """Raise ModelError unless names and shapes are exactly those wanted and all numbers are finite."""
    wrong = [f"{name} is missing" for name in wanted if name not in state]
    wrong += [f"{name} is unknown" for name in state if name not in wanted]
    wrong += [
        f"{name} is {tuple(state[name].shape)} instead of {shape}"
        for name, shape in wanted.items()
        if name in state and tuple(state[name].shape) != shape
    ]
    if not wrong:
        wrong = [
            f"{name} is not made of finite numbers"
            for name, value in state.items()
            if not (value.is_floating_point() and bool(torch.isfinite(value).all()))
        ]
    if wrong:
        more = f" and {len(wrong) - NAMED} more" if len(wrong) > NAMED else ""
        raise ModelError(f"{failure}: {'; '.join(wrong[:NAMED])}{more}")
