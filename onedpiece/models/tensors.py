"""Read single arrays of a safetensors file, without PyTorch."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from onedpiece.errors import ModelError

LONGEST_INDEX = 1 << 24
_TYPES = {"I32": "<i4", "F32": "<f4", "F16": "<f2"}


def read_tensor(path: Path, name: str) -> NDArray[Any] | None:
    """The array of this name; None if there is none. Raises ModelError for an unreadable file."""
    try:
        with path.open("rb") as file:
            length = int.from_bytes(file.read(8), "little")
            if length > LONGEST_INDEX:
                raise ValueError("its index is too long")
            entry = json.loads(file.read(length)).get(name)
            if entry is None:
                return None
            start, end = entry["data_offsets"]
            if not 0 <= start <= end <= path.stat().st_size:
                raise ValueError("an array is outside the file")
            file.seek(8 + length + start)
            data = file.read(end - start)
        return np.frombuffer(data, _TYPES[entry["dtype"]]).reshape(entry["shape"])
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise ModelError(f"{path} is not a model's weights file") from error
