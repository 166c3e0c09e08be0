"""The checksum of short sections."""

from __future__ import annotations


def crc8(data: bytes) -> int:
    """CRC-8 with polynomial 0x07 and initial value 0xFF, 0 to 255."""
    remainder = 0xFF
    for byte in data:
        remainder ^= byte
        for _ in range(8):
            remainder = remainder << 1 ^ (0x107 if remainder & 0x80 else 0)
    return remainder
