"""Proposals for pictures that look real: what they promise, and of which tokens."""

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="needs the extra onedpiece[torch]")

from onedpiece.models.registry import find  # noqa: E402
from onedpiece.tokenizer.proposals import NaturalProposals  # noqa: E402
from onedpiece.tokenizer.weights import load_installed  # noqa: E402

COUNT = 20
WHOLE = torch.tensor([[256, 256]])


def brightness(decoded, _):
    return 100 * decoded.mean((1, 2, 3))


def squared_error(decoded, original):
    return (decoded - original).square().mean((1, 2, 3))


@pytest.fixture(scope="module")
def decoder():
    return load_installed(find("default"))


@pytest.fixture(scope="module")
def proposals(decoder):
    return NaturalProposals(decoder, brightness)


@pytest.fixture(scope="module")
def tile(make_picture):
    return torch.from_numpy(np.array(make_picture()))[None]


@pytest.fixture(scope="module")
def tokens(codec, make_picture):
    image = codec.parse(codec.encode(make_picture(), 256))
    return torch.from_numpy(image.tokens.astype(np.int64))


@pytest.fixture(scope="module")
def proposed(proposals, tile, tokens):
    return proposals(tile, tokens, torch.tensor([COUNT]), WHOLE)


def test_only_tokens_of_the_file_are_exchanged_and_not_the_class(proposed, tokens):
    _, codes, gains = proposed
    assert codes.shape == gains.shape == tokens.shape
    assert gains[0, 0] == 0 and (gains[0, COUNT:] == 0).all()
    assert (gains[0, 1:COUNT] > 0).any()


def test_the_best_exchange_lowers_the_cost(proposals, proposed, tile, tokens):
    cost, codes, gains = proposed
    best = gains[0].argmax()
    exchanged = tokens.clone()
    exchanged[0, best] = codes[0, best]
    lower, _, _ = proposals(tile, exchanged, torch.tensor([COUNT]), WHOLE)
    assert lower < cost


def test_what_lies_outside_of_the_picture_costs_nothing(decoder, tile, tokens):
    changed = tile.clone()
    changed[:, 100:] = 0
    count, size = torch.tensor([COUNT]), torch.tensor([[256, 100]])
    proposals = NaturalProposals(decoder, squared_error)
    (inside, _, _), (same, _, _) = (proposals(one, tokens, count, size) for one in (tile, changed))
    assert inside < proposals(tile, tokens, count, WHOLE)[0]
    assert torch.allclose(inside, same, rtol=1e-3)
