"""Batches depend on nothing but seed, step and pictures."""

import itertools
from dataclasses import replace

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="needs the extra onedpiece[torch]")

from onedpiece.training import feed as feed_module  # noqa: E402
from onedpiece.training.distributed import Process  # noqa: E402
from onedpiece.training.feed import draw_batch, draw_lengths, feed, gather_crops  # noqa: E402
from onedpiece.training.recipe import Recipe  # noqa: E402

RECIPE = Recipe(steps=20, batch=2)
CPU = torch.device("cpu")


def drawn(pictures, recipe, step):
    crops, num_tokens = draw_batch(pictures.index, recipe, step)
    return pictures.crops(crops), num_tokens


def test_a_batch_depends_on_seed_and_step_only(pictures):
    pixels, num_tokens = drawn(pictures, RECIPE, 7)
    again = drawn(pictures, RECIPE, 7)
    assert np.array_equal(pixels, again[0]) and torch.equal(num_tokens, again[1])
    for recipe, step in ((RECIPE, 8), (replace(RECIPE, seed=1), 7)):
        assert not np.array_equal(pixels, drawn(pictures, recipe, step)[0])


def test_the_feed_gives_batches_in_order_from_any_step(pictures):
    batches = itertools.islice(feed(pictures, RECIPE, 5, CPU), 3)
    for step, batch in enumerate(batches, 5):
        pixels, num_tokens = drawn(pictures, RECIPE, step)
        np.testing.assert_array_equal(batch.pixels.numpy(), pixels)
        assert torch.equal(batch.num_tokens, num_tokens)
        assert batch.pixels.dtype == torch.uint8


def test_crops_gathered_on_a_device_are_the_same(pictures):
    crops, _ = draw_batch(pictures.index, replace(RECIPE, batch=12), 0)
    assert 0 < crops.mirror.sum() < 12
    gathered = gather_crops(torch.from_numpy(pictures.pixels), pictures.index, crops)
    np.testing.assert_array_equal(gathered.numpy(), pictures.crops(crops))


def test_a_fraction_of_the_pictures_is_drawings_and_the_same_from_any_step(pictures, monkeypatch):
    monkeypatch.setattr(feed_module, "DRAWINGS", 8)
    monkeypatch.setattr(feed_module, "PREFETCH", 1)
    recipe = replace(RECIPE, batch=60, drawings=0.25)
    first, second = itertools.islice(feed(pictures, recipe, 5, CPU), 2)
    photographs, _ = drawn(pictures, recipe, 5)
    replaced = (first.pixels.numpy() != photographs).any((1, 2, 3))
    assert 5 <= replaced.sum() <= 27
    assert torch.equal(next(feed(pictures, recipe, 6, CPU)).pixels, second.pixels)


def test_the_slices_of_several_processes_make_the_whole_batch(pictures):
    recipe = replace(RECIPE, batch=4)
    whole = next(feed(pictures, recipe, 0, CPU))
    for rank in (0, 1):
        batch = next(feed(pictures, recipe, 0, CPU, Process(rank, 2)))
        assert torch.equal(batch.pixels, whole.pixels[rank::2])
        assert torch.equal(batch.num_tokens, whole.num_tokens[rank::2])


def test_lengths_are_half_uniform_and_half_log_uniform():
    lengths = draw_lengths(20_000, np.random.default_rng(0))
    assert (lengths.min(), lengths.max()) == (1, 256)
    uniform, log_uniform = 16 / 256, np.log(17) / np.log(257)
    assert (lengths <= 16).mean() == pytest.approx((uniform + log_uniform) / 2, abs=0.02)
    uniform, log_uniform = 128 / 256, 1 - np.log(129) / np.log(257)
    assert (lengths >= 129).mean() == pytest.approx((uniform + log_uniform) / 2, abs=0.02)


def test_one_length_is_for_the_whole_batch():
    recipe, index = Recipe.load("paper-stage-1"), np.array([[0, 256, 256]])
    lengths = [draw_batch(index, recipe, step)[1] for step in range(200)]
    assert all(len(length.unique()) == 1 for length in lengths)
    firsts = [int(length[0]) for length in lengths]
    assert 1 <= min(firsts) < 20 and 236 < max(firsts) <= 256
