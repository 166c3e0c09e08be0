"""Detail from noise: as strong as the features say, never the same everywhere, and nothing unless it was learned."""

import pytest

torch = pytest.importorskip("torch", reason="needs the extra onedpiece[torch]")

from onedpiece.tokenizer.config import CONFIGS  # noqa: E402
from onedpiece.tokenizer.grain import BANDS, Grain, band_filters  # noqa: E402
from onedpiece.tokenizer.onedpiece import build  # noqa: E402


@pytest.fixture
def grain():
    """With constant strength: 1 for all bands of noise, 0 for all bands of the picture."""
    module = Grain(8).eval()
    with torch.no_grad():
        module.strength.bias[:BANDS] = 1
    return module


@pytest.fixture
def inputs():
    """Flat pictures, features and first tokens of 64 pictures."""
    return torch.full((64, 3, 256, 256), 0.5), torch.zeros(64, 8, 64, 64), torch.arange(64) * 63


def test_there_is_none_before_it_is_learned(inputs):
    assert not Grain(8).eval()(*inputs).any()


def test_bands_see_nothing_in_a_flat_picture():
    assert band_filters().sum((2, 3)).abs().max() < 1e-6


@torch.no_grad()
def test_the_same_tokens_have_the_same_detail(grain, inputs):
    assert torch.equal(grain(*inputs), grain(*inputs))


@torch.no_grad()
def test_it_is_no_pattern_that_pictures_share(grain, inputs):
    detail = grain(*inputs)
    assert detail.std() > 0.01
    # Of 64 fields that have nothing to do with each other, an eighth is left in the mean.
    assert detail.mean(0).std() < 0.2 * detail.std()


@torch.no_grad()
def test_training_sees_other_noise_every_time(grain, inputs):
    grain.train()
    assert not torch.allclose(grain(*inputs), grain(*inputs))


@torch.no_grad()
def test_flat_pictures_have_none_of_their_own(grain, inputs):
    grain.strength.bias.copy_(1 - grain.strength.bias)
    assert grain(*inputs).abs().max() < 1e-5
    picture = inputs[0].clone()
    picture[..., 128:] = 0.7
    assert grain(picture, *inputs[1:]).abs().max() > 0.01


@torch.no_grad()
def test_its_amount_can_be_chosen(randomise):
    torch.manual_seed(0)
    model = randomise(build(CONFIGS["tiny"])).eval()
    tokens = torch.randint(0, 4096, (2, 9))
    none, half, all_of_it = (model.decode(tokens, grain=amount) for amount in (0, 0.5, 1))
    assert torch.equal(none, model.paint(tokens, model.quantize.codes(tokens), None))
    assert not torch.allclose(none, all_of_it)
    assert torch.allclose(half, (none + all_of_it) / 2, atol=1e-5)
