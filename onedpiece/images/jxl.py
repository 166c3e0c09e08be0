"""The size of a JPEG XL picture, from its header (ISO/IEC 18181). Decodes nothing."""

from __future__ import annotations

from typing import BinaryIO

from onedpiece.errors import PictureError

CODESTREAM = b"\xff\x0a"
CONTAINER = b"\x00\x00\x00\x0cJXL \x0d\x0a\x87\x0a"

_SIZE_BYTES = 10  # at least as many as the size has
_WIDTHS = (9, 13, 18, 30)  # bits of a number, by its selector
_RATIOS = ((0, 1), (1, 1), (6, 5), (4, 3), (3, 2), (16, 9), (5, 4), (2, 1))  # width to height
_MOST_BOXES = 1000


def is_jxl(beginning: bytes) -> bool:
    """Whether a file that begins like this is a JPEG XL picture."""
    return beginning.startswith((CODESTREAM, CONTAINER))


def size(file: BinaryIO) -> tuple[int, int]:
    """Width and height in pixels, before an orientation is applied. Raises PictureError."""
    file.seek(0)
    if file.read(len(CODESTREAM)) != CODESTREAM:
        _find_codestream(file)
    header = file.read(_SIZE_BYTES)
    if len(header) < 2:
        raise PictureError("the picture cannot be read: it is damaged")
    bits = _Bits(header)
    in_eights = bool(bits.read(1))
    height = bits.side(in_eights)
    numerator, denominator = _RATIOS[bits.read(3)]
    return height * numerator // denominator or bits.side(in_eights), height


class _Bits:
    """Reads bits, least significant first; zeros after the end."""

    def __init__(self, data: bytes) -> None:
        self._value = int.from_bytes(data, "little")

    def read(self, width: int) -> int:
        value = self._value & ((1 << width) - 1)
        self._value >>= width
        return value

    def side(self, in_eights: bool) -> int:
        if in_eights:
            return 8 * (1 + self.read(5))
        return 1 + self.read(_WIDTHS[self.read(2)])


def _find_codestream(file: BinaryIO) -> None:
    """Move behind the signature of the codestream in a container. Raises PictureError."""
    start = 0
    for _ in range(_MOST_BOXES):
        file.seek(start)
        box = file.read(16)
        length, kind, skipped = int.from_bytes(box[:4], "big"), box[4:8], 8
        if length == 1:
            length, skipped = int.from_bytes(box[8:16], "big"), 16
        if kind in (b"jxlc", b"jxlp"):
            file.seek(start + skipped + (4 if kind == b"jxlp" else 0))
            if file.read(len(CODESTREAM)) == CODESTREAM:
                return
        if len(box) < 8 or length < skipped:  # the end, or a box that reaches up to it
            break
        start += length
    raise PictureError("the picture cannot be read: it is damaged")
