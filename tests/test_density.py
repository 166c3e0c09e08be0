"""More than 256 tokens for 256x256 pixels: the tiles become finer."""

import numpy as np
import pytest
import torch
from odp_files import parse, truncate
from PIL import Image

from onedpiece.constants import MAX_SIDE
from onedpiece.encoded_image import EncodedImage
from onedpiece.images.picture import Picture
from onedpiece.metrics import psnr
from onedpiece.rate_control import LEAST_ERROR, NATURAL, Target, densities
from onedpiece.runtime.sketch import load_sketcher
from onedpiece.search import ROUNDS
from onedpiece.tokenizer.onedpiece import SpectralOneDPiece
from onedpiece.tokenizer.weights import load_installed


def smooth(codec, data) -> np.ndarray:
    """The decoded picture of least error."""
    return np.asarray(codec.decode(data, realism=0).convert("RGB"), float)


@pytest.fixture
def detailed(make_picture):
    """A picture that needs more than 256 tokens."""
    noise = np.random.default_rng(0).normal(0, 25, (64, 64, 3)).repeat(4, 0).repeat(4, 1)
    pixels = np.asarray(make_picture(), float) + noise
    return Image.fromarray(pixels.clip(0, 255).astype(np.uint8))


class TestWhichDensity:
    @pytest.mark.parametrize(
        "size, tokens, expected",
        [
            ((256, 256), 1, [1]),
            ((256, 256), 256, [1]),
            ((256, 256), 257, [2]),
            ((256, 256), 1024, [2]),
            ((300, 200), 1024, [2]),
            ((64, 64), 1024, [1]),  # finer tiles would be no more tiles
            ((MAX_SIDE, 10), 1024, [1]),  # a file cannot hold it
            ((16384, 16384), 1024, [1]),  # readers would refuse it
        ],
    )
    def test_a_number_of_tokens_takes_the_coarsest_tiles_that_hold_it(self, size, tokens, expected):
        for usable in (NATURAL, LEAST_ERROR):
            assert densities(*size, Target(tokens=tokens), usable) == expected

    @pytest.mark.parametrize("usable, finer", [(NATURAL, [2]), (LEAST_ERROR, [2, 3])])
    def test_other_targets_try_all(self, usable, finer):
        assert densities(256, 256, Target(max_bytes=30), usable) == [1, *finer]
        assert densities(256, 256, Target(tokens=200, adaptive=True), usable) == [1, *finer]
        assert densities(256, 256, Target(tokens=300, adaptive=True), usable) == finer
        assert densities(64, 64, Target(psnr=30), usable) == [1]

    def test_a_search_for_the_least_error_may_take_finer_tiles(self, codec, detailed, monkeypatch):
        monkeypatch.setitem(ROUNDS, 2, 0)
        target = Target(max_bytes=1800)
        used = [
            parse(codec.encode(detailed, target, effort=effort)).header.density for effort in (1, 2)
        ]
        assert used == [2, 3]

    def test_few_bytes_take_coarse_tiles_and_many_take_fine_ones(self, codec, detailed):
        used = {
            size: parse(codec.encode(detailed, Target(max_bytes=size))).header.density
            for size in (60, 150, 700, 900)
        }
        assert used == {60: 1, 150: 1, 700: 2, 900: 2}

    def test_a_picture_whose_detail_fits_into_coarse_tiles_keeps_them(self, codec):
        gradient = Image.linear_gradient("L").convert("RGB")
        data = codec.encode(gradient, Target(max_bytes=400))
        assert parse(data).header.density == 1

    def test_decibels_that_coarse_tiles_do_not_reach_take_fine_ones(self, codec, detailed):
        original = np.asarray(detailed)
        best = psnr(np.asarray(codec.decode(codec.encode(detailed), realism=0)), original)
        data = codec.encode(detailed, Target(psnr=best + 0.5))
        assert parse(data).header.density == 2
        assert psnr(np.asarray(codec.decode(data, realism=0)), original) >= best + 0.5


class TestFiles:
    @pytest.mark.parametrize("size", [(256, 256), (300, 200), (400, 300), (512, 256)])
    def test_any_size_comes_back_with_as_many_tokens_as_asked_for(self, codec, make_picture, size):
        data = codec.encode(make_picture(*size), 600)
        image = parse(data)
        assert image.num_tokens == 600
        assert image.total_tokens == 600 * image.header.base_tiles
        assert codec.decode(data).size == size

    def test_more_bytes_give_a_better_picture(self, codec, detailed):
        original = np.asarray(detailed, float)
        scores = [
            psnr(smooth(codec, codec.encode(detailed, Target(max_bytes=size))), original)
            for size in (250, 350, 400, 600, 1000)
        ]
        assert scores == sorted(scores)

    def test_the_file_is_filled(self, codec, detailed):
        assert 690 <= len(codec.encode(detailed, Target(max_bytes=700))) <= 700

    def test_every_prefix_decodes(self, codec, detailed):
        data = codec.encode(detailed, 700)
        original = np.asarray(detailed, float)
        with pytest.warns(UserWarning, match="truncated"):
            scores = [psnr(smooth(codec, data[:size]), original) for size in (20, 200, 600)]
        assert scores == sorted(scores)

    def test_truncating_stays_within_the_density(self, codec, detailed):
        data = codec.encode(detailed, 700)
        shorter = parse(truncate(data, 100))
        assert shorter.header.density == 2
        assert shorter.total_tokens == 100

    def test_decoding_few_tokens_is_decoding_a_truncated_file(self, codec, detailed):
        data = codec.encode(detailed, 700)
        np.testing.assert_array_equal(
            smooth(codec, truncate(data, 100)),
            np.asarray(codec.decode(data, 100, realism=0).convert("RGB"), float),
        )

    def test_transparency_and_grey_are_kept(self, codec, make_picture):
        picture = make_picture(200, 120).convert("L")
        picture.putalpha(Image.linear_gradient("L").resize((200, 120)))
        decoded = codec.decode(codec.encode(picture, 500))
        assert (decoded.mode, decoded.size) == ("LA", (200, 120))

    def test_tokens_and_back(self, codec, detailed):
        image = parse(codec.encode(detailed, 512))
        again = EncodedImage.from_tokens(image.tokens, 256, 256, density=2)
        assert again.to_bytes() == image.to_bytes()

    def test_a_decoder_that_takes_fewer_pixels_refuses(self, codec, detailed):
        data = codec.encode(detailed, 512)
        with pytest.raises(Exception, match="at density 2, more than 100000"):
            EncodedImage.from_bytes(data, max_pixels=100_000)


class TestEstimate:
    """Densities are compared by what the tokens say, without a network."""

    def test_a_sketch_is_the_spectral_picture(self, codec, detailed):
        image = parse(codec.encode(detailed, 60))
        network = load_installed(codec.model.faithful)
        assert isinstance(network, SpectralOneDPiece)
        tokens = torch.from_numpy(image.tokens.astype(np.int64))
        expected = network.spectral_picture(tokens)[0].permute(1, 2, 0).detach().numpy()
        sketcher = load_sketcher(codec.model.token_set_file, codec.model.fingerprint)
        sketch = sketcher.sketch(image.tokens[0])
        assert np.abs(sketch - 255 * expected.clip(0, 1)).max() < 0.5

    def test_errors_are_those_of_sketches_of_every_length(self, codec, make_picture):
        tiles = np.stack([np.asarray(make_picture(seed=seed)) for seed in (1, 2, 3)])
        tokens = np.concatenate([parse(codec.encode(Image.fromarray(t))).tokens for t in tiles])
        network = load_installed(codec.model.faithful)
        assert isinstance(network, SpectralOneDPiece)
        sketcher = load_sketcher(codec.model.token_set_file, codec.model.fingerprint)
        errors = sketcher.errors(tiles, tokens)
        assert errors.shape == (3, 257)
        pixels = torch.from_numpy(tiles).permute(0, 3, 1, 2) / 255
        for count in (1, 2, 17, 100, 256):
            spectral = network.spectral_picture(torch.from_numpy(tokens[:, :count].astype(int)))
            expected = (spectral - pixels).square().sum((1, 2, 3)).detach().numpy()
            assert errors[:, count] == pytest.approx(expected, rel=2e-3)

    def test_it_follows_the_error_of_the_decoded_picture(self, codec, detailed):
        picture = Picture(np.asarray(detailed), grey=False)
        estimates = [
            codec._estimate_psnr(picture, parse(codec.encode(detailed, tokens)))
            for tokens in (16, 64, 256)
        ]
        assert estimates == sorted(estimates)
