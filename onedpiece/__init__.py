"""One-D-Piece: pictures as short sequences of tokens of which any prefix decodes.

    data = onedpiece.encode(image, tokens=64)   # a PIL image to about 96 bytes
    image = onedpiece.decode(data)

`Codec` keeps the networks loaded between calls and takes batches. Importing this package loads neither
ONNX Runtime nor PyTorch nor Pillow; the first use does.
"""

from __future__ import annotations

import threading
from functools import lru_cache
from typing import TYPE_CHECKING, Any

from onedpiece.errors import OdpError

if TYPE_CHECKING:
    from PIL.Image import Image

    from onedpiece.codec import Codec
    from onedpiece.rate_control import Target

__all__ = ["Codec", "OdpError", "Target", "decode", "encode"]
__version__ = "0.1.0"

_turn = threading.Lock()  # a codec is for one thread at a time, and these are for all


def encode(
    image: Image,
    tokens: int | None = None,
    *,
    max_bytes: int | None = None,
    bpp: float | None = None,
    psnr: float | None = None,
    adaptive: bool = False,
    effort: int = 1,
) -> bytes:
    """A PIL image to .odp bytes.

    tokens: 1 to 256 tokens of at most 12 bits for each 256x256 tile; 256 if nothing else is asked for. Instead, ask for a file
    of at most `max_bytes`, or `bpp` bits per pixel, or for `psnr` decibels. `adaptive` gives more of the tokens to
    tiles that need them, as the last three always do. `effort`, 1 to 3, spends seconds on better tokens.

    Raises OdpError if the picture cannot be encoded or the target cannot be reached, ValueError for more than one
    target or what is out of range.
    """
    from onedpiece.rate_control import Target

    if tokens is None and max_bytes is None and bpp is None and psnr is None:
        tokens = 256
    with _turn:
        return _codec(effort, 1.0).encode(image, Target(tokens, max_bytes, bpp, psnr, adaptive))


def decode(data: bytes, tokens: int = 256, *, grain: float = 1.0) -> Image:
    """.odp bytes to a PIL image of the original size, using at most `tokens` tokens of each tile.

    Data cut anywhere after header, allocation and parts decodes with the tokens that are there. `grain`, 0 to 1, is how much detail is
    added that no token describes: 0 gives the smallest squared error, 1 looks most like the original.
    Raises OdpError if the data cannot be decoded, ValueError for what is out of range.
    """
    with _turn:
        return _codec(1, grain).decode(data, tokens)


@lru_cache(maxsize=4)
def _codec(effort: int, grain: float) -> Codec:
    from onedpiece.codec import Codec

    return Codec(effort=effort, grain=grain)


def __getattr__(name: str) -> Any:
    if name == "Codec":
        from onedpiece.codec import Codec

        return Codec
    if name == "Target":
        from onedpiece.rate_control import Target

        return Target
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
