"""The fields of a header as bits, in format versions 1 and 2 (docs/format.md)."""

from __future__ import annotations

from typing import NamedTuple

from onedpiece.bitstream.bits import BitReader, BitWriter
from onedpiece.constants import DEFAULT_TOKEN_SET, TILE

FINGERPRINT_BYTES = 3
OVERLAP_UNIT = 8
"""The overlap of tiles is stored in units of this many pixels."""

_SIZE_ORDER = 8
_NATIVE, _SCALED, _OVERLAPPING = range(3)

# Version 2 has one code for the number of tokens and for whether an allocation follows.
_EXPLICIT, _EXPLICIT_WITH_ALLOCATION = 9, 10
_MAX_EXPONENT = 8
_EXPONENT = {1 << exponent: exponent for exponent in range(_MAX_EXPONENT + 1)}


class Fields(NamedTuple):
    """What a header says besides its flags. `Header` has the meanings and the rules.

    reserved: whether a field has a value that only later readers know.
    """

    width: int
    height: int
    tokens_per_tile: int
    model: bytes
    overlap: int
    scaled: bool
    has_allocation: bool
    density: int = 1
    reserved: bool = False

    @property
    def is_tile(self) -> bool:
        """Whether the picture has the size of a tile, for which there is a short form."""
        return self.width == self.height == TILE


def write_version_1(bits: BitWriter, fields: Fields) -> None:
    """Fingerprint, size, layout, number of tokens."""
    bits.write(int.from_bytes(fields.model, "big"), 8 * FINGERPRINT_BYTES)
    bits.write(not fields.is_tile, 1)
    if not fields.is_tile:
        _write_size(bits, fields)
        bits.write(_SCALED if fields.scaled else _NATIVE, 2)
        bits.write(fields.overlap // OVERLAP_UNIT, 4)
        bits.write(fields.has_allocation, 1)
    exponent = _EXPONENT.get(fields.tokens_per_tile, 0)
    bits.write(exponent == 0, 1)
    if exponent:
        bits.write(exponent - 1, 3)
    else:
        bits.write(fields.tokens_per_tile - 1, 8)


def read_version_1(bits: BitReader) -> Fields:
    """The inverse of `write_version_1`. Raises OutOfBits or DamagedFile."""
    model = _read_fingerprint(bits)
    width = height = TILE
    layout, overlap, counts = _NATIVE, 0, 0
    if bits.read(1):
        width, height = _read_size(bits)
        layout, overlap, counts = bits.read(2), bits.read(4) * OVERLAP_UNIT, bits.read(1)
    tokens = bits.read(8) + 1 if bits.read(1) else 2 << bits.read(3)
    return Fields(
        *(width, height, tokens, model, overlap),
        scaled=layout == _SCALED,
        has_allocation=bool(counts),
        reserved=layout > _SCALED,
    )


def write_version_2(bits: BitWriter, fields: Fields) -> None:
    """One byte for the usual case, then what it announces."""
    named, exponent = fields.model != DEFAULT_TOKEN_SET, _EXPONENT.get(fields.tokens_per_tile)
    explicit = exponent is None or fields.has_allocation
    code = exponent or 0
    if explicit:
        code = _EXPLICIT_WITH_ALLOCATION if fields.has_allocation else _EXPLICIT
    bits.write(named << 7 | (not fields.is_tile) << 6 | fields.density - 1 << 4 | code, 8)
    if named:
        bits.write(int.from_bytes(fields.model, "big"), 8 * FINGERPRINT_BYTES)
    if explicit:
        bits.write(fields.tokens_per_tile - 1, 8)
    if not fields.is_tile:
        _write_size(bits, fields)
        _write_layout(bits, fields)


def _write_layout(bits: BitWriter, fields: Fields) -> None:
    if fields.overlap:
        bits.write(_OVERLAPPING, 2)
        bits.write(fields.overlap // OVERLAP_UNIT, 4)
    else:
        bits.write(_SCALED if fields.scaled else _NATIVE, 2)


def read_version_2(bits: BitReader) -> Fields:
    """The inverse of `write_version_2`. Raises OutOfBits or DamagedFile."""
    usual = bits.read(8)
    named, is_long, density, code = usual >> 7, usual >> 6 & 1, (usual >> 4 & 3) + 1, usual & 0xF
    model = _read_fingerprint(bits) if named else DEFAULT_TOKEN_SET
    if code in (_EXPLICIT, _EXPLICIT_WITH_ALLOCATION):
        tokens = bits.read(8) + 1
    else:
        tokens = 1 << min(code, _MAX_EXPONENT)
    width = height = TILE
    layout, overlap = _SCALED if density > 1 else _NATIVE, 0
    if is_long:
        width, height = _read_size(bits)
        layout = bits.read(2)
        overlap = bits.read(4) * OVERLAP_UNIT if layout == _OVERLAPPING else 0
    return Fields(
        *(width, height, tokens, model, overlap),
        scaled=layout == _SCALED,
        has_allocation=code == _EXPLICIT_WITH_ALLOCATION,
        density=density,
        reserved=layout > _OVERLAPPING or code > _EXPLICIT_WITH_ALLOCATION,
    )


def _write_size(bits: BitWriter, fields: Fields) -> None:
    bits.write_exp_golomb(fields.width - 1, _SIZE_ORDER)
    bits.write_exp_golomb(fields.height - 1, _SIZE_ORDER)


def _read_size(bits: BitReader) -> tuple[int, int]:
    width = bits.read_exp_golomb(_SIZE_ORDER) + 1
    return width, bits.read_exp_golomb(_SIZE_ORDER) + 1


def _read_fingerprint(bits: BitReader) -> bytes:
    return bits.read(8 * FINGERPRINT_BYTES).to_bytes(FINGERPRINT_BYTES, "big")
