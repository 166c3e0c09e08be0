"""Formats that Pillow reads with another package, which is imported when a file needs it."""

from __future__ import annotations

import importlib
from collections.abc import Callable
from dataclasses import dataclass
from typing import BinaryIO

from PIL import Image

from onedpiece.errors import PictureError
from onedpiece.images import jxl

BEGINNING = 256  # bytes that tell the format
_HEIF_BRANDS = {b"heic", b"heix", b"heim", b"heis", b"mif1"}  # ISO 23008-12


@dataclass(frozen=True)
class Plugin:
    """A format, and the package that reads it.

    format:   Pillow's name of the format.
    package:  name for pip.
    suffixes: file name extensions.
    accepts:  whether a file that begins with these bytes has the format.
    register: makes the format known to Pillow. Raises ImportError.
    """

    format: str
    package: str
    suffixes: tuple[str, ...]
    accepts: Callable[[bytes], bool]
    register: Callable[[], object]


def plugin_of(beginning: bytes) -> Plugin | None:
    """The plugin for a file that begins like this; None if it needs none."""
    return next((plugin for plugin in PLUGINS if plugin.accepts(beginning)), None)


def prepare(plugin: Plugin, file: BinaryIO) -> None:
    """Let Pillow open a file with the plugin.

    Raises PictureError if the package is missing, DecompressionBombError for a picture that is too
    large where opening would decode it.
    """
    try:
        plugin.register()
    except ImportError as error:
        raise PictureError(
            f"{plugin.format} pictures need another package: pip install {plugin.package}"
        ) from error
    if plugin.format == "JXL":
        _check_size(*jxl.size(file))
        file.seek(0)


def _check_size(width: int, height: int) -> None:
    """Do what Pillow does after opening, since this plugin decodes while it opens."""
    limit = Image.MAX_IMAGE_PIXELS
    if limit is not None and width * height > 2 * limit:
        raise Image.DecompressionBombError(
            f"Image size ({width * height} pixels) exceeds limit of {2 * limit} pixels"
        )


def _is_heif(beginning: bytes) -> bool:
    """Whether it has a brand of HEIF and none of AVIF, which Pillow reads itself."""
    if beginning[4:8] != b"ftyp":
        return False
    end = int.from_bytes(beginning[:4], "big")
    brands = {beginning[start : start + 4] for start in range(8, min(end, len(beginning)), 4)}
    return bool(brands & _HEIF_BRANDS) and not brands & {b"avif", b"avis"}


def _register_heif() -> None:
    importlib.import_module("pillow_heif").register_heif_opener()


PLUGINS = (
    Plugin("HEIF", "pillow-heif", (".heic", ".heif", ".hif"), _is_heif, _register_heif),
    Plugin(
        "JXL",
        "pillow-jxl-plugin",
        (".jxl",),
        jxl.is_jxl,
        lambda: importlib.import_module("pillow_jxl"),
    ),
)
