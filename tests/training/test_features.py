"""Perceptual distances of frozen networks, and random views."""

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="needs the extra onedpiece[torch]")

from onedpiece.tokenizer.lpips import Lpips, Squeeze  # noqa: E402
from onedpiece.training.features import Vgg, random_view  # noqa: E402


@pytest.fixture
def two():
    generator = torch.Generator().manual_seed(1)
    return torch.rand(2, 3, 64, 64, generator=generator)


class TestDistances:
    @pytest.mark.parametrize("name", ["lpips", "vgg"])
    def test_the_distance_is_zero_for_equal_pictures_and_grows_with_noise(self, request, name, two):
        network = request.getfixturevalue(name)
        noise = torch.randn(two.shape, generator=torch.Generator().manual_seed(2))
        distances = [network(two + spread * noise, two) for spread in (0, 0.02, 0.2)]
        assert torch.allclose(distances[0], torch.zeros(2), atol=1e-5)
        assert (distances[1] > 1e-4).all() and (distances[2] > distances[1]).all()

    def test_gradients_flow_into_the_decoded_pictures_only(self, vgg, two):
        decoded, original = (two * 0.9).requires_grad_(), two.clone().requires_grad_()
        vgg(decoded, original).sum().backward()
        assert decoded.grad.abs().sum() > 0 and original.grad is None
        assert not any(parameter.requires_grad for parameter in vgg.parameters())

    def test_weights_are_loaded_from_a_folder(self, weights, vgg, two, tmp_path):
        names = (*Lpips.FILES, Vgg.FILE)
        for name, state in zip(names, (weights.squeeze, weights.heads, weights.vgg), strict=True):
            torch.save(state, tmp_path / name)
        assert torch.equal(Vgg.load(tmp_path)(two * 0.9, two), vgg(two * 0.9, two))
        assert Lpips.load(tmp_path)(two * 0.9, two).shape == (2,)
        for network, missing in ((Lpips, names[1]), (Vgg, names[2])):
            (tmp_path / missing).unlink()
            with pytest.raises(FileNotFoundError):
                network.load(tmp_path)

    def test_heads_may_have_the_names_of_the_package_lpips(self, weights, two, tmp_path):
        torch.save(weights.squeeze, tmp_path / Lpips.FILES[0])
        distances = []
        for ending in ("", ".model.1.weight"):
            heads = {f"{name}{ending}": value for name, value in weights.heads.items()}
            torch.save(heads, tmp_path / Lpips.FILES[1])
            distances.append(Lpips.load(tmp_path)(two * 0.9, two))
        assert torch.equal(*distances)

    def test_the_published_lpips_is_reproduced(self, shared):
        """The number is from the reference implementation that is beside the weights."""
        lpips = Lpips.load(shared / "perceptual")
        ramp = torch.linspace(0, 1, 64).expand(1, 3, 64, 64)
        assert float(lpips(ramp.flip(3), ramp)) == pytest.approx(0.30053, abs=1e-4)

    def test_squeezenet_has_seven_outputs(self, weights, two):
        outputs = Squeeze(weights.squeeze)(two)
        assert [x.shape[1] for x in outputs] == [64, 128, 256, 384, 384, 512, 512]


class TestRandomView:
    def test_both_pictures_are_changed_in_the_same_way(self, two):
        for seed in range(8):
            a, b = random_view(two, two.clone(), np.random.default_rng(seed))
            assert torch.equal(a, b)
            assert 32 <= a.shape[-1] <= 64 and a.shape[-1] == a.shape[-2]

    def test_views_differ(self, two):
        views = [random_view(two, two, np.random.default_rng(seed))[0] for seed in range(12)]
        assert len({(v.shape[-1], float(v[0, 0, 0, 0])) for v in views}) == 12
