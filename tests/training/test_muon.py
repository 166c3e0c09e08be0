import pytest

torch = pytest.importorskip("torch", reason="needs the torch extra")

from onedpiece.training.muon import LENGTH, Muon, orthogonal, step_of  # noqa: E402


@pytest.mark.parametrize("shape", [(8, 8), (8, 40), (40, 8)])
def test_all_directions_of_a_step_count_alike(shape):
    u, _, v = torch.linalg.svd(torch.randn(shape, generator=torch.Generator().manual_seed(0)))
    strengths = torch.logspace(0, -2, 8)  # the weakest is a hundredth of the strongest
    matrix = u[:, :8] * strengths @ v[:8]
    singular = torch.linalg.svdvals(orthogonal(matrix))
    assert float(singular.min()) > 0.6 and float(singular.max()) < 1.3


@pytest.mark.parametrize("shape", [(16, 64), (64, 16), (16, 4, 3, 3)])
def test_steps_are_as_long_as_those_of_adamw_in_any_shape(shape):
    momentum = 1e-6 * torch.randn(shape, generator=torch.Generator().manual_seed(0))
    step = step_of(momentum)
    assert step.shape == shape
    assert float(step.square().mean().sqrt()) == pytest.approx(LENGTH, rel=0.2)


def test_where_nothing_is_to_be_learned_nothing_moves():
    weight = torch.nn.Parameter(torch.ones(4, 4))
    optimizer = Muon([weight], lr=0.1)
    optimizer.step()
    weight.grad = torch.zeros(4, 4)
    optimizer.step()
    assert torch.equal(weight.detach(), torch.ones(4, 4))


def test_it_finds_what_adamw_cannot_see_for_stronger_directions():
    """A linear map of inputs whose strengths differ a thousandfold."""
    random = torch.Generator().manual_seed(0)
    inputs = torch.randn(256, 32, generator=random) * torch.logspace(0, -3, 32)
    mixed = inputs @ torch.linalg.qr(torch.randn(32, 32, generator=random))[0]
    wanted = torch.randn(32, 32, generator=random)

    def error(kind):
        weight = torch.nn.Parameter(torch.zeros(32, 32))
        optimizer = kind([weight], lr=0.05)
        for step in range(300):
            optimizer.param_groups[0]["lr"] = 0.05 * (1 - step / 300)
            loss = (mixed @ (weight - wanted)).square().mean()
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
        return float((weight.detach() - wanted).square().mean())

    assert error(Muon) < 0.75 * error(lambda p, lr: torch.optim.AdamW(p, lr, weight_decay=0))
