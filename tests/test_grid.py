"""Where tiles lie, and that they cover the picture without waste."""

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from onedpiece.constants import TILE
from onedpiece.tiles.grid import Grid

grids = st.builds(
    Grid,
    width=st.integers(1, 3000),
    height=st.integers(1, 3000),
    overlap=st.integers(0, 120),
)


@pytest.mark.parametrize("size", [(1, 1), (256, 256), (17, 200)])
def test_a_picture_no_larger_than_a_tile_has_one_tile(size):
    grid = Grid(*size, overlap=16)
    assert (grid.columns, grid.rows, grid.count) == (1, 1, 1)
    assert grid.corners() == [(0, 0)]


def test_one_pixel_more_takes_another_tile():
    assert Grid(257, 256, overlap=16).corners() == [(0, 0), (240, 0)]


def test_tiles_that_fit_exactly_take_no_extra_tile():
    assert Grid(256 + 240, 1, overlap=16).columns == 2
    assert Grid(256 + 240 + 1, 1, overlap=16).columns == 3


def test_corners_run_row_by_row():
    assert Grid(512, 300, overlap=0).corners() == [(0, 0), (256, 0), (0, 256), (256, 256)]


@given(grids)
def test_there_are_as_many_corners_as_tiles(grid):
    assert len(grid.corners()) == grid.count == grid.columns * grid.rows


@given(grids)
def test_tiles_reach_every_edge(grid):
    last_x, last_y = grid.corners()[-1]
    assert last_x + TILE >= grid.width
    assert last_y + TILE >= grid.height


@given(grids)
def test_the_last_tile_is_needed(grid):
    last_x, last_y = grid.corners()[-1]
    if grid.columns > 1:
        assert last_x - grid.stride + TILE < grid.width
    if grid.rows > 1:
        assert last_y - grid.stride + TILE < grid.height


@given(grids)
def test_neighbours_share_the_overlap(grid):
    columns = sorted({x for x, _ in grid.corners()})
    assert all(left + TILE - right == grid.overlap for left, right in pairwise(columns))


@pytest.mark.parametrize("numbers", [(0, 1, 0), (1, 0, 0), (1, 1, -1), (1, 1, TILE)])
def test_impossible_numbers_are_refused(numbers):
    with pytest.raises(ValueError):
        Grid(*numbers)
