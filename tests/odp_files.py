"""Files as bytes, in one call each: what the tests of the format need."""

import numpy as np

from onedpiece.bitstream.bits import BitWriter
from onedpiece.bitstream.checksum import crc8
from onedpiece.constants import MAGIC
from onedpiece.encoded_image import EncodedImage


def build(header, tokens, chunks=(), allocation=None, tables=None) -> bytes:
    """A file of a header and of tokens, (tiles, positions)."""
    return EncodedImage.build(header, tokens, chunks, allocation, tables).to_bytes()


def parse(data, max_pixels=16384**2, **options) -> EncodedImage:
    """A file whose tokens can be read, with `tables_of` or with the installed models."""
    image = EncodedImage.from_bytes(data, max_pixels, **options)
    assert isinstance(image.tokens, np.ndarray)
    return image


def truncate(data, num_tokens=None, max_bytes=None, **options) -> bytes:
    """The file with fewer tokens, or with fewer bytes."""
    image = EncodedImage.from_bytes(data, **options)
    return image.truncate(num_tokens, max_bytes=max_bytes).to_bytes()


def sizes(image: EncodedImage) -> dict[str, int]:
    """Bytes of the file by what they hold: "header", "chunks" and "tokens"."""
    return image.info()["bytes_by_section"]


def raw_header(*fields: str) -> bytes:
    """A header with a right checksum and any bits after the magic. Spaces are left out."""
    bits = BitWriter()
    for field in fields:
        digits = field.replace(" ", "")
        bits.write(int(digits, 2), len(digits))
    guarded = MAGIC + bits.getvalue()
    return guarded + bytes([crc8(guarded)])


def fingerprint(model: bytes) -> str:
    """The 24 bits of a fingerprint, for `raw_header`."""
    return f"{int.from_bytes(model, 'big'):024b}"


def side(pixels: int) -> str:
    """The code of a width or a height, for `raw_header`."""
    code = f"{pixels + 255:b}"
    return "0" * (len(code) - 9) + code
