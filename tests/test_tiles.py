"""Tiles: cut and joined again they are the picture, and neighbours fade into each other."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from onedpiece.constants import TILE
from onedpiece.tiles.grid import Grid
from onedpiece.tiles.join import SHARP, SMOOTH, join
from onedpiece.tiles.split import split

sides = st.integers(1, 700)
overlaps = st.sampled_from(range(8, 121, 8))


def noise(width: int, height: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3), np.uint8)


@settings(deadline=None, max_examples=60)
@given(sides, sides, overlaps)
def test_unchanged_tiles_give_the_same_picture(width, height, overlap):
    pixels, grid = noise(width, height), Grid(width, height, overlap)
    tiles = np.stack(list(split(pixels, grid)))
    assert tiles.shape == (grid.count, TILE, TILE, 3)
    np.testing.assert_array_equal(join(tiles.astype(np.float32), grid), pixels)


@pytest.mark.parametrize("size", [(1, 1), (1, 1000), (1000, 1), (2, 257), (256, 256), (257, 256)])
def test_extreme_shapes_come_back(size):
    pixels, grid = noise(*size), Grid(*size, overlap=32)
    np.testing.assert_array_equal(join(split(pixels, grid), grid), pixels)


def test_what_lies_beyond_the_edge_is_the_picture_mirrored():
    pixels = noise(100, 200)
    (tile,) = split(pixels, Grid(100, 200, 0))
    np.testing.assert_array_equal(tile[:200, 100:199], pixels[:, -2::-1])
    np.testing.assert_array_equal(tile[200:, :100], pixels[-2:-58:-1])


def test_a_narrow_last_tile_mirrors_the_picture_and_not_only_itself():
    pixels = noise(258, 256)
    _, last = split(pixels, Grid(258, 256, 0))
    np.testing.assert_array_equal(last[:, :2], pixels[:, 256:])
    np.testing.assert_array_equal(last[:, 2:], pixels[:, 256:2:-1])


def test_the_single_pixel_fills_its_tile():
    pixels = noise(1, 1)
    (tile,) = split(pixels, Grid(1, 1, 0))
    assert (tile == pixels[0, 0]).all()


def constant_tiles(*values: float) -> np.ndarray:
    return np.stack([np.full((TILE, TILE, 3), value, np.float32) for value in values])


@pytest.mark.parametrize("overlap", [8, 32, 120])
def test_neighbours_fade_linearly_over_the_overlap(overlap):
    grid = Grid(TILE + TILE - overlap, TILE, overlap)
    row = join(constant_tiles(0, 240), grid)[17, :, 0].astype(float)
    assert (row[: TILE - overlap] == 0).all()
    assert (row[TILE:] == 240).all()
    expected = 240 * (np.arange(overlap) + 0.5) / overlap
    np.testing.assert_allclose(row[TILE - overlap : TILE], expected, atol=0.51)


@pytest.mark.parametrize("width", [512, 400, 258, 257])
@pytest.mark.parametrize("sharp, seam", [(False, SMOOTH), (True, SHARP)])
def test_without_overlap_the_step_between_tiles_is_spread_over_both_sides(width, sharp, seam):
    grid = Grid(width, 256, 0)
    row = join(constant_tiles(100, 140), grid, sharp=sharp)[7, :, 0].astype(float)
    assert (row[: 256 - seam.reach] == 100).all() and (row[256 + seam.reach :] == 140).all()
    assert (np.abs(np.diff(row)) <= 20 / seam.reach + 1).all()


def test_so_is_the_step_between_rows():
    picture = join(constant_tiles(100, 140), Grid(256, 512, 0))
    row = join(constant_tiles(100, 140), Grid(512, 256, 0))
    np.testing.assert_array_equal(picture, row.transpose(1, 0, 2))


def test_without_overlap_a_slope_across_the_seam_stays():
    ramp = np.broadcast_to(np.arange(512, dtype=np.float32)[None, :, None] / 4, (256, 512, 3))
    picture = join([ramp[:, :256], ramp[:, 256:]], Grid(512, 256, 0))
    np.testing.assert_array_equal(picture, ramp.round())


def test_texture_that_tiles_share_across_a_seam_stays():
    """Every other row lighter and darker: no step on average, so nothing to mend."""
    tile = np.full((TILE, TILE, 3), 100, np.float32)
    tile[::2] += 14
    picture = join([tile, 214 - tile], Grid(512, 256, 0)).astype(float)
    changed = np.abs(picture - np.concatenate([tile, 214 - tile], 1))
    assert changed[8:-8].max() <= 1


def test_the_four_tiles_of_a_corner_share_it_equally():
    overlap = 32
    side = 2 * TILE - overlap
    picture = join(constant_tiles(0, 80, 160, 240), Grid(side, side, overlap))
    middle = picture[side // 2 - 1 : side // 2 + 1, side // 2 - 1 : side // 2 + 1]
    assert abs(middle.mean() - 120) < 0.5


@settings(deadline=None, max_examples=40)
@given(sides, sides, overlaps)
def test_the_weights_of_every_pixel_add_up_to_one(width, height, overlap):
    grid = Grid(width, height, overlap)
    assert (join(constant_tiles(*[255.0] * grid.count), grid) == 255).all()


def test_decoded_values_out_of_range_are_clipped():
    picture = join(constant_tiles(-20, 300), Grid(480, 256, 32))
    assert picture[0, 0, 0] == 0 and picture[0, -1, 0] == 255
