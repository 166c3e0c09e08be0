"""How tokens are shared out among the tiles of a picture."""

from itertools import product

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from onedpiece.bitstream.allocation import Allocation
from onedpiece.bitstream.header import Header
from onedpiece.constants import DEFAULT_TOKEN_SET
from onedpiece.rate_control import Target, expected_tokens, guessed_errors, levels

COUNTS = np.arange(257)


def falling(start: float, decay: float) -> np.ndarray:
    """Errors by number of tokens, that fall exponentially."""
    return start * np.exp(-decay * COUNTS)


def error(errors: np.ndarray, total: int, chosen: tuple[int, ...] | None) -> float:
    tile, _ = Allocation(total, chosen).sequence(len(errors), total)
    counts = np.bincount(tile, minlength=len(errors))
    return float(errors[np.arange(len(errors)), counts].sum())


def test_tiles_that_are_alike_have_no_levels():
    assert levels(np.stack([falling(100, 0.02)] * 4), 200) is None


def test_tiles_with_all_their_tokens_have_no_levels():
    assert levels(np.stack([falling(100, 0.02), falling(1, 0.02)]), 512) is None


def test_the_tile_with_more_error_gets_more_tokens():
    chosen = levels(np.stack([falling(100, 0.02), falling(1000, 0.02)]), 200)
    assert chosen is not None and chosen[0] < chosen[1] == 15


curves = st.tuples(st.floats(1, 1e4), st.floats(0.003, 0.1))


@given(st.tuples(curves, curves), st.integers(20, 400))
def test_no_levels_leave_much_less_error(tiles, total):
    errors = np.stack([falling(*tile) for tile in tiles])
    best = min(error(errors, total, pair) for pair in product(range(16), repeat=2) if 15 in pair)
    assert error(errors, total, levels(errors, total)) <= 1.15 * best


@given(st.lists(curves, min_size=2, max_size=9), st.integers(0, 200))
def test_levels_are_never_worse_than_equal_shares(tiles, more):
    errors = np.stack([falling(*tile) for tile in tiles])
    total = len(tiles) + more
    assert error(errors, total, levels(errors, total)) <= error(errors, total, None)


def test_without_a_sketch_detail_says_where_errors_are():
    generator = np.random.default_rng(0)
    tiles = np.full((3, 256, 256, 3), 128, np.uint8)
    tiles[1] += generator.integers(0, 10, tiles[1].shape, np.uint8)
    tiles[2] += generator.integers(0, 100, tiles[2].shape, np.uint8)
    errors = guessed_errors(tiles)
    assert errors.shape == (3, 257) and (np.diff(errors[:, 1:], axis=1) < 0).all()
    chosen = levels(errors, 200)
    assert chosen is not None and list(chosen) == sorted(set(chosen))


@pytest.mark.parametrize(
    "target, expected",
    [
        (Target(tokens=30, adaptive=True), 60),
        (Target(max_bytes=110), 80),
        (Target(max_bytes=1), 2),
        (Target(max_bytes=1 << 20), 512),
        (Target(psnr=90), 512),
        (Target(psnr=1), 2),
    ],
)
def test_the_number_of_tokens_is_expected_from_the_target(target, expected):
    header = Header.for_picture(512, 256, 1, DEFAULT_TOKEN_SET)
    errors = np.stack([falling(1e4, 0.02)] * 2)
    assert expected_tokens(target, header, errors) == expected


def test_decibels_that_sketches_nearly_reach_are_expected_of_decoded_pictures():
    header = Header.for_picture(512, 256, 1, DEFAULT_TOKEN_SET)
    errors = np.stack([falling(3 * 256**2 * 0.1, 0.02)] * 2)
    sketched = -10 * np.log10(errors[0, 100] / (3 * 256**2))
    assert 160 < expected_tokens(Target(psnr=sketched), header, errors) < 200
