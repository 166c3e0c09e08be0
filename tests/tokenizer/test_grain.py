"""Grain: strong where the features say so, other for other tokens, zero before training."""

import pytest

torch = pytest.importorskip("torch", reason="needs the extra onedpiece[torch]")

from onedpiece.tokenizer.config import CONFIGS  # noqa: E402
from onedpiece.tokenizer.grain import BANDS, Grain, band_filters  # noqa: E402
from onedpiece.tokenizer.onedpiece import build  # noqa: E402

COUNT = 8


@pytest.fixture
def grain():
    """With constant strength: 1 for all bands of noise, 0 for all bands of the image."""
    module = Grain(8).eval()
    with torch.no_grad():
        module.strength.bias[:BANDS] = 1
    return module


def inputs(count=COUNT):
    """Flat images, features and first tokens."""
    features, first = torch.zeros(count, 8, 64, 64), torch.arange(count) * 63
    return torch.full((count, 3, 256, 256), 0.5), features, first


def test_it_is_zero_before_training():
    assert not Grain(8).eval()(*inputs(1)).any()


def test_band_filters_give_zero_for_flat_images():
    assert band_filters().sum((2, 3)).abs().max() < 1e-6


@torch.no_grad()
def test_the_same_tokens_have_the_same_grain(grain):
    assert torch.equal(grain(*inputs(2)), grain(*inputs(2)))


@torch.no_grad()
def test_images_do_not_share_a_pattern(grain):
    detail = grain(*inputs())
    assert detail.std() > 0.01
    # The mean of 8 independent fields has 0.35 times their standard deviation.
    assert detail.mean(0).std() < 0.5 * detail.std()


@torch.no_grad()
def test_the_noise_of_training_is_always_new(grain):
    grain.train()
    assert not torch.allclose(grain(*inputs(1)), grain(*inputs(1)))


@torch.no_grad()
def test_the_bands_of_the_image_are_zero_where_it_is_flat(grain):
    grain.strength.bias.copy_(1 - grain.strength.bias)
    image, *others = inputs(1)
    assert grain(image, *others).abs().max() < 1e-5
    image[..., 128:] = 0.7
    assert grain(image, *others).abs().max() > 0.01


@torch.no_grad()
def test_its_amount_can_be_chosen(randomise):
    torch.manual_seed(0)
    model = randomise(build(CONFIGS["tiny"])).eval()
    tokens = torch.randint(0, 4096, (2, 9))
    without, half, full = (model.decode(tokens, grain=amount) for amount in (0, 0.5, 1))
    assert torch.equal(without, model.reconstruct(tokens, model.quantize.codes(tokens), None))
    assert not torch.allclose(without, full)
    assert torch.allclose(half, (without + full) / 2, atol=1e-5)
