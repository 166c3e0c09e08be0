"""Bits go in and come out, most significant first."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from onedpiece.bitstream.bits import MAX_PREFIX, BitReader, BitWriter, OutOfBits
from onedpiece.errors import DamagedFile


def test_bits_fill_bytes_from_the_top_and_zeros_fill_the_last_byte():
    bits = BitWriter()
    bits.write(0b101, 3)
    bits.write(0b11, 2)
    bits.write(0b00001, 5)
    assert bits.getvalue() == bytes([0b10111000, 0b01000000])


def test_no_bits_are_no_bytes():
    assert BitWriter().getvalue() == b""


@pytest.mark.parametrize("value, width", [(4, 2), (-1, 8), (1, 0)])
def test_a_number_must_fit_its_width(value, width):
    with pytest.raises(ValueError):
        BitWriter().write(value, width)


@given(
    st.lists(st.integers(0, 40).flatmap(lambda w: st.tuples(st.integers(0, 2**w - 1), st.just(w))))
)
def test_fixed_widths_come_back(fields):
    bits = BitWriter()
    for value, width in fields:
        bits.write(value, width)
    reader = BitReader(bits.getvalue())
    assert [reader.read(width) for _, width in fields] == [value for value, _ in fields]


@pytest.mark.parametrize(
    "value, order, code",
    [
        (0, 0, "1"),
        (1, 0, "010"),
        (2, 0, "011"),
        (3, 0, "00100"),
        (0, 8, "100000000"),
        (255, 8, "111111111"),
        (256, 8, "01000000000"),
        (767, 8, "01111111111"),
        (768, 8, "0010000000000"),
    ],
)
def test_exp_golomb_codes(value, order, code):
    bits = BitWriter()
    bits.write_exp_golomb(value, order)
    reader = BitReader(bits.getvalue())
    assert reader.read(len(code)) == int(code, 2)
    assert BitReader(bits.getvalue()).read_exp_golomb(order) == value


@given(st.integers(0, 8), st.lists(st.integers(0, 2**16 - 2)))
def test_exp_golomb_codes_come_back(order, values):
    bits = BitWriter()
    for value in values:
        bits.write_exp_golomb(value, order)
    reader = BitReader(bits.getvalue())
    assert [reader.read_exp_golomb(order) for _ in values] == values


@pytest.mark.parametrize("value", [-1, 2**16 - 1])
def test_exp_golomb_has_no_code_for_numbers_out_of_range(value):
    with pytest.raises(ValueError):
        BitWriter().write_exp_golomb(value, 0)


def test_a_prefix_that_is_too_long_is_damage():
    with pytest.raises(DamagedFile):
        BitReader(bytes(1000)).read_exp_golomb(8)


def test_the_longest_prefix_is_still_read():
    bits = BitWriter()
    bits.write(1, MAX_PREFIX + 1)
    bits.write(0, MAX_PREFIX)
    assert BitReader(bits.getvalue()).read_exp_golomb(0) == 2**MAX_PREFIX - 1


def test_reading_past_the_end_says_so():
    reader = BitReader(b"\xff")
    reader.read(5)
    with pytest.raises(OutOfBits):
        reader.read(4)
    with pytest.raises(OutOfBits):
        BitReader(b"\x00").read_exp_golomb(8)


def test_reading_may_start_at_any_byte():
    assert BitReader(b"\x00\xab", start=1).read(8) == 0xAB


def test_aligning_moves_to_the_next_byte_only_from_within_one():
    reader = BitReader(b"\x80\x01")
    reader.align()
    assert reader.position == 0
    reader.read(1)
    reader.align()
    assert reader.position == 8
