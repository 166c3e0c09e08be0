"""One-D-Piece: pictures as short sequences of tokens of which any prefix decodes.

    data = onedpiece.encode("in.png", tokens=64)   # about 93 bytes
    image = onedpiece.decode(data)                 # a PIL image
    file = onedpiece.open("out.odp")               # size, tokens, chunks; no network

`Codec` keeps the networks loaded between calls and takes batches; `Tokenizer` goes between pixels
and arrays of tokens. Importing this package loads neither ONNX Runtime nor PyTorch nor Pillow; the
first use does.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from onedpiece.errors import OdpError, TruncatedFileWarning

if TYPE_CHECKING:
    from onedpiece import models
    from onedpiece.api import decode, encode, info, is_odp, open, truncate, verify
    from onedpiece.codec import Codec
    from onedpiece.encoded_image import EncodedImage
    from onedpiece.rate_control import Target
    from onedpiece.tokenizer.tokenizer import Tokenizer

__all__ = [
    "Codec",
    "EncodedImage",
    "OdpError",
    "Target",
    "Tokenizer",
    "TruncatedFileWarning",
    "decode",
    "encode",
    "info",
    "is_odp",
    "models",
    "open",
    "truncate",
    "verify",
]
__version__ = "0.1.0"

_HOMES = {
    "Codec": "onedpiece.codec",
    "EncodedImage": "onedpiece.encoded_image",
    "Target": "onedpiece.rate_control",
    "Tokenizer": "onedpiece.tokenizer.tokenizer",
    **dict.fromkeys(
        ("decode", "encode", "info", "is_odp", "open", "truncate", "verify"), "onedpiece.api"
    ),
}


def __getattr__(name: str) -> Any:
    if name == "models":
        return importlib.import_module("onedpiece.models")
    if name in _HOMES:
        return getattr(importlib.import_module(_HOMES[name]), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
