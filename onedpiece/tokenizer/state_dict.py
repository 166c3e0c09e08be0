"""Read untrusted state dicts: published models, and weights that training starts from.

The size of a file is checked before it is read, a zip archive must not be compressed, and the
pickle in it may create nothing but tensors.
"""

from __future__ import annotations

import pickle
import zipfile
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from onedpiece.errors import ModelError

MAX_BYTES = 4 << 30  # the largest model, L-256, has 2.6 GB in float32
MAX_PICKLE_BYTES = 1 << 20  # the pickle of a published model is about a tenth of this
MAX_LISTED = 3  # entries that an error message lists


def read_state(path: Path) -> dict[str, Tensor]:
    """The tensors of a file by name, on the CPU.

    The tensors are mapped into memory: a number is read from the disk when it is first used.

    path: a zip file written by `torch.save`, or a safetensors file.

    Raises ModelError if it is neither of them, damaged or too large.
    """
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
    except Exception as error:  # broken archives and pickles raise exceptions of any type
        raise ModelError(
            f"{path} is not a state dict: neither a complete file of torch.save nor of safetensors"
        ) from error
    return _plain(state, path)


def _read_safetensors(path: Path) -> dict[str, Tensor]:
    """Raises ValueError."""
    from safetensors import SafetensorError  # imported late, because training does not need it
    from safetensors.torch import load_file

    try:
        return load_file(path)
    except SafetensorError as error:
        raise ValueError("not safetensors") from error


def _check_archive(path: Path) -> None:
    """Refuse archives that unpack to more than their own size. Raises ModelError."""
    with zipfile.ZipFile(path) as archive:
        for entry in archive.infolist():
            if entry.compress_type != zipfile.ZIP_STORED or entry.file_size != entry.compress_size:
                raise ModelError(f"{path} is refused: a state dict is not compressed")
            if entry.filename.endswith(".pkl") and entry.file_size > MAX_PICKLE_BYTES:
                raise ModelError(f"{path} is refused: its pickle is too large")


def _plain(state: Any, path: Path) -> dict[str, Tensor]:
    """Raise ModelError unless this is a plain dictionary of dense tensors."""
    if not isinstance(state, dict) or not all(
        isinstance(name, str) and _is_plain(value) for name, value in state.items()
    ):
        raise ModelError(f"{path} is not a plain dictionary of tensors")
    return state


def _is_plain(value: Any) -> bool:
    return (
        isinstance(value, Tensor)
        and value.layout == torch.strided
        and value.device.type == "cpu"
        and not value.is_quantized
    )


def check_entries(
    state: dict[str, Tensor], shapes: dict[str, tuple[int, ...]], failure: str
) -> None:
    """Raise ModelError unless names and shapes are exactly `shapes` and all numbers are finite.

    failure: the first words of the error message.
    """
    wrong = _wrong_shapes(state, shapes) or [
        f"{name} has numbers that are not finite"
        for name, value in state.items()
        if not (value.is_floating_point() and bool(torch.isfinite(value).all()))
    ]
    if wrong:
        more = f" and {len(wrong) - MAX_LISTED} more" if len(wrong) > MAX_LISTED else ""
        raise ModelError(f"{failure}: {'; '.join(wrong[:MAX_LISTED])}{more}")


def _wrong_shapes(state: dict[str, Tensor], shapes: dict[str, tuple[int, ...]]) -> list[str]:
    """A message for each entry that is missing, unknown or of another shape."""
    wrong = [f"{name} is missing" for name in shapes if name not in state]
    wrong += [f"{name} is unknown" for name in state if name not in shapes]
    wrong += [
        f"{name} is {tuple(state[name].shape)} instead of {shape}"
        for name, shape in shapes.items()
        if name in state and tuple(state[name].shape) != shape
    ]
    return wrong
