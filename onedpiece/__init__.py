"""One-D-Piece: pictures as short sequences of tokens of which any prefix decodes.

    data = onedpiece.encode(image, tokens=64)   # a PIL image to 104 bytes
    image = onedpiece.decode(data)

`Codec` keeps the networks loaded between calls and takes batches. Importing this package loads neither
ONNX Runtime nor PyTorch nor Pillow; the first use does.
"""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING, Any

from onedpiece.errors import OdpError

if TYPE_CHECKING:
    from PIL.Image import Image

    from onedpiece.codec import Codec

__all__ = ["Codec", "OdpError", "decode", "encode"]
__version__ = "0.1.0"


def encode(image: Image, tokens: int = 256) -> bytes:
    """A PIL image to .odp bytes, with `tokens` (1 to 256) tokens of 12 bits for each 256x256 tile.

    Raises OdpError if the picture cannot be encoded, ValueError if `tokens` is out of range.
    """
    return _codec().encode(image, tokens)


def decode(data: bytes, tokens: int = 256) -> Image:
    """.odp bytes to a PIL image of the original size, using at most `tokens` tokens of each tile.

    Data cut anywhere after the header decodes with the tokens that are there.
    Raises OdpError if the data cannot be decoded.
    """
    return _codec().decode(data, tokens)


@cache
def _codec() -> Codec:
    from onedpiece.codec import Codec

    return Codec()


def __getattr__(name: str) -> Any:
    if name == "Codec":
        from onedpiece.codec import Codec

        return Codec
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
