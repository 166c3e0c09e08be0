"""Entropy tables: frequencies of groups of codes, and the bytes that they give."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from onedpiece.entropy.tables import GROUP_OF, GROUP_SIZES, GROUPS, TOTAL, Tables, bits, frequencies

FALLING = frequencies((1e6 / (np.arange(4096) + 20)).astype(int))
EVEN = GROUP_SIZES * (TOTAL // 4096)
TABLES = Tables(np.stack([EVEN, FALLING]), np.array([1, 255]))


def test_groups_cover_all_codes():
    assert GROUPS == 80 and GROUP_SIZES.sum() == 4096
    assert GROUP_OF[:17].tolist() == [*range(16), 16] and GROUP_OF[-1] == 79


@given(arrays(np.int64, 4096, elements=st.integers(0, 10**6)))
def test_frequencies_are_positive_and_add_up(counts):
    computed = frequencies(counts)
    assert computed.min() >= 1 and computed.sum() == TOTAL


def test_frequent_codes_take_fewer_bits():
    assert bits(EVEN).tolist() == [12.0] * 4096
    cost = bits(FALLING)
    assert cost[0] < 8 < 12 < cost[-1]
    assert (2.0**-cost).sum() == pytest.approx(1)


def test_vectors():
    """These bytes are the format: whoever changes them breaks files that exist."""
    tokens = np.array([4095, 0, 1, 17, 300, 4095, 2048, 5])
    data = TABLES.encode(tokens, np.arange(8))
    assert data.hex() == "fff0006636ee8586eb44"
    assert TABLES.decode(data, np.arange(8))[0].tolist() == tokens.tolist()


def test_the_table_of_each_position_is_its_own():
    assert len(TABLES.encode(np.zeros(8, int), np.zeros(8, int))) == 13
    assert len(TABLES.encode(np.zeros(8, int), np.arange(1, 9))) == 7


def test_a_token_takes_at_least_the_bits_of_the_commonest():
    fewest = bits(FALLING).min()
    assert int(800 / fewest) <= TABLES.most(100) <= int(800 / fewest) + 1


@pytest.mark.parametrize(
    "wrong",
    [
        np.zeros((2, GROUPS), int),
        np.stack([EVEN, EVEN + 1]),
        EVEN[None],
        np.stack([EVEN, EVEN]) + np.tile([0.5, -0.5], GROUPS // 2),
    ],
    ids=["zeros", "too large", "too few", "fractions"],
)
def test_wrong_frequencies_are_refused(wrong):
    with pytest.raises(ValueError):
        Tables(wrong, np.array([1, 255]))


@pytest.mark.parametrize("wrong", [[300, -44], [0, 256], [255.0, 1.0], [100, 100], [256], 256])
def test_wrong_blocks_are_refused(wrong):
    with pytest.raises(ValueError):
        Tables(np.stack([EVEN, FALLING]), np.array(wrong))


class TestOrder:
    """Codebooks that are not sorted: each block ranks its codes."""

    ORDER = np.stack([np.roll(np.arange(4096), 7), np.arange(4096)[::-1]])
    RANKED = Tables(np.stack([EVEN, FALLING]), np.array([1, 255]), ORDER)

    def test_a_code_takes_the_bytes_of_its_rank(self):
        tokens, positions = np.array([9, 4095, 4000, 0]), np.arange(4)
        ranks = np.array([16, 0, 95, 4095])
        assert self.RANKED.encode(tokens, positions) == TABLES.encode(ranks, positions)

    @given(st.lists(st.integers(0, 4095), min_size=1, max_size=50), st.integers(0, 60))
    def test_tokens_come_back_whole_or_as_a_prefix(self, tokens, size):
        data = self.RANKED.encode(np.array(tokens), np.arange(len(tokens)))
        decoded, exact = self.RANKED.decode(data, np.arange(len(tokens)))
        assert decoded.tolist() == tokens and exact
        prefix, _ = self.RANKED.decode(data[:size], np.arange(len(tokens)))
        assert prefix.tolist() == tokens[: len(prefix)] and prefix.dtype == np.uint16

    @pytest.mark.parametrize(
        "wrong",
        [ORDER[:1], ORDER[:, :-1], ORDER * 1.0, ORDER + 1, np.zeros_like(ORDER), -ORDER],
        ids=["too few", "too short", "fractions", "too large", "zeros", "negative"],
    )
    def test_other_orders_are_refused(self, wrong):
        with pytest.raises(ValueError, match="order"):
            Tables(np.stack([EVEN, FALLING]), np.array([1, 255]), wrong)
