"""The range coder: symbols come back, also from a prefix of the bytes, which are few."""

import constriction
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from onedpiece.entropy.range_coder import PRECISION, InvalidStream, decode, encode


@st.composite
def tables(draw):
    """Cumulative frequencies of 2 to 50 symbols, among them very common and very rare ones."""
    weights = np.array(draw(st.lists(st.integers(0, 60), min_size=2, max_size=50)))
    shares = 2.0 ** (weights / 2)
    spare = (1 << PRECISION) - len(shares)
    inner = np.floor(np.cumsum(shares)[:-1] / shares.sum() * spare).astype(int)
    return [0, *(inner + np.arange(1, len(shares))).tolist(), 1 << PRECISION]


@st.composite
def messages(draw):
    """Symbols, each with one of a few tables."""
    known = draw(st.lists(tables(), min_size=1, max_size=3))
    chosen = draw(st.lists(st.sampled_from(known), min_size=1, max_size=60))
    return [draw(st.integers(0, len(table) - 2)) for table in chosen], chosen


def bits(symbols, chosen):
    return sum(
        PRECISION - np.log2(table[symbol + 1] - table[symbol])
        for symbol, table in zip(symbols, chosen, strict=True)
    )


@given(messages())
def test_symbols_come_back(message):
    symbols, chosen = message
    back, exact = decode(encode(symbols, chosen), chosen)
    assert back.tolist() == symbols and exact


@given(messages())
def test_a_stream_is_at_most_two_bytes_longer_than_its_information(message):
    assert bits(*message) <= 8 * len(encode(*message)) <= bits(*message) + 16


@given(messages())
def test_the_sizes_of_all_beginnings_are_known(message):
    symbols, chosen = message
    sizes = []
    encode(symbols, chosen, sizes)
    expected = [len(encode(symbols[:n], chosen[:n])) for n in range(1, len(symbols) + 1)]
    assert sizes == expected == sorted(sizes)


@given(messages(), st.binary(max_size=9), st.data())
def test_a_prefix_decides_about_the_same_symbols_whatever_follows(message, other, data):
    symbols, chosen = message
    whole = encode(symbols, chosen)
    kept = data.draw(st.integers(0, len(whole)))
    known, _ = decode(whole[:kept], chosen)
    assert known.tolist() == symbols[: len(known)]
    continued, _ = decode(whole[:kept] + other, chosen[: len(known)])
    assert continued == known


@given(messages())
def test_no_byte_is_more_than_the_last_symbol_needs(message):
    symbols, chosen = message
    known, _ = decode(encode(symbols, chosen)[:-1], chosen)
    assert len(known) < len(symbols)


@given(messages(), st.binary(min_size=1, max_size=9))
def test_bytes_after_the_end_are_noticed(message, more):
    symbols, chosen = message
    back, exact = decode(encode(symbols, chosen) + more, chosen)
    assert back.tolist() == symbols and not exact


@given(st.binary(max_size=40), tables())
def test_any_bytes_are_symbols_or_invalid(data, table):
    try:
        symbols, _ = decode(data, [table] * 1000)
    except InvalidStream:
        return
    assert not symbols or len(encode(symbols, [table] * len(symbols))) <= len(data)


def test_a_number_beyond_all_symbols_is_invalid():
    with pytest.raises(InvalidStream):
        decode(b"\xff" * 8, [[0, 1 << 23, 1 << 24]])


def test_carries_run_through_all_earlier_words():
    table = [0, (1 << 24) - 1, 1 << 24]
    symbols = [1, *[0] * 40, 1, 1, 0, 1]
    message = symbols, [table] * len(symbols)
    assert decode(encode(*message), message[1])[0].tolist() == symbols


class TestAgainstConstriction:
    """The library reads our streams, and we read its."""

    @staticmethod
    def model(table):
        """The library adds 1 to each frequency of what it is told."""
        count = len(table) - 1
        starts = np.array(table) - np.arange(count + 1)
        spare = (1 << PRECISION) - count

        def cdf(x):
            return starts[min(max(int(np.floor(x + 0.5)), 0), count)] / spare

        def ppf(share):
            return float(np.searchsorted(starts[:-1] / spare, share, side="right") - 1)

        return constriction.stream.model.CustomModel(cdf, ppf, 0, count - 1)

    @given(tables(), st.data())
    def test_it_decodes_ours(self, table, data):
        symbols = data.draw(st.lists(st.integers(0, len(table) - 2), min_size=1, max_size=60))
        expected = encode(symbols, [table] * len(symbols))
        words = np.frombuffer(expected + bytes(-len(expected) % 4), ">u4").astype(np.uint32)
        decoder = constriction.stream.queue.RangeDecoder(words)
        assert decoder.decode(self.model(table), len(symbols)).tolist() == symbols

    @given(tables(), st.data())
    def test_we_decode_its(self, table, data):
        symbols = data.draw(st.lists(st.integers(0, len(table) - 2), min_size=1, max_size=60))
        encoder = constriction.stream.queue.RangeEncoder()
        encoder.encode(np.array(symbols, np.int32), self.model(table))
        other_stream = encoder.get_compressed().astype(">u4").tobytes() + bytes(8)
        assert decode(other_stream, [table] * len(symbols))[0].tolist() == symbols
