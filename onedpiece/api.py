"""The functions of the package `onedpiece`: one call for one file."""

from __future__ import annotations

import builtins
import os
from collections.abc import Iterable
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from onedpiece.constants import MAGIC, MAX_FILE_BYTES, MAX_PIXELS, MAX_SIDE, MAX_TOKENS
from onedpiece.encoded_image import EncodedImage
from onedpiece.entropy import Tables
from onedpiece.errors import LimitExceeded, OdpError
from onedpiece.models.registry import DEFAULT, find, installed, installed_tables

if TYPE_CHECKING:
    from PIL.Image import Image

    from onedpiece.codec import Codec

Source = bytes | bytearray | memoryview | str | os.PathLike[str]
"""The bytes of a file, or its path."""


def encode(
    image: Image | str | os.PathLike[str],
    tokens: int | None = None,
    *,
    max_bytes: int | None = None,
    bpp: float | None = None,
    psnr: float | None = None,
    adaptive: bool = False,
    effort: int = 1,
    lpips: str | os.PathLike[str] | None = None,
    metadata: Iterable[str] = (),
    background: str | tuple[int, int, int] | None = None,
    model: str = DEFAULT,
    device: str = "auto",
    max_pixels: int = MAX_PIXELS,
) -> bytes:
    """A picture to the bytes of an .odp file.

    image:      a PIL image, or the path of a picture file.
    tokens:     1 to 1024 tokens of at most 12 bits for each 256x256 tile; 256 if no other target
        is given. Above 256, the picture has finer tiles.
    max_bytes:  instead, a limit for the whole file.
    bpp:        instead, a limit in bits per pixel.
    psnr:       instead, the decibels that the picture must have when it is decoded with realism 0.
    adaptive:   give more of the tokens to tiles with more detail; always on with max_bytes, bpp
        and psnr.
    effort:     1 to 3; above 1, encoding searches for better tokens, for seconds a tile.
    lpips:      folder with the weights of LPIPS-squeeze: the search then looks for what looks like
        the original when it is decoded with realism 1. Needs PyTorch.
    metadata:   kinds to keep, of "exif", "icc" and "xmp".
    background: colour to put behind transparent pixels, by name, in hexadecimal or as RGB;
        otherwise transparency is kept.
    model:      name of an installed model, or a model directory.
    device:     "auto", "cpu" or "cuda".
    max_pixels: larger pictures are refused.

    Raises PictureError or LimitExceeded for a picture that cannot be encoded, TargetNotReached,
    UnknownModel, ModelError or DeviceError, and ValueError for arguments out of range or for more
    than one target.
    """
    from onedpiece.images.color import parse_color
    from onedpiece.images.metadata import check_kinds
    from onedpiece.images.reader import ReadOptions, from_pillow, open_picture
    from onedpiece.rate_control import Target

    if tokens is None and max_bytes is None and bpp is None and psnr is None:
        tokens = MAX_TOKENS
    if lpips is not None and effort == 1:
        raise ValueError("lpips needs effort 2 or 3")
    target = Target(tokens, max_bytes, bpp, psnr, adaptive)
    options = ReadOptions(max_pixels, parse_color(background), check_kinds(metadata))
    if isinstance(image, str | os.PathLike):
        try:
            picture = open_picture(Path(image), options)
        except OdpError as error:
            raise type(error)(f"{os.fspath(image)}: {error}") from error
    else:
        picture = from_pillow(image, options)
    codec = _codec(model, device, None, None if lpips is None else Path(lpips))
    return codec.encode_pictures([picture], target, effort=effort)[0].to_bytes()


def decode(
    source: Source | EncodedImage,
    num_tokens: int | None = None,
    *,
    realism: float = 1.0,
    background: str | tuple[int, int, int] | None = None,
    strict: bool = False,
    model: str = DEFAULT,
    decoder: str | None = None,
    device: str = "auto",
    max_pixels: int = MAX_PIXELS,
) -> Image:
    """An .odp file to a PIL image of the original size. Metadata that was kept is in `info`.

    source:     the bytes of the file, its path, or an `EncodedImage`.
    num_tokens: use at most this many tokens for each 256x256 tile; all if None.
    realism:    0 for the least squared error, up to 1 for a picture that looks real, for models
        that know the difference.
    background: colour to put behind transparent pixels.
    strict:     a truncated file is an error (TruncatedFile) instead of a TruncatedFileWarning.
    model:      name or directory of a model to try before the installed ones; it is used if the
        file has its token set.
    decoder:    name of a decoder of the file's token set; the newest one if None.
    device:     "auto", "cpu" or "cuda".
    max_pixels: larger pictures are refused; with tiles of density d, each pixel counts d * d times.

    A file that lost its end decodes from its remaining tokens, as long as its header,
    allocation and chunks are complete.

    Raises OdpError for data that cannot be decoded, UnknownModel if its token set is not installed,
    UnknownDecoder, DeviceError, and ValueError for arguments out of range.
    """
    from onedpiece.images.color import parse_color
    from onedpiece.images.metadata import INFO_KEYS
    from onedpiece.images.reader import ReadOptions, from_pillow

    if not isinstance(source, EncodedImage):
        source = open(source, model=model, max_pixels=max_pixels)
    source.header.check_pixels(max_pixels)
    codec = _codec(model, device, decoder, None)
    image = codec.decode(source, num_tokens, realism=realism, strict=strict)
    color = parse_color(background)
    if color is None or "A" not in image.mode:
        return image
    options = ReadOptions(max_pixels, color, frozenset(INFO_KEYS))
    return from_pillow(image, options).to_pillow()


def open(
    source: Source, *, model: str | None = None, max_pixels: int = MAX_SIDE**2
) -> EncodedImage:
    """Read an .odp file without decoding it: no network runs.

    source:     the bytes of the file, or its path.
    model:      name or directory of a model to try before the installed ones; it is used if the
        file has its token set.
    max_pixels: pictures of more pixels are refused; by default, only those that the format cannot
        hold, since nothing is decoded.

    Raises NotAnOdpFile, UnsupportedFile, DamagedFile or LimitExceeded, and UnknownModel or
    ModelError for `model`.
    """
    also = None if model is None else find(model)

    def tables_of(key: bytes) -> Tables | None:
        return installed_tables(key, also)

    return EncodedImage.from_bytes(_read(source), max_pixels, tables_of)


def truncate(
    source: Source,
    num_tokens: int | None = None,
    *,
    max_bytes: int | None = None,
    model: str | None = None,
) -> bytes:
    """A smaller file with only the first tokens, without any network (`EncodedImage.truncate`)."""
    return open(source, model=model).truncate(num_tokens, max_bytes=max_bytes).to_bytes()


def info(source: Source, *, model: str | None = None) -> dict[str, Any]:
    """What a file says, by name (`EncodedImage.info`), and what is known about its token set.

    "token_set" is the name of the token set, and "model_name" that of a model that has it; both are
    None if no such model is installed.

    Raises what `open` raises.
    """
    image = open(source, model=model)
    candidates = ([] if model is None else [find(model)]) + installed()
    known = next((one for one in candidates if one.token_set.has(image.header.model)), None)
    return {
        **image.info(),
        "token_set": known.token_set.name if known else None,
        "model_name": known.name if known else None,
    }


def verify(source: Source, *, model: str | None = None) -> None:
    """Check that a file is complete and undamaged (`EncodedImage.verify` says what is raised)."""
    open(source, model=model).verify()


def is_odp(source: Source) -> bool:
    """Whether data, or a file, begins like an .odp picture. Raises OdpError for a missing file."""
    if isinstance(source, bytes | bytearray | memoryview):
        return bytes(source[: len(MAGIC)]) == MAGIC
    return _read_file(Path(source), len(MAGIC)) == MAGIC


def _read(source: Source) -> bytes:
    if isinstance(source, bytes | bytearray | memoryview):
        return bytes(source)
    data = _read_file(Path(source), MAX_FILE_BYTES + 1)
    if len(data) > MAX_FILE_BYTES:
        raise LimitExceeded(f"the file has more than {MAX_FILE_BYTES} bytes")
    return data


def _read_file(path: Path, size: int) -> bytes:
    try:
        with builtins.open(path, "rb") as file:
            return file.read(size)
    except OSError as error:
        raise OdpError(f"{path} cannot be opened: {error.strerror}") from error


@lru_cache(maxsize=4)
def _codec(model: str, device: str, decoder: str | None, lpips: Path | None) -> Codec:
    """A codec that stays loaded between calls."""
    from onedpiece.codec import Codec

    return Codec(model, device, max_pixels=MAX_SIDE**2, decoder=decoder, lpips=lpips)
