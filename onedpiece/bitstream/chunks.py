"""Optional parts between the header and the tokens, for metadata and the like."""

from __future__ import annotations

import zlib
from collections.abc import Sequence
from dataclasses import dataclass

import zstandard

from onedpiece.errors import DamagedFile, LimitExceeded, UnsupportedFile

MAX_PARTS = 16
MAX_PART_BYTES = 16 * 1024 * 1024

EXIF = 0x01
ICC = 0x02
XMP = 0x03
ALPHA = 0x81

_CRITICAL = 0x80
_KNOWN_CRITICAL = {ALPHA}
_MAX_WINDOW = 1 << 27  # what zstd itself accepts unless told otherwise
_LENGTH_BYTES = 4
_CRC_BYTES = 4


@dataclass(frozen=True)
class Part:
    """One optional part.

    kind: 0 to 255; from 128 on it is critical.
    data: at most MAX_PART_BYTES.

    Raises ValueError for another kind, LimitExceeded for more data.
    """

    kind: int
    data: bytes

    def __post_init__(self) -> None:
        if not 0 <= self.kind <= 0xFF:
            raise ValueError(f"the kind of a part is one byte, not {self.kind}")
        if len(self.data) > MAX_PART_BYTES:
            raise LimitExceeded(f"a part holds at most {MAX_PART_BYTES} bytes")

    @property
    def is_critical(self) -> bool:
        """Whether a reader that does not know this kind must refuse the file."""
        return bool(self.kind & _CRITICAL)


def squeeze(data: bytes) -> bytes:
    """Data as one zstd frame, small. Raises LimitExceeded for more than MAX_PART_BYTES."""
    if len(data) > MAX_PART_BYTES:
        raise LimitExceeded(f"a part holds at most {MAX_PART_BYTES} bytes")
    return zstandard.ZstdCompressor(level=19, write_content_size=False).compress(data)


def expand(frame: bytes, limit: int = MAX_PART_BYTES) -> bytes:
    """What a zstd frame holds. Memory grows with `limit` at most.

    Raises DamagedFile if it is anything but one whole frame, LimitExceeded if it holds more than `limit` bytes.
    """
    try:
        decompressor = zstandard.ZstdDecompressor(max_window_size=_MAX_WINDOW)
        with decompressor.stream_reader(frame) as reader:
            data = reader.read(limit + 1)
        if len(data) > limit:
            raise LimitExceeded(f"an optional part holds more than {limit} bytes")
        # Reading stops silently where a frame is cut; now that its size is known, this is safe.
        once_more = decompressor.decompressobj()
        once_more.decompress(frame)
    except zstandard.ZstdError as error:
        raise DamagedFile(f"an optional part cannot be decompressed: {error}") from error
    if not once_more.eof or once_more.unused_data:
        raise DamagedFile("an optional part is not one whole zstd frame")
    return data


def pack_parts(parts: Sequence[Part]) -> bytes:
    """The parts as bytes, in the given order; nothing at all for no parts.

    Raises LimitExceeded for more than MAX_PARTS.
    """
    if not parts:
        return b""
    if len(parts) > MAX_PARTS:
        raise LimitExceeded(f"a file holds at most {MAX_PARTS} parts")
    return bytes([len(parts)]) + b"".join(_pack_part(part) for part in parts)


def unpack_parts(data: bytes, start: int) -> tuple[tuple[Part, ...], int]:
    """The parts that begin at byte `start`, and the position of the first byte after them.

    Raises DamagedFile if they are cut short or a checksum does not match, LimitExceeded for a part
    above MAX_PART_BYTES and UnsupportedFile for a critical part that this reader does not know.
    """
    count = _take(data, start, 1)[0]
    if not 1 <= count <= MAX_PARTS:
        raise DamagedFile(f"the file claims to have {count} parts")
    position = start + 1
    parts = []
    for _ in range(count):
        part, position = _unpack_part(data, position)
        parts.append(part)
    return tuple(parts), position


def _pack_part(part: Part) -> bytes:
    kind = bytes([part.kind])
    checksum = zlib.crc32(kind + part.data).to_bytes(_CRC_BYTES, "big")
    return kind + _pack_length(len(part.data)) + checksum + part.data


def _unpack_part(data: bytes, start: int) -> tuple[Part, int]:
    kind = _take(data, start, 1)
    length, position = _unpack_length(data, start + 1)
    checksum = _take(data, position, _CRC_BYTES)
    position += _CRC_BYTES
    content = _take(data, position, length)
    if zlib.crc32(kind + content) != int.from_bytes(checksum, "big"):
        raise DamagedFile("an optional part is damaged: its checksum does not match")
    part = Part(kind[0], content)
    if part.is_critical and part.kind not in _KNOWN_CRITICAL:
        raise UnsupportedFile(
            f"the file has a part of kind {part.kind:#04x}: a newer reader needs it"
        )
    return part, position + length


def _pack_length(length: int) -> bytes:
    """Unsigned LEB128: 7 bits a byte, the lowest first, the high bit set on all but the last."""
    octets = bytearray()
    while length >= 0x80:
        octets.append(length & 0x7F | 0x80)
        length >>= 7
    octets.append(length)
    return bytes(octets)


def _unpack_length(data: bytes, start: int) -> tuple[int, int]:
    length = 0
    for index in range(_LENGTH_BYTES):
        octet = _take(data, start + index, 1)[0]
        length |= (octet & 0x7F) << 7 * index
        if octet < 0x80:
            break
    else:
        raise DamagedFile("the length of an optional part is too long")
    if length > MAX_PART_BYTES:
        raise LimitExceeded(
            f"an optional part claims {length} bytes; at most {MAX_PART_BYTES} may be"
        )
    if index and octet == 0:
        raise DamagedFile("the length of an optional part is not in its shortest form")
    return length, start + index + 1


def _take(data: bytes, start: int, length: int) -> bytes:
    taken = data[start : start + length]
    if len(taken) < length:
        raise DamagedFile("the optional parts are cut short")
    return taken
