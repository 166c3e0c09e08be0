"""Writing and reading single bits, most significant bit first."""

from __future__ import annotations

from onedpiece.errors import DamagedFile

_LONG = 64  # bits that a writer holds at most before it appends them to its bytes

MAX_PREFIX = 15
"""Largest number of zero bits at the beginning of an Exp-Golomb code. More are damage."""


class OutOfBits(EOFError):
    """The data ended in the middle of a field. The caller reports which field it was."""


class BitWriter:
    """Joins numbers of any width in bits to bytes."""

    def __init__(self) -> None:
        self._whole = bytearray()
        self._value = 0  # the bits after the whole bytes
        self._length = 0

    def write(self, value: int, width: int) -> None:
        """Append an unsigned number as `width` bits. Raises ValueError if it does not fit."""
        if not 0 <= value < 1 << width:
            raise ValueError(f"{value} does not fit into {width} bits")
        self._value = self._value << width | value
        self._length += width
        if self._length >= _LONG:
            self._flush()

    def _flush(self) -> None:
        rest = self._length % 8
        self._whole += (self._value >> rest).to_bytes(self._length // 8, "big")
        self._value &= (1 << rest) - 1
        self._length = rest

    def write_exp_golomb(self, value: int, order: int) -> None:
        """Append a number of 0 or more as an Exp-Golomb code of the given order.

        The code is value + 2**order in binary, preceded by one zero for each binary digit beyond
        the first order + 1. Raises ValueError for a negative value, and if the code would need
        more than MAX_PREFIX zeros.
        """
        digits = (value + (1 << order)).bit_length()
        prefix = digits - order - 1
        if value < 0 or prefix > MAX_PREFIX:
            raise ValueError(f"{value} has no Exp-Golomb code of order {order} here")
        self.write(0, prefix)
        self.write(value + (1 << order), digits)

    def getvalue(self) -> bytes:
        """All bits so far, padded with zeros to whole bytes."""
        padding = -self._length % 8
        last = (self._value << padding).to_bytes((self._length + padding) // 8, "big")
        return bytes(self._whole) + last


class BitReader:
    """Reads bits from `data`, beginning at byte `start`. Only the bits that are read are copied."""

    def __init__(self, data: bytes, start: int = 0) -> None:
        self._data = data
        self._position = 8 * start

    @property
    def position(self) -> int:
        """Bits from the beginning of the data to the next bit."""
        return self._position

    def read(self, width: int) -> int:
        """The next `width` bits as an unsigned number. Raises OutOfBits if fewer are left."""
        end = self._position + width
        if end > 8 * len(self._data):
            raise OutOfBits(f"no {width} bits are left at bit {self._position}")
        whole_bytes = int.from_bytes(self._data[self._position // 8 : (end + 7) // 8], "big")
        self._position = end
        return whole_bytes >> (-end % 8) & ((1 << width) - 1)

    def read_exp_golomb(self, order: int) -> int:
        """The next Exp-Golomb code of the given order, as a number of 0 or more.

        Raises OutOfBits if the data ends within the code, DamagedFile if the code begins with more
        than MAX_PREFIX zeros.
        """
        prefix = 0
        while self.read(1) == 0:
            prefix += 1
            if prefix > MAX_PREFIX:
                raise DamagedFile("the header holds a number that is too long")
        rest = order + prefix
        return (1 << rest) + self.read(rest) - (1 << order)

    def align(self) -> None:
        """Skip to the next byte boundary."""
        self._position += -self._position % 8
