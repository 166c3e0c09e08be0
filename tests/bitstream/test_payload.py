"""Tokens in 12 bits each, readable as far as they arrived."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from onedpiece.bitstream.payload import pack_tokens, payload_size, unpack_tokens
from onedpiece.errors import DamagedFile

streams = arrays(np.uint16, st.integers(1, 200), elements=st.integers(0, 4095))


@pytest.mark.parametrize(
    "tokens, expected",
    [
        ([0xABC], "abc0"),
        ([0x123, 0x456], "123456"),
        ([0x001, 0x002, 0xFFF], "001002fff0"),
    ],
)
def test_vectors(tokens, expected):
    assert pack_tokens(np.array(tokens)).hex() == expected


@given(streams)
def test_tokens_come_back(tokens):
    data = pack_tokens(tokens)
    assert len(data) == payload_size(len(tokens))
    back = unpack_tokens(data, len(tokens))
    assert back.dtype == np.uint16
    np.testing.assert_array_equal(back, tokens)


@given(streams, st.data())
def test_a_cut_payload_gives_the_tokens_that_are_completely_there(tokens, data):
    payload = pack_tokens(tokens)
    length = data.draw(st.integers(0, len(payload)))
    back = unpack_tokens(payload[:length], len(tokens))
    assert len(back) == min(len(tokens), 8 * length // 12)
    np.testing.assert_array_equal(back, tokens[: len(back)])


@given(streams, st.data())
def test_fewer_tokens_are_a_prefix_of_the_bytes(tokens, data):
    kept = data.draw(st.integers(1, len(tokens)))
    complete_bytes = 12 * kept // 8
    assert pack_tokens(tokens)[:complete_bytes] == pack_tokens(tokens[:kept])[:complete_bytes]


@pytest.mark.parametrize("data", [b"", b"\xff"], ids=["nothing", "half a token"])
def test_without_a_complete_token_there_is_none(data):
    assert len(unpack_tokens(data, 64)) == 0


def test_memory_follows_the_data_not_the_promise():
    assert unpack_tokens(b"\x12\x34\x56", 10**15).tolist() == [0x123, 0x456]


def test_bytes_after_the_last_token_are_damage():
    with pytest.raises(DamagedFile, match="after the last token"):
        unpack_tokens(b"\x12\x34\x56\x00", 2)


def test_padding_must_be_zero_in_a_complete_payload():
    with pytest.raises(DamagedFile, match="padding"):
        unpack_tokens(b"\x12\x34", 1)


@pytest.mark.parametrize(
    "wrong",
    [
        np.zeros((2, 2), np.uint16),
        np.zeros(0, np.uint16),
        np.zeros(2, np.float32),
        np.array([4096]),
        np.array([-1]),
    ],
)
def test_impossible_tokens_are_mistakes_of_the_caller(wrong):
    with pytest.raises(ValueError):
        pack_tokens(wrong)
