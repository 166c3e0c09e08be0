"""Optional chunks between the header and the tokens: transparency, metadata and the like.

docs/format.md, section "Chunks", is the specification.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import zstandard

from onedpiece.errors import DamagedFile, LimitExceeded, UnsupportedFile

MAX_CHUNKS = 16
MAX_CHUNK_BYTES = 16 * 1024 * 1024

EXIF = 0x01
ICC = 0x02
XMP = 0x03
ALPHA = 0x81

METADATA_TYPES = {"exif": EXIF, "icc": ICC, "xmp": XMP}
"""Kinds of metadata and their chunk types. `images.metadata.INFO_KEYS` has their keys in
Pillow."""

_CRITICAL = 0x80
_KNOWN_CRITICAL = {ALPHA}
_MAX_WINDOW = 1 << 27  # the default limit of zstd
_STEP = 64  # bytes of a frame at once: zstd makes at most some 128 kB of four bytes
_LENGTH_BYTES = 4
_CRC_BYTES = 4


@dataclass(frozen=True)
class Chunk:
    """One optional chunk.

    type: 0 to 255; a chunk of type 128 or above is critical.
    data: at most MAX_CHUNK_BYTES.

    Raises ValueError for a type out of range, LimitExceeded for more data.
    """

    type: int
    data: bytes

    def __post_init__(self) -> None:
        if not 0 <= self.type <= 0xFF:
            raise ValueError(f"a chunk type is one byte, not {self.type}")
        if len(self.data) > MAX_CHUNK_BYTES:
            raise LimitExceeded(f"a chunk holds at most {MAX_CHUNK_BYTES} bytes")

    @property
    def is_critical(self) -> bool:
        """Whether a reader that does not know this type must refuse the file."""
        return bool(self.type & _CRITICAL)


def compress(data: bytes) -> bytes:
    """Data as one small zstd frame. Raises LimitExceeded for more than MAX_CHUNK_BYTES."""
    if len(data) > MAX_CHUNK_BYTES:
        raise LimitExceeded(f"a chunk holds at most {MAX_CHUNK_BYTES} bytes")
    return zstandard.ZstdCompressor(level=19, write_content_size=False).compress(data)


def decompress(frame: bytes, limit: int = MAX_CHUNK_BYTES) -> bytes:
    """The contents of a zstd frame. Memory is at most proportional to `limit`.

    Raises as `decompressed_pieces`.
    """
    return b"".join(decompressed_pieces(frame, limit))


def decompressed_pieces(frame: bytes, limit: int) -> Iterator[bytes]:
    """The contents of a zstd frame, piece by piece, of at most a few megabytes each.

    Raises DamagedFile unless the data is exactly one whole frame, and LimitExceeded if the contents
    are longer than `limit` bytes.
    """
    if not frame.startswith(zstandard.FRAME_HEADER):  # zstd would skip a skippable frame
        raise DamagedFile("a chunk is not a zstd frame")
    decompressor = zstandard.ZstdDecompressor(max_window_size=_MAX_WINDOW).decompressobj()
    length = 0
    try:
        for start in range(0, len(frame), _STEP):
            if decompressor.eof:
                raise DamagedFile("a chunk has more than one zstd frame")
            piece = decompressor.decompress(frame[start : start + _STEP])
            length += len(piece)
            if length > limit:
                raise LimitExceeded(f"a chunk holds more than {limit} bytes")
            yield piece
    except zstandard.ZstdError as error:
        raise DamagedFile(f"a chunk cannot be decompressed: {error}") from error
    if not decompressor.eof or decompressor.unused_data:
        raise DamagedFile("a chunk is not one whole zstd frame")


def pack_chunks(chunks: Sequence[Chunk]) -> bytes:
    """The chunks as bytes, in the given order; b"" if there are none.

    Raises LimitExceeded for more than MAX_CHUNKS.
    """
    if not chunks:
        return b""
    if len(chunks) > MAX_CHUNKS:
        raise LimitExceeded(f"a file holds at most {MAX_CHUNKS} chunks")
    return bytes([len(chunks)]) + b"".join(_pack_chunk(chunk) for chunk in chunks)


def unpack_chunks(data: bytes, start: int) -> tuple[tuple[Chunk, ...], int]:
    """The chunks that begin at byte `start`, and the position of the first byte after them.

    Raises DamagedFile if they are truncated or a checksum does not match, LimitExceeded for a
    chunk above MAX_CHUNK_BYTES and UnsupportedFile for an unknown critical chunk.
    """
    count = _take(data, start, 1)[0]
    if not 1 <= count <= MAX_CHUNKS:
        raise DamagedFile(f"the file claims to have {count} chunks")
    position = start + 1
    chunks = []
    for _ in range(count):
        chunk, position = _unpack_chunk(data, position)
        chunks.append(chunk)
    return tuple(chunks), position


def _pack_chunk(chunk: Chunk) -> bytes:
    type_byte = bytes([chunk.type])
    checksum = zlib.crc32(type_byte + chunk.data).to_bytes(_CRC_BYTES, "big")
    return type_byte + _pack_length(len(chunk.data)) + checksum + chunk.data


def _unpack_chunk(data: bytes, start: int) -> tuple[Chunk, int]:
    type_byte = _take(data, start, 1)
    length, position = unpack_length(data, start + 1)
    checksum = _take(data, position, _CRC_BYTES)
    position += _CRC_BYTES
    content = _take(data, position, length)
    if zlib.crc32(type_byte + content) != int.from_bytes(checksum, "big"):
        raise DamagedFile("a chunk is damaged: its checksum does not match")
    chunk = Chunk(type_byte[0], content)
    if chunk.is_critical and chunk.type not in _KNOWN_CRITICAL:
        raise UnsupportedFile(
            f"the file has a chunk of type {chunk.type:#04x}: a newer reader is needed"
        )
    return chunk, position + length


def _pack_length(length: int) -> bytes:
    """Unsigned LEB128: 7 bits per byte, lowest first; all bytes but the last have the high bit."""
    octets = bytearray()
    while length >= 0x80:
        octets.append(length & 0x7F | 0x80)
        length >>= 7
    octets.append(length)
    return bytes(octets)


def unpack_length(data: bytes, start: int) -> tuple[int, int]:
    """The LEB128 number at byte `start`, and the position after it.

    Raises DamagedFile if it is too long, truncated or not in its shortest form, and LimitExceeded
    above MAX_CHUNK_BYTES.
    """
    length = 0
    for index in range(_LENGTH_BYTES):
        octet = _take(data, start + index, 1)[0]
        length |= (octet & 0x7F) << 7 * index
        if octet < 0x80:
            break
    else:
        raise DamagedFile("the length of a chunk is too long")
    if length > MAX_CHUNK_BYTES:
        raise LimitExceeded(f"a chunk claims {length} bytes; the limit is {MAX_CHUNK_BYTES}")
    if index and octet == 0:
        raise DamagedFile("the length of a chunk is not in its shortest form")
    return length, start + index + 1


def _take(data: bytes, start: int, length: int) -> bytes:
    taken = data[start : start + length]
    if len(taken) < length:
        raise DamagedFile("the chunks are truncated")
    return taken
