"""Muon: orthogonalised steps."""

import pytest

torch = pytest.importorskip("torch", reason="needs the torch extra")

from onedpiece.training.muon import STEP_RMS, Muon, orthogonalise, scaled_step  # noqa: E402


@pytest.mark.parametrize("shape", [(8, 8), (8, 40), (40, 8)])
def test_all_directions_of_a_step_have_about_the_same_size(shape):
    u, _, v = torch.linalg.svd(torch.randn(shape, generator=torch.Generator().manual_seed(0)))
    strengths = torch.logspace(0, -2, 8)  # the weakest is a hundredth of the strongest
    matrix = u[:, :8] * strengths @ v[:8]
    singular = torch.linalg.svdvals(orthogonalise(matrix))
    assert float(singular.min()) > 0.6 and float(singular.max()) < 1.3


@pytest.mark.parametrize("shape", [(16, 64), (64, 16), (16, 4, 3, 3)])
def test_steps_have_the_size_of_adamws_in_any_shape(shape):
    momentum = 1e-6 * torch.randn(shape, generator=torch.Generator().manual_seed(0))
    step = scaled_step(momentum)
    assert step.shape == shape
    assert float(step.square().mean().sqrt()) == pytest.approx(STEP_RMS, rel=0.2)


def test_parameters_without_a_gradient_do_not_change():
    weight = torch.nn.Parameter(torch.ones(4, 4))
    optimizer = Muon([weight], lr=0.1)
    optimizer.step()
    weight.grad = torch.zeros(4, 4)
    optimizer.step()
    assert torch.equal(weight.detach(), torch.ones(4, 4))


def test_it_learns_weak_directions_beside_strong_ones_better_than_adamw():
    """A linear map of inputs whose strengths differ a thousandfold."""
    random = torch.Generator().manual_seed(0)
    inputs = torch.randn(256, 32, generator=random) * torch.logspace(0, -3, 32)
    mixed = inputs @ torch.linalg.qr(torch.randn(32, 32, generator=random))[0]
    target = torch.randn(32, 32, generator=random)

    def error(make_optimizer):
        weight = torch.nn.Parameter(torch.zeros(32, 32))
        optimizer = make_optimizer([weight], lr=0.05)
        for step in range(300):
            optimizer.param_groups[0]["lr"] = 0.05 * (1 - step / 300)
            loss = (mixed @ (weight - target)).square().mean()
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
        return float((weight.detach() - target).square().mean())

    assert error(Muon) < 0.75 * error(lambda p, lr: torch.optim.AdamW(p, lr, weight_decay=0))
