"""Tokens are shared out among tiles evenly or by level, and so is every prefix of them."""

import time
from contextlib import suppress

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from onedpiece.bitstream.allocation import INTERVALS, LEVELS, MAX_TOKENS, Allocation
from onedpiece.bitstream.bits import BitWriter
from onedpiece.bitstream.checksum import crc8
from onedpiece.errors import DamagedFile

level_lists = st.lists(st.integers(0, LEVELS - 1), min_size=2, max_size=30)


@st.composite
def allocations(draw):
    """(allocation that is not plain, tiles)"""
    levels = tuple(draw(level_lists))
    tiles = len(levels)
    total = draw(st.integers(tiles, MAX_TOKENS * tiles))
    if total % tiles and draw(st.booleans()):
        return Allocation(total), tiles
    return Allocation(total, levels), tiles


def test_an_interval_is_halved_every_two_levels():
    expected = [65536 / 2 ** (level / 2) for level in range(LEVELS)]
    np.testing.assert_allclose(INTERVALS, expected, atol=0.5)


class TestSequence:
    def test_without_levels_all_tiles_get_their_first_token_then_their_second(self):
        tile, position = Allocation(8).sequence(3, 8)
        assert tile.tolist() == [0, 1, 2, 0, 1, 2, 0, 1]
        assert position.tolist() == [0, 0, 0, 1, 1, 1, 2, 2]

    def test_vector(self):
        """Two levels more: twice as many tokens. The example of docs/format.md."""
        tile, position = Allocation(8, (6, 8, 6)).sequence(3, 8)
        assert tile.tolist() == [0, 1, 2, 1, 0, 1, 2, 1]
        assert position.tolist() == [0, 0, 0, 1, 1, 2, 1, 3]

    @given(level_lists, st.data())
    def test_tokens_of_a_tile_come_in_order_and_tiles_by_their_times(self, levels, data):
        tiles = len(levels)
        arrived = data.draw(st.integers(0, MAX_TOKENS * tiles))
        tile, position = Allocation(arrived, tuple(levels)).sequence(tiles, arrived)
        assert len(tile) == len(position) == arrived
        for number in range(tiles):
            assert position[tile == number].tolist() == list(range((tile == number).sum()))
        times = position * np.array(INTERVALS)[np.array(levels)[tile]]
        assert (np.diff(times * tiles + tile) > 0).all()
        if arrived >= tiles:
            assert np.bincount(tile, minlength=tiles).min() >= 1

    @given(level_lists, st.data())
    def test_fewer_tokens_are_the_beginning_of_more(self, levels, data):
        tiles = len(levels)
        many = data.draw(st.integers(tiles, MAX_TOKENS * tiles))
        few = data.draw(st.integers(0, many))
        allocation = Allocation(many, tuple(levels))
        for long, short in zip(
            allocation.sequence(tiles, many), allocation.sequence(tiles, few), strict=True
        ):
            np.testing.assert_array_equal(long[:few], short)

    def test_equal_levels_are_as_good_as_none(self):
        for level in range(LEVELS):
            shared = Allocation(100, (level,) * 7).sequence(7, 100)
            for one, other in zip(shared, Allocation(100).sequence(7, 100), strict=True):
                np.testing.assert_array_equal(one, other)

    def test_the_largest_picture_is_quick(self):
        levels = tuple(np.random.default_rng(0).integers(0, LEVELS, 60_000).tolist())
        start = time.monotonic()
        Allocation(60_000 * 64, levels).sequence(60_000, 1000)
        assert time.monotonic() - start < 0.5


class TestSection:
    @given(allocations())
    def test_it_comes_back_whatever_follows_it(self, allocation_and_tiles):
        allocation, tiles = allocation_and_tiles
        data = allocation.pack(tiles)
        mean = -(-allocation.total // tiles)
        back, end = Allocation.unpack(b"xyz" + data + b"rest", 3, tiles, mean)
        assert back == allocation and end == 3 + len(data)

    @given(allocations(), st.data())
    def test_every_flipped_bit_is_damage_or_moves_the_checksum(self, allocation_and_tiles, data):
        allocation, tiles = allocation_and_tiles
        section = bytearray(allocation.pack(tiles))
        bit = data.draw(st.integers(0, 8 * len(section) - 1))
        section[bit // 8] ^= 0x80 >> bit % 8
        mean = -(-allocation.total // tiles)
        try:
            _, end = Allocation.unpack(bytes(section), 0, tiles, mean)
        except DamagedFile:
            return
        assert end != len(section)

    @given(allocations(), st.data())
    def test_cut_short_is_damage(self, allocation_and_tiles, data):
        allocation, tiles = allocation_and_tiles
        section = allocation.pack(tiles)
        cut = section[: data.draw(st.integers(0, len(section) - 1))]
        with pytest.raises(DamagedFile):
            Allocation.unpack(cut, 0, tiles, 256)

    @pytest.mark.parametrize(
        "fields",
        [
            ["1 0", "0"],  # says nothing that the header does not
            ["01 01", "0"],  # drops more tokens than a round has
            ["1 0", "1", "010", "1", "1"],  # level 15 + 1
            ["1 0", "1", "00001 00001", "1", "1"],  # level 15 - 16
        ],
    )
    def test_what_no_writer_writes_is_damage(self, fields):
        bits = BitWriter()
        for field in fields:
            digits = field.replace(" ", "")
            bits.write(int(digits, 2), len(digits))
        data = bits.getvalue()
        with pytest.raises(DamagedFile):
            Allocation.unpack(data + bytes([crc8(data)]), 0, 3, 64)

    @settings(deadline=None)
    @given(st.binary(max_size=60), st.integers(1, 100), st.integers(1, 256))
    def test_random_bytes_raise_nothing_else(self, data, tiles, mean):
        with suppress(DamagedFile):
            Allocation.unpack(data, 0, tiles, mean)


def test_levels_out_of_range_are_mistakes_of_the_caller():
    for level in (-1, LEVELS):
        with pytest.raises(ValueError):
            Allocation(5, (0, level))
