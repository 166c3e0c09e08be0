"""A range coder over integer frequencies, whose streams can be truncated at any byte.

Each symbol narrows an interval of numbers, and the bytes are a number in the final interval
(G. N. N. Martin, "Range encoding", 1979). The steps are those of the library constriction with
32-bit words and frequencies of 24 bits, which can read these streams too. The end is shorter: it
has only the bytes that are needed to determine every symbol, whatever bytes might follow.
"""

from __future__ import annotations

from array import array
from bisect import bisect_right
from collections.abc import Iterable, Sequence

PRECISION = 24
"""The frequencies of all symbols add up to 2**PRECISION."""

Cumulative = Sequence[int]
"""The sum of all earlier frequencies for each symbol, then 2**PRECISION. Strictly increasing."""

_WORD = 32
_WORD_MASK = (1 << _WORD) - 1
_STATE = 2 * _WORD
_STATE_MASK = (1 << _STATE) - 1
_STATE_BYTES = _STATE // 8


class InvalidStream(Exception):
    """The bytes are not the code of any symbols."""


def encode(
    symbols: Iterable[int], tables: Iterable[Cumulative], sizes: list[int] | None = None
) -> bytes:
    """Symbols to bytes, with one table for each symbol.

    sizes: if given, the sizes in bytes of the first 1, 2, ... symbols alone are appended to it.

    Raises ValueError if there are not as many tables as symbols.
    """
    low, width = 0, _STATE_MASK
    words: list[int] = []
    for symbol, cumulative in zip(symbols, tables, strict=True):
        scale = width >> PRECISION
        start = cumulative[symbol]
        low += scale * start
        width = scale * (cumulative[symbol + 1] - start)
        if width <= _WORD_MASK:
            words.append(low >> _WORD)  # may exceed a word by a carry, which is added up at the end
            low = (low & _WORD_MASK) << _WORD
            width <<= _WORD
        if sizes is not None:
            sizes.append(4 * len(words) + _end(low, width)[1])
    number, count = _end(low, width)
    return _join_words(words, number)[: 4 * len(words) + count]


def decode(data: bytes, tables: Iterable[Cumulative]) -> tuple[array[int], bool]:
    """Decode bytes, complete or truncated, to at most one symbol for each table.

    Returns the symbols that the bytes determine, as unsigned 16-bit numbers, and whether `encode`
    makes exactly these bytes of them. Missing bytes count as zeros; raises InvalidStream if the
    number is outside the interval of every symbol.
    """
    symbols = array("H")
    # `value` is the distance of the number in the bytes from the lower end of the interval, and
    # `unknown` the most that missing bytes can add to it, both in units of the state. `position`
    # is the position of the next byte to read.
    position, width = _STATE_BYTES, _STATE_MASK
    value, unknown = _window(data, 0, _STATE_BYTES)
    for cumulative in tables:
        scale = width >> PRECISION
        share = value // scale
        if share >> PRECISION:
            raise InvalidStream
        symbol = bisect_right(cumulative, share) - 1
        start = scale * cumulative[symbol]
        narrower = scale * cumulative[symbol + 1] - start
        if value - start + unknown >= narrower:
            break  # the symbol depends on missing bytes
        symbols.append(symbol)
        value -= start
        width = narrower
        if width <= _WORD_MASK:
            word, missing = _window(data, position, _WORD // 8)
            value = value << _WORD | word
            unknown = unknown << _WORD | missing
            width <<= _WORD
            position += _WORD // 8
    read, _ = _window(data, position - _STATE_BYTES, _STATE_BYTES)
    number, count = _end(read - value, width)
    return symbols, number == read and len(data) == position - _STATE_BYTES + count


def _end(low: int, width: int) -> tuple[int, int]:
    """The number with the fewest leading bytes that determine an interval, and their number."""
    count = (_STATE + 8 - width.bit_length()) // 8
    while True:
        unit = 1 << (_STATE - 8 * count)
        number = -(-low // unit) * unit
        if number + unit <= low + width:
            return number, count
        count += 1


def _join_words(words: list[int], number: int) -> bytes:
    """All words and the last number as bytes, with carries added.

    The first word never has a carry: the whole is a number below 1.
    """
    carry, low = divmod(number, 1 << _STATE)
    parts = [low.to_bytes(_STATE_BYTES, "big")]
    for word in reversed(words):
        carry, rest = divmod(word + carry, 1 << _WORD)
        parts.append(rest.to_bytes(_WORD // 8, "big"))
    return b"".join(reversed(parts))


def _window(data: bytes, start: int, count: int) -> tuple[int, int]:
    """The big-endian number in `count` bytes, and the most that missing bytes can add to it.

    Missing bytes count as zeros.
    """
    present = data[start : start + count]
    missing = 8 * (count - len(present))
    return int.from_bytes(present, "big") << missing, (1 << missing) - 1
