"""The first bytes of a file: size and colour mode of the picture, and the model of its tokens."""

from __future__ import annotations

from dataclasses import dataclass

from onedpiece.bitstream.bits import BitReader, BitWriter, OutOfBits
from onedpiece.bitstream.checksum import crc8
from onedpiece.constants import MAGIC, MAX_SIDE, MAX_TOKENS, TILE
from onedpiece.errors import DamagedFile, LimitExceeded, NotAnOdpFile, UnsupportedFile
from onedpiece.tiles.grid import MAX_SCALED, Grid

VERSION = 1
FINGERPRINT_BYTES = 3
OVERLAP_UNIT = 8
"""The overlap of tiles is stored in units of this many pixels."""
MAX_OVERLAP = 15 * OVERLAP_UNIT

_SIZE_ORDER = 8
_SCALED = 1  # layout; 0 is native resolution
_SHORT_TOKENS = {2**exponent: exponent - 1 for exponent in range(1, 9)}

_FOREIGN = {
    b"\x1dP": "its bytes lost their eighth bit, as in a transfer as text",
    b"PK\x03\x04": "this is a zip file; the name .odp also stands for OpenDocument Presentation",
    b"\x89PNG": "this is a PNG picture already",
    b"\xff\xd8\xff": "this is a JPEG picture already",
    b"RIFF": "this is a RIFF file, such as a WebP picture",
}


@dataclass(frozen=True)
class Header:
    """The header of version 1.

    width, height: size of the picture in pixels, 1 to MAX_SIDE.
    tokens_per_tile: number of tokens of each tile in the complete file, 1 to MAX_TOKENS; with an
        allocation, the mean number, rounded up.
    model: the first 3 bytes of the SHA-256 of the model's weights file.
    overlap: pixels that neighbouring tiles share, a multiple of 8, 0 to MAX_OVERLAP. It is always
        set to 0 for a picture of 256x256 pixels, which is one tile and stores no overlap.
    scaled: the picture is scaled to fill tiles that do not overlap. Only for sides of at most 2048
        pixels that are not both multiples of 256.
    grey: the decoded picture is greyscale.
    entropy_coded: tokens are coded with the model's tables instead of 12 bits each.
    has_chunks: optional chunks lie between the header and the tokens.
    has_allocation: an allocation of tokens to tiles follows the header. Never for a picture of
        256x256 pixels.

    Raises LimitExceeded for a side above MAX_SIDE, ValueError for other numbers out of range.
    """

    width: int
    height: int
    tokens_per_tile: int
    model: bytes
    overlap: int = 0
    grey: bool = False
    entropy_coded: bool = False
    has_chunks: bool = False
    has_allocation: bool = False
    scaled: bool = False

    def __post_init__(self) -> None:
        _check_sides(self.width, self.height)
        if min(self.width, self.height) < 1:
            raise ValueError(f"a picture has at least 1x1 pixels, not {self.width}x{self.height}")
        if not 1 <= self.tokens_per_tile <= MAX_TOKENS:
            raise ValueError(f"tokens per tile must be 1 to {MAX_TOKENS}")
        if len(self.model) != FINGERPRINT_BYTES:
            raise ValueError(f"a model fingerprint has {FINGERPRINT_BYTES} bytes")
        if self.overlap % OVERLAP_UNIT or not 0 <= self.overlap <= MAX_OVERLAP:
            raise ValueError(
                f"overlap must be a multiple of {OVERLAP_UNIT}, 0 to {MAX_OVERLAP} pixels"
            )
        if self.scaled and (self.overlap or not can_be_scaled(self.width, self.height)):
            raise ValueError(f"{self.width}x{self.height} pixels cannot be scaled to their tiles")
        if _is_plain_tile(self.width, self.height):
            object.__setattr__(self, "overlap", 0)
            object.__setattr__(self, "has_allocation", False)

    @classmethod
    def for_picture(
        cls, width: int, height: int, num_tokens: int, model: bytes, grey: bool = False
    ) -> Header:
        """The header of a picture: scaled to fill its tiles if possible, else native."""
        scaled = can_be_scaled(width, height)
        return cls(width, height, num_tokens, model, grey=grey, scaled=scaled)

    @property
    def pixels(self) -> int:
        """Number of pixels of the picture."""
        return self.width * self.height

    @property
    def grid(self) -> Grid:
        """The tiles of the picture, after scaling if it is scaled."""
        if self.scaled:
            return Grid.filled(self.width, self.height)
        return Grid(self.width, self.height, self.overlap)

    def pack(self) -> bytes:
        """The header as bytes, including its checksum."""
        bits = BitWriter()
        bits.write(VERSION, 4)
        bits.write(0, 1)  # "must refuse": nothing in version 1 needs it
        bits.write(self.entropy_coded, 1)
        bits.write(self.grey, 1)
        bits.write(self.has_chunks, 1)
        bits.write(int.from_bytes(self.model, "big"), 8 * FINGERPRINT_BYTES)
        self._write_size(bits)
        self._write_tokens_per_tile(bits)
        guarded = MAGIC + bits.getvalue()
        return guarded + bytes([crc8(guarded)])

    @classmethod
    def unpack(cls, data: bytes) -> tuple[Header, int]:
        """The header at the beginning of `data`, and its length in bytes.

        Raises NotAnOdpFile if the data begins differently, UnsupportedFile for a version or feature
        that this reader does not know, LimitExceeded for a side above MAX_SIDE, and DamagedFile for
        all other faults.
        """
        _check_magic(data)
        try:
            return cls._read(data)
        except OutOfBits as error:
            raise DamagedFile("the header is truncated") from error

    @classmethod
    def _read(cls, data: bytes) -> tuple[Header, int]:
        bits = BitReader(data, start=len(MAGIC))
        version = bits.read(4)
        if version != VERSION:
            # The layout of another version is unknown, and so is the place of its checksum.
            raise UnsupportedFile(
                f"the file has format version {version}, this reader knows {VERSION}; "
                "either the file is newer or its header is damaged"
            )
        must_refuse, entropy_coded, grey, has_chunks = (bits.read(1) for _ in range(4))
        model = bits.read(8 * FINGERPRINT_BYTES).to_bytes(FINGERPRINT_BYTES, "big")
        width, height, layout, overlap, counts = _read_size(bits)
        tokens_per_tile = _read_tokens_per_tile(bits)
        bits.align()
        guarded = bits.position // 8

        # The checksum is checked before any field is interpreted: a flipped bit must be reported as
        # damage, not as an unknown feature.
        if bits.read(8) != crc8(data[:guarded]):
            raise DamagedFile("the header is damaged: its checksum does not match")
        if must_refuse or layout > _SCALED:
            raise UnsupportedFile("the file needs a newer reader")
        _check_sides(width, height)
        if layout == _SCALED and (overlap or not can_be_scaled(width, height)):
            raise DamagedFile("the header is damaged: a picture of this size is never scaled")
        header = cls(
            width=width,
            height=height,
            tokens_per_tile=tokens_per_tile,
            model=model,
            overlap=overlap,
            grey=bool(grey),
            entropy_coded=bool(entropy_coded),
            has_chunks=bool(has_chunks),
            has_allocation=bool(counts),
            scaled=layout == _SCALED,
        )
        if header.pack() != data[: guarded + 1]:
            raise DamagedFile("the header is not in its canonical form")
        return header, guarded + 1

    def _write_size(self, bits: BitWriter) -> None:
        if _is_plain_tile(self.width, self.height):
            bits.write(0, 1)
            return
        bits.write(1, 1)
        bits.write_exp_golomb(self.width - 1, _SIZE_ORDER)
        bits.write_exp_golomb(self.height - 1, _SIZE_ORDER)
        bits.write(_SCALED if self.scaled else 0, 2)
        bits.write(self.overlap // OVERLAP_UNIT, 4)
        bits.write(self.has_allocation, 1)

    def _write_tokens_per_tile(self, bits: BitWriter) -> None:
        if self.tokens_per_tile in _SHORT_TOKENS:
            bits.write(0, 1)
            bits.write(_SHORT_TOKENS[self.tokens_per_tile], 3)
        else:
            bits.write(1, 1)
            bits.write(self.tokens_per_tile - 1, 8)


def _check_sides(width: int, height: int) -> None:
    if max(width, height) > MAX_SIDE:
        raise LimitExceeded(
            f"the picture has {width}x{height} pixels; "
            f"{MAX_SIDE} a side is the most that the format holds"
        )


def can_be_scaled(width: int, height: int) -> bool:
    """Whether a picture of this size, in pixels, can be scaled to fill its tiles."""
    native = width % TILE == 0 and height % TILE == 0
    return not native and max(width, height) <= MAX_SCALED


def _is_plain_tile(width: int, height: int) -> bool:
    return width == TILE and height == TILE


def _read_size(bits: BitReader) -> tuple[int, int, int, int, int]:
    """Width, height, layout, overlap in pixels, counts."""
    if bits.read(1) == 0:
        return TILE, TILE, 0, 0, 0
    width = bits.read_exp_golomb(_SIZE_ORDER) + 1
    height = bits.read_exp_golomb(_SIZE_ORDER) + 1
    return width, height, bits.read(2), bits.read(4) * OVERLAP_UNIT, bits.read(1)


def _read_tokens_per_tile(bits: BitReader) -> int:
    if bits.read(1) == 0:
        return 2 << bits.read(3)
    return bits.read(8) + 1


def _check_magic(data: bytes) -> None:
    if not data:
        raise NotAnOdpFile("the file is empty")
    if MAGIC.startswith(data[: len(MAGIC)]):
        return
    for beginning, reason in _FOREIGN.items():
        if data.startswith(beginning):
            raise NotAnOdpFile(f"not a One-D-Piece picture: {reason}")
    raise NotAnOdpFile("not a One-D-Piece picture")
