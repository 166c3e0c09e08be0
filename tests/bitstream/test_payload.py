"""Tokens in 12 bits each, first tokens first, readable as far as they arrived."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from onedpiece.bitstream import pack_tokens, unpack_tokens
from onedpiece.errors import DamagedFile

token_arrays = arrays(
    np.uint16,
    st.tuples(st.integers(1, 9), st.integers(1, 20)),
    elements=st.integers(0, 4095),
)


@pytest.mark.parametrize(
    "tokens, expected",
    [
        ([[0xABC]], "abc0"),
        ([[0x123, 0x456]], "123456"),
        ([[0x123], [0x456]], "123456"),
        ([[0x001, 0x002, 0xFFF]], "001002fff0"),
        ([[0x111, 0x222], [0x333, 0x444]], "111333222444"),
    ],
)
def test_vectors(tokens, expected):
    assert pack_tokens(np.array(tokens)).hex() == expected


@given(token_arrays)
def test_tokens_come_back(tokens):
    tiles, count = tokens.shape
    back, counts = unpack_tokens(pack_tokens(tokens), tiles, count)
    assert back.dtype == np.uint16
    np.testing.assert_array_equal(back, tokens)
    np.testing.assert_array_equal(counts, np.full(tiles, count))


@given(token_arrays, st.data())
def test_a_cut_payload_gives_the_tokens_that_are_completely_there(tokens, data):
    tiles, count = tokens.shape
    payload = pack_tokens(tokens)
    length = data.draw(st.integers(0, len(payload)))
    back, counts = unpack_tokens(payload[:length], tiles, count)

    assert counts.sum() == min(tokens.size, 8 * length // 12)
    assert back.shape == (tiles, counts.max())
    for tile in range(tiles):
        here = counts[tile]
        np.testing.assert_array_equal(back[tile, :here], tokens[tile, :here])
        assert not back[tile, here:].any()


@given(token_arrays, st.data())
def test_earlier_tiles_get_their_token_first(tokens, data):
    tiles, count = tokens.shape
    payload = pack_tokens(tokens)
    length = data.draw(st.integers(0, len(payload)))
    _, counts = unpack_tokens(payload[:length], tiles, count)
    assert (np.diff(counts) <= 0).all()
    assert counts[0] - counts[-1] <= 1


@given(token_arrays, st.data())
def test_fewer_tokens_are_a_prefix_of_the_bytes(tokens, data):
    kept = data.draw(st.integers(1, tokens.shape[1]))
    whole, shorter = pack_tokens(tokens), pack_tokens(tokens[:, :kept])
    complete_bytes = 12 * kept * tokens.shape[0] // 8
    assert whole[:complete_bytes] == shorter[:complete_bytes]


def test_nothing_arrived():
    tokens, counts = unpack_tokens(b"", tiles=3, count=64)
    assert tokens.shape == (3, 0)
    assert counts.tolist() == [0, 0, 0]


def test_half_a_token_is_none():
    tokens, counts = unpack_tokens(b"\xff", tiles=1, count=64)
    assert tokens.shape == (1, 0)
    assert counts.tolist() == [0]


def test_memory_follows_the_data_not_the_promise():
    tokens, _ = unpack_tokens(b"\x12\x34\x56", tiles=1, count=10**15)
    assert tokens.tolist() == [[0x123, 0x456]]


def test_bytes_after_the_last_token_are_damage():
    with pytest.raises(DamagedFile, match="after the last token"):
        unpack_tokens(b"\x12\x34\x56\x00", tiles=1, count=2)


def test_padding_must_be_zero_in_a_complete_payload():
    with pytest.raises(DamagedFile, match="padding"):
        unpack_tokens(b"\x12\x34", tiles=1, count=1)


@pytest.mark.parametrize(
    "wrong",
    [
        np.zeros(4, np.uint16),
        np.zeros((0, 4), np.uint16),
        np.zeros((2, 2), np.float32),
        np.array([[4096]]),
        np.array([[-1]]),
    ],
)
def test_impossible_tokens_are_mistakes_of_the_caller(wrong):
    with pytest.raises(ValueError):
        pack_tokens(wrong)
