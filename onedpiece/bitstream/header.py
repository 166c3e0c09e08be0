"""The first bytes of a file: size and colour mode of the picture, and the kind of its tokens."""

from __future__ import annotations

from dataclasses import dataclass

from onedpiece.bitstream.bits import BitReader, BitWriter, OutOfBits
from onedpiece.bitstream.checksum import crc8
from onedpiece.bitstream.layouts import (
    FINGERPRINT_BYTES,
    OVERLAP_UNIT,
    Fields,
    read_version_1,
    read_version_2,
    write_version_1,
    write_version_2,
)
from onedpiece.constants import MAGIC, MAX_DENSITY, MAX_SIDE, MAX_TOKENS, TILE
from onedpiece.errors import DamagedFile, LimitExceeded, NotAnOdpFile, UnsupportedFile
from onedpiece.tiles.grid import MAX_SCALED, Grid

VERSION = 2
"""The format version that is written; versions 1 and 2 are read."""

MAX_OVERLAP = 15 * OVERLAP_UNIT

_READERS = {1: read_version_1, 2: read_version_2}
_WRITERS = {1: write_version_1, 2: write_version_2}

_MUST_REFUSE, _ENTROPY_CODED, _GREY, _HAS_CHUNKS = 8, 4, 2, 1
"""Flags of a header, in the half byte after its version. Nothing needs the first one yet."""

_FOREIGN = {
    b"\x1dP": "its bytes lost their eighth bit, as in a transfer as text",
    b"PK\x03\x04": "this is a zip file; the name .odp also stands for OpenDocument Presentation",
    b"\x89PNG": "this is a PNG picture already",
    b"\xff\xd8\xff": "this is a JPEG picture already",
    b"RIFF": "this is a RIFF file, such as a WebP picture",
}


@dataclass(frozen=True, slots=True)
class Header:
    """The header of a file.

    width, height: size of the picture in pixels, 1 to MAX_SIDE.
    tokens_per_tile: number of tokens of each tile in the complete file, 1 to MAX_TOKENS; with an
        allocation, the mean number, rounded up.
    model: the first 3 bytes of the SHA-256 of the tokens' token set; in version 1, of the weights
        file of a model.
    overlap: pixels that neighbouring tiles share, a multiple of 8, 0 to MAX_OVERLAP.
    scaled: the picture is scaled to fill tiles that do not overlap. Always with a density above 1.
        With density 1, only for sides of at most 2048 pixels that are not both multiples of 256.
    density: pixels of the tiles for each pixel of the picture, along each side, 1 to MAX_DENSITY.
        Sides times density are at most MAX_SIDE. Always 1 in version 1.
    grey: the decoded picture is greyscale.
    entropy_coded: tokens are coded with the tables of the token set instead of 12 bits each.
    has_chunks: optional chunks lie between the header and the tokens.
    has_allocation: an allocation of tokens to tiles follows the header.
    version: format version, 1 or 2.

    A picture of 256x256 pixels and density 1 is one tile: overlap and has_allocation are set to 0.

    Raises LimitExceeded for a side that is too long, ValueError for other numbers out of range.
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
    density: int = 1
    version: int = VERSION

    def __post_init__(self) -> None:
        _check_sides(self.width, self.height, self.density)
        if min(self.width, self.height) < 1:
            raise ValueError(f"a picture has at least 1x1 pixels, not {self.width}x{self.height}")
        if not 1 <= self.tokens_per_tile <= MAX_TOKENS:
            raise ValueError(f"tokens per tile must be 1 to {MAX_TOKENS}")
        if len(self.model) != FINGERPRINT_BYTES:
            raise ValueError(f"a fingerprint has {FINGERPRINT_BYTES} bytes")
        if self.overlap % OVERLAP_UNIT or not 0 <= self.overlap <= MAX_OVERLAP:
            raise ValueError(
                f"overlap must be a multiple of {OVERLAP_UNIT}, 0 to {MAX_OVERLAP} pixels"
            )
        if self.version not in _WRITERS:
            raise ValueError(f"there is no format version {self.version}")
        if not 1 <= self.density <= (MAX_DENSITY if self.version > 1 else 1):
            raise ValueError(f"density must be 1 to {MAX_DENSITY}, and 1 in version 1")
        if not _layout_fits(self):
            raise ValueError(f"{self.width}x{self.height} pixels cannot have tiles of this layout")
        if self.width == self.height == TILE and self.density == 1:
            object.__setattr__(self, "overlap", 0)
            object.__setattr__(self, "has_allocation", False)

    @classmethod
    def for_picture(
        cls,
        width: int,
        height: int,
        num_tokens: int,
        model: bytes,
        grey: bool = False,
        density: int = 1,
    ) -> Header:
        """The header of a picture: scaled to fill its tiles if possible, else native.

        num_tokens: tokens of each tile.
        """
        scaled = density > 1 or can_be_scaled(width, height)
        return cls(width, height, num_tokens, model, grey=grey, scaled=scaled, density=density)

    @property
    def pixels(self) -> int:
        """Number of pixels of the picture."""
        return self.width * self.height

    @property
    def decoded_pixels(self) -> int:
        """About how many pixels a decoder paints: those of the picture at its density."""
        return self.pixels * self.density**2

    def check_pixels(self, max_pixels: int) -> None:
        """Raise LimitExceeded if a decoder would paint more pixels."""
        if self.decoded_pixels > max_pixels:
            density = f" at density {self.density}" if self.density > 1 else ""
            raise LimitExceeded(
                f"the picture has {self.width}x{self.height} pixels{density}, "
                f"more than {max_pixels}"
            )

    @property
    def grid(self) -> Grid:
        """The tiles of the picture, after scaling if it is scaled."""
        if self.scaled:
            return Grid.filled(self.density * self.width, self.density * self.height)
        return Grid(self.width, self.height, self.overlap)

    @property
    def base_tiles(self) -> int:
        """Number of tiles that the picture has at density 1."""
        if self.density == 1:
            return self.grid.count
        return Header.for_picture(self.width, self.height, 1, self.model).grid.count

    @property
    def num_tokens(self) -> int:
        """Tokens for each tile of density 1, rounded up, where all tiles have `tokens_per_tile`."""
        if self.density == 1:
            return self.tokens_per_tile
        return -(-self.tokens_per_tile * self.grid.count // self.base_tiles)

    @property
    def mode(self) -> str:
        """Pillow's mode of the decoded picture without transparency: "L" or "RGB"."""
        return "L" if self.grey else "RGB"

    def pack(self) -> bytes:
        """The header as bytes, including its checksum."""
        guarded = self._guarded()
        return guarded + bytes([crc8(guarded)])

    def _guarded(self) -> bytes:
        """What the checksum guards: the header without it."""
        bits = BitWriter()
        flags = self.entropy_coded << 2 | self.grey << 1 | self.has_chunks
        bits.write(self.version << 4 | flags, 8)
        fields = Fields(
            *(self.width, self.height, self.tokens_per_tile, self.model),
            *(self.overlap, self.scaled, self.has_allocation, self.density),
        )
        _WRITERS[self.version](bits, fields)
        return MAGIC + bits.getvalue()

    @classmethod
    def unpack(cls, data: bytes) -> tuple[Header, int]:
        """The header at the beginning of `data`, and its length in bytes.

        Raises NotAnOdpFile if the data begins differently, UnsupportedFile for a version or feature
        that this reader does not know, LimitExceeded for a side that is too long, and DamagedFile
        for all other faults.
        """
        _check_magic(data)
        try:
            return cls._read(data)
        except OutOfBits as error:
            raise DamagedFile("the header is truncated") from error

    @classmethod
    def _read(cls, data: bytes) -> tuple[Header, int]:
        bits = BitReader(data, start=len(MAGIC))
        first = bits.read(8)
        version, flags = first >> 4, first & 0xF
        if version not in _READERS:
            # The layout of another version is unknown, and so is the place of its checksum.
            raise UnsupportedFile(
                f"the file has format version {version}, this reader knows 1 to {VERSION}; "
                "either the file is newer or its header is damaged"
            )
        fields = _READERS[version](bits)
        bits.align()
        guarded = bits.position // 8

        # The checksum is checked before any field is interpreted: a flipped bit must be reported as
        # damage, not as an unknown feature.
        if bits.read(8) != crc8(data[:guarded]):
            raise DamagedFile("the header is damaged: its checksum does not match")
        if flags & _MUST_REFUSE or fields.reserved:
            raise UnsupportedFile("the file needs a newer reader")
        try:
            header = cls(
                *(fields.width, fields.height, fields.tokens_per_tile, fields.model),
                overlap=fields.overlap,
                grey=bool(flags & _GREY),
                entropy_coded=bool(flags & _ENTROPY_CODED),
                has_chunks=bool(flags & _HAS_CHUNKS),
                has_allocation=fields.has_allocation,
                scaled=fields.scaled,
                density=fields.density,
                version=version,
            )
        except ValueError as error:  # all other numbers that the bits can hold are in range
            raise DamagedFile(
                "the header is damaged: no picture of this size has this layout"
            ) from error
        if header._guarded() != data[:guarded]:
            raise DamagedFile("the header is not in its canonical form")
        return header, guarded + 1


def can_be_scaled(width: int, height: int) -> bool:
    """Whether a picture of this size, in pixels, can be scaled to fill its tiles at density 1."""
    native = width % TILE == 0 and height % TILE == 0
    return not native and max(width, height) <= MAX_SCALED


def _layout_fits(header: Header) -> bool:
    """Whether scaling, overlap and density of a header fit together."""
    if header.density > 1:
        return header.scaled and not header.overlap
    return not header.scaled or (not header.overlap and can_be_scaled(header.width, header.height))


def _check_sides(width: int, height: int, density: int) -> None:
    if density * max(width, height) > MAX_SIDE:
        at_density = f" at density {density}" if density > 1 else ""
        raise LimitExceeded(
            f"the picture has {width}x{height} pixels{at_density}; "
            f"{MAX_SIDE // density} a side is the most that the format holds{at_density}"
        )


def _check_magic(data: bytes) -> None:
    if not data:
        raise NotAnOdpFile("the file is empty")
    if MAGIC.startswith(data[: len(MAGIC)]):
        return
    for beginning, reason in _FOREIGN.items():
        if data.startswith(beginning):
            raise NotAnOdpFile(f"not a One-D-Piece picture: {reason}")
    raise NotAnOdpFile("not a One-D-Piece picture")
