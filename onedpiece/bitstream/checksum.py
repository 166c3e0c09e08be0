"""The checksum of short sections."""

from __future__ import annotations


def _remainder(byte: int) -> int:
    for _ in range(8):
        byte = byte << 1 ^ (0x107 if byte & 0x80 else 0)
    return byte


_REMAINDERS = bytes(map(_remainder, range(256)))


def crc8(data: bytes) -> int:
    """CRC-8 with polynomial 0x07 and initial value 0xFF, 0 to 255."""
    remainder = 0xFF
    for byte in data:
        remainder = _REMAINDERS[remainder ^ byte]
    return remainder
