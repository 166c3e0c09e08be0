"""Datasets of tokens: many pictures encoded once into Parquet files, and read many times.

    encode(["pictures/"], "tokens/", Target(tokens=256), workers=8)

`encode` and `convert` write datasets, `decode` turns them back into pictures, `describe` and
`verify` look at them; `onedpiece.data` feeds them to PyTorch. All of this needs the extra
`datasets`. docs/datasets.md describes the columns.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from onedpiece.datasets.cluster import encode_on_ray
    from onedpiece.datasets.conversion import convert
    from onedpiece.datasets.decoding import decode
    from onedpiece.datasets.encoding import Shard, encode
    from onedpiece.datasets.sources import Columns
    from onedpiece.datasets.survey import describe, verify

__all__ = ["Columns", "Shard", "convert", "decode", "describe", "encode", "encode_on_ray", "verify"]

_HOMES = {
    "Columns": "onedpiece.datasets.sources",
    "Shard": "onedpiece.datasets.encoding",
    "convert": "onedpiece.datasets.conversion",
    "decode": "onedpiece.datasets.decoding",
    "describe": "onedpiece.datasets.survey",
    "encode": "onedpiece.datasets.encoding",
    "encode_on_ray": "onedpiece.datasets.cluster",
    "verify": "onedpiece.datasets.survey",
}


def __getattr__(name: str) -> Any:
    if name in _HOMES:
        return getattr(importlib.import_module(_HOMES[name]), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
