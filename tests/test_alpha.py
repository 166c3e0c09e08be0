"""Transparency as a part of a file: small, about right, and refused when damaged."""

from contextlib import suppress

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from onedpiece.bitstream.alpha import check_alpha, pack_alpha, unpack_alpha
from onedpiece.bitstream.chunks import compress
from onedpiece.errors import DamagedFile, OdpError


@pytest.mark.parametrize("size", [(1, 1), (3, 5), (256, 256), (301, 203)])
@pytest.mark.parametrize("value", [0, 255])
def test_all_or_nothing_is_exact_at_every_size(size, value):
    alpha = np.full(size, value, np.uint8)
    np.testing.assert_array_equal(unpack_alpha(pack_alpha(alpha), size[1], size[0]), alpha)


def test_a_soft_slope_comes_back_within_half_a_step():
    alpha = np.tile(np.linspace(0, 255, 256), (90, 1)).round().astype(np.uint8)
    back = unpack_alpha(pack_alpha(alpha), 256, 90)
    assert np.abs(back.astype(int) - alpha).max() <= 255 / 15 / 2 + 2


def test_a_half_transparent_picture_is_small():
    alpha = np.zeros((1000, 1000), np.uint8)
    alpha[:, 500:] = 255
    assert len(pack_alpha(alpha)) < 60


def test_small_pictures_keep_their_outline():
    y, x = np.mgrid[:32, :32]
    disc = np.where((x - 15) ** 2 + (y - 15) ** 2 < 150, 255, 0).astype(np.uint8)
    np.testing.assert_array_equal(unpack_alpha(pack_alpha(disc), 32, 32), disc)


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"\x04",
        b"\x00\x07" + compress(bytes(4)),
        b"\x41\x07" + compress(bytes(4)),
        b"\x04\x00" + compress(bytes(4)),
        b"\x04\x07" + compress(bytes(3)),  # too short
        b"\x04\x07" + compress(b"\x08\0\0\0"),  # a step above the last
        b"\x04\x07nothing",
        b"\x04\x07\x50\x2a\x4d\x18\0\0\0\0",  # a skippable frame
    ],
)
@pytest.mark.parametrize("read", [unpack_alpha, check_alpha])
def test_damage_is_refused(read, data):
    with pytest.raises(DamagedFile):
        read(data, 8, 8)


@pytest.mark.parametrize("read", [unpack_alpha, check_alpha])
def test_more_than_the_picture_has_is_refused(read):
    with pytest.raises(DamagedFile):
        read(b"\x04\x07" + compress(bytes(10**7)), 8, 8)


def test_checking_a_large_plane_takes_little_memory():
    import tracemalloc

    data = b"\x01\x0f" + compress(bytes(1 << 24))
    tracemalloc.start()
    check_alpha(data, 1 << 12, 1 << 12)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 1 << 23


@given(st.binary(max_size=60))
def test_random_bytes_raise_nothing_but_our_own_errors(data):
    with suppress(OdpError):
        unpack_alpha(b"\x04\x07" + data, 8, 8)
