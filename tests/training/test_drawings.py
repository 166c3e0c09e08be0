"""Random drawings."""

import numpy as np
import pytest

pytest.importorskip("torch", reason="needs the torch extra")

from onedpiece.training.drawings import draw


def test_a_drawing_depends_on_the_seed_only():
    first, again, other = (draw(np.random.default_rng(seed)) for seed in (3, 3, 4))
    assert first.shape == (256, 256, 3) and first.dtype == np.uint8
    assert (first == again).all() and (first != other).any()


def test_some_are_flat_and_some_are_saturated():
    rng = np.random.default_rng(0)
    drawings = [draw(rng) for _ in range(60)]
    flat = [picture for picture in drawings if picture.std((0, 1)).max() == 0]
    assert 5 < len(flat) < 40
    spread = [int(np.ptp(picture.mean((0, 1)))) for picture in drawings]
    assert max(spread) > 200 and min(spread) < 10
