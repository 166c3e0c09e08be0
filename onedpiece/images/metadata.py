"""Exif, ICC profiles and XMP: select the metadata that a picture keeps."""

from __future__ import annotations

import contextlib
from collections.abc import Iterable

from PIL import Image

ORIENTATION = 0x0112  # tag of Exif

DESCRIPTIVE_TAGS = {
    *(0x010E, 0x010F, 0x0110, ORIENTATION, 0x0131),
    *(0x0132, 0x013B, 0x8298, 0x8769, 0x8825),
}
"""Exif tags that describe the picture: description, camera, author, time, place."""

PROFILE_SPACES = {"RGB": b"RGB ", "RGBA": b"RGB ", "L": b"GRAY", "LA": b"GRAY"}
"""For each mode, the colour space that an ICC profile must have to fit it."""

INFO_KEYS = {"exif": ("exif",), "icc": ("icc_profile",), "xmp": ("xmp", "XML:com.adobe.xmp")}
"""Kinds of metadata and their keys in Pillow's `Image.info`; the first key is used for writing.
`bitstream.chunks.METADATA_TYPES` has their chunk types."""


def check_kinds(kinds: Iterable[str]) -> frozenset[str]:
    """The kinds of metadata as a set. Raises ValueError for a string or an unknown kind."""
    if isinstance(kinds, str):
        raise ValueError("metadata is a list of kinds, such as ['exif'], not a string")
    wanted = frozenset(kinds)
    if not wanted <= set(INFO_KEYS):
        raise ValueError(f"metadata is of the kinds {', '.join(INFO_KEYS)}")
    return wanted


def read_exif(image: Image.Image) -> Image.Exif:
    """The Exif tags; no tags if they are broken."""
    try:
        return image.getexif()
    except Exception:  # Pillow's parser raises many types for broken data
        return Image.Exif()


def descriptive_exif(exif: Image.Exif, is_tiff: bool) -> bytes:
    """Exif without the orientation; b"" if no tag is left.

    The tags of a TIFF also describe the file itself: only DESCRIPTIVE_TAGS of it are kept.
    """
    copy = Image.Exif()
    with contextlib.suppress(Exception):  # Pillow can read some tags that it cannot write
        copy.load(exif.tobytes())
    for tag in set(copy):
        if tag == ORIENTATION or (is_tiff and tag not in DESCRIPTIVE_TAGS):
            del copy[tag]
    return copy.tobytes() if len(copy) else b""


def collect_metadata(image: Image.Image, exif: bytes, kinds: frozenset[str]) -> dict[str, bytes]:
    """The given kinds of metadata, if the image has them. An ICC profile must fit its mode."""
    metadata = {}
    for kind in sorted(kinds):
        value = next((image.info[key] for key in INFO_KEYS[kind] if key in image.info), None)
        if kind == "exif":
            value = exif
        if kind == "icc" and value and value[16:20] != PROFILE_SPACES.get(image.mode):
            value = None
        if value:
            metadata[kind] = value.encode() if isinstance(value, str) else bytes(value)
    return metadata
