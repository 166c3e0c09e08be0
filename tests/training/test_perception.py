"""The perceptual stage: feature distances, random views, the critic, and a decoder that learns from them."""

import copy
from dataclasses import replace

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="needs the extra onedpiece[torch]")

from onedpiece.tokenizer.config import CONFIGS  # noqa: E402
from onedpiece.tokenizer.onedpiece import build  # noqa: E402
from onedpiece.training import loop  # noqa: E402
from onedpiece.training.adversary import Adversary  # noqa: E402
from onedpiece.training.features import Lpips, Squeeze, Vgg, view  # noqa: E402
from onedpiece.training.feed import Batch  # noqa: E402
from onedpiece.training.loop import Trainer  # noqa: E402
from onedpiece.training.recipe import Recipe  # noqa: E402

RECIPE = Recipe(steps=4, batch=2, features=0.3, adversary=0.1, window=64, warmup_steps=1)
FIRES = {3: (64, 16, 64), 4: (128, 16, 64), 6: (128, 32, 128), 7: (256, 32, 128)}
FIRES |= {9: (256, 48, 192), 10: (384, 48, 192), 11: (384, 64, 256), 12: (512, 64, 256)}
VGG = [(64, 3), (64, 64), (128, 64), (128, 128), (256, 128), (256, 256), (256, 256), (256, 256)]


def layer(name, channels, channels_in, size):
    weight = torch.randn(channels, channels_in, size, size) * (2 / channels_in) ** 0.5 / size
    return {f"{name}.weight": weight, f"{name}.bias": torch.zeros(channels)}


@pytest.fixture(scope="module")
def weights():
    """Random weights of the right shapes: (SqueezeNet, LPIPS heads, VGG-19)."""
    torch.manual_seed(0)
    squeeze = layer("features.0", 64, 3, 3)
    for number, (entry, narrow, wide) in FIRES.items():
        squeeze |= layer(f"features.{number}.squeeze", narrow, entry, 1)
        squeeze |= layer(f"features.{number}.expand1x1", wide, narrow, 1)
        squeeze |= layer(f"features.{number}.expand3x3", wide, narrow, 3)
    widths = (64, 128, 256, 384, 384, 512, 512)
    heads = {f"lin{i}": torch.rand(1, width, 1, 1) for i, width in enumerate(widths)}
    vgg = {}
    for name, (wide, entry) in zip(Vgg.LAYERS, VGG, strict=True):
        vgg |= layer(name, wide, entry, 3)
    return squeeze, heads, vgg


@pytest.fixture(scope="module")
def features(weights):
    return Vgg(weights[2])


@pytest.fixture
def two():
    generator = torch.Generator().manual_seed(1)
    return torch.rand(2, 3, 64, 64, generator=generator)


@pytest.fixture
def batch(make_picture):
    pixels = np.stack([np.asarray(make_picture(256, 256, seed)) for seed in range(2)])
    return Batch(torch.from_numpy(pixels), torch.tensor([9, 200]), torch.ones(2))


class TestFeatures:
    @pytest.mark.parametrize("kind", [Lpips, Vgg])
    def test_equal_pictures_have_no_distance_and_worse_ones_more(self, weights, kind, two):
        network = Lpips(*weights[:2]) if kind is Lpips else Vgg(weights[2])
        distances = [
            network(two + spread * torch.randn(two.shape), two) for spread in (0, 0.02, 0.2)
        ]
        assert torch.allclose(distances[0], torch.zeros(2), atol=1e-5)
        assert (distances[1] > 1e-4).all() and (distances[2] > distances[1]).all()

    def test_only_the_decoded_pictures_get_a_gradient(self, features, two):
        decoded, original = (two * 0.9).requires_grad_(), two.clone().requires_grad_()
        features(decoded, original).sum().backward()
        assert decoded.grad.abs().sum() > 0 and original.grad is None
        assert not any(parameter.requires_grad for parameter in features.parameters())

    def test_weights_come_from_a_folder(self, weights, features, two, tmp_path):
        names = ("squeezenet1_1_torchvision.pt", "lpips_squeeze_v0.1.pt", "vgg19_conv1_1_to_3_4.pt")
        for name, state in zip(names, weights, strict=True):
            torch.save(state, tmp_path / name)
        assert torch.equal(Vgg.load(tmp_path)(two * 0.9, two), features(two * 0.9, two))
        assert Lpips.load(tmp_path)(two * 0.9, two).shape == (2,)
        for kind, missing in ((Lpips, names[1]), (Vgg, names[2])):
            (tmp_path / missing).unlink()
            with pytest.raises(FileNotFoundError):
                kind.load(tmp_path)

    def test_the_published_lpips_is_reproduced(self, shared, two):
        """Number computed with the reference implementation that lies beside the weights."""
        ours = Lpips.load(shared / "perceptual")
        ramp = torch.linspace(0, 1, 64).expand(1, 3, 64, 64)
        assert float(ours(ramp.flip(3), ramp)) == pytest.approx(0.30053, abs=1e-4)

    def test_squeezenet_looks_at_seven_places(self, weights, two):
        taps = Squeeze({k: v for k, v in weights[0].items()})(two)
        assert [tap.shape[1] for tap in taps] == [64, 128, 256, 384, 384, 512, 512]


class TestView:
    def test_both_pictures_are_changed_in_the_same_way(self, two):
        for seed in range(8):
            a, b = view(two, two.clone(), np.random.default_rng(seed))
            assert torch.equal(a, b)
            assert 32 <= a.shape[-1] <= 64 and a.shape[-1] == a.shape[-2]

    def test_views_differ(self, two):
        views = [view(two, two, np.random.default_rng(seed))[0] for seed in range(12)]
        assert len({(v.shape[-1], float(v[0, 0, 0, 0])) for v in views}) == 12


class TestAdversary:
    def test_the_critic_learns_to_tell_noise_from_flat_pictures(self):
        torch.manual_seed(0)
        adversary = Adversary(2e-3, width=8)
        for _ in range(40):
            adversary.learn(torch.rand(4, 3, 32, 32), torch.full((4, 3, 32, 32), 0.5), 1.0)
        real, flat = torch.rand(4, 3, 32, 32), torch.full((4, 3, 32, 32), 0.5)
        assert adversary.scores(real).mean() > adversary.scores(flat).mean() + 0.5
        assert adversary.complaint(flat) > adversary.complaint(real)

    def test_its_state_comes_back(self):
        torch.manual_seed(0)
        one, other = Adversary(2e-4, width=8), Adversary(2e-4, width=8)
        real, decoded = torch.rand(2, 3, 32, 32), torch.rand(2, 3, 32, 32)
        one.learn(real, decoded, 1.0)
        other.load_state_dict(copy.deepcopy(one.state_dict()))
        for adversary in (one, other):
            adversary.learn(real, decoded, 1.0)
        assert torch.equal(one.scores(real), other.scores(real))
        assert torch.equal(one.decoded_mean, other.decoded_mean) and one.decoded_mean != 0


class TestStep:
    @pytest.fixture
    def trainer(self, tmp_path, randomise, features):
        torch.manual_seed(0)
        return Trainer(tmp_path, randomise(build(CONFIGS["tiny"])), RECIPE, features=features)

    def test_all_terms_are_there_and_the_tokens_stay(self, trainer, batch):
        before = trainer.model.encode(batch.targets())
        terms = trainer.train_step(batch)
        assert set(terms) == {"distortion", "quantiser", "features", "adversary"}
        assert torch.equal(trainer.model.encode(batch.targets()), before)

    def test_the_critic_is_not_heard_at_first(self, trainer, batch):
        trainer.recipe = replace(RECIPE, critic_alone=1)
        assert "adversary" not in trainer.train_step(batch)
        assert "adversary" in trainer.train_step(batch)

    def test_a_resumed_run_has_the_same_critic(self, trainer, batch, features):
        trainer.train_step(batch)
        trainer.save()
        again = Trainer.resume(trainer.folder, features=features)
        assert again.train_step(batch) == trainer.train_step(batch)

    def test_measuring_its_work_does_not_touch_the_critic(self, trainer, batch, monkeypatch):
        monkeypatch.setattr(loop, "feed", lambda *_: (batch for _ in range(1)))
        before = copy.deepcopy(trainer.adversary.critic.state_dict())
        trainer.measure(None)
        after = trainer.adversary.critic.state_dict()
        assert all(torch.equal(value, before[name]) for name, value in after.items())
        assert trainer.adversary.critic.training

    def test_without_the_networks_weights_it_is_refused(self, tmp_path):
        with pytest.raises(ValueError, match="feature network"):
            Trainer(tmp_path, build(CONFIGS["tiny"]), RECIPE)


class TestGrain:
    RECIPE = Recipe(
        steps=4, batch=2, rate=0, grain_rate=0.1, features=0.3, lpips=1, window=64, warmup_steps=1
    )

    def trainer(self, folder, model, weights):
        lpips = Lpips(*weights[:2])
        return Trainer(folder, model, self.RECIPE, features=Vgg(weights[2]), lpips=lpips)

    def test_it_learns_alone_and_none_of_the_rest_changes(self, tmp_path, weights, batch):
        torch.manual_seed(0)
        trainer = self.trainer(tmp_path, build(CONFIGS["tiny"]), weights)
        before = copy.deepcopy(trainer.model.state_dict())
        for _ in range(2):
            terms = trainer.train_step(batch)
        assert set(terms) == {"distortion", "quantiser", "features", "lpips"}
        after = trainer.model.state_dict()
        changed = {name for name, value in after.items() if not torch.equal(value, before[name])}
        assert changed and all(name.startswith("grain.") for name in changed)

    @pytest.mark.parametrize("rate", [0, 0.1])
    def test_pictures_have_it_only_where_it_learns(self, tmp_path, randomise, batch, rate):
        model = randomise(build(CONFIGS["tiny"]))
        trainer = Trainer(tmp_path, model, Recipe(steps=1, batch=2, grain_rate=rate))
        asked = []
        trainer.forward = lambda *args, **kwargs: asked.append(kwargs) or model(*args, **kwargs)
        trainer.train_step(batch)
        assert asked == [{"grain": True}] if rate else asked == [{}]

    def test_nothing_else_may_learn_from_lpips(self):
        with pytest.raises(ValueError, match="grain alone"):
            Recipe(steps=1, lpips=1)

    def test_a_configuration_without_it_is_refused(self, tmp_path):
        model = build(replace(CONFIGS["tiny"], grain=False))
        with pytest.raises(ValueError, match="with grain"):
            Trainer(tmp_path, model, Recipe(steps=1, rate=0, grain_rate=0.1))


def test_the_large_configuration_trains_on_a_cpu(tmp_path, make_picture):
    """A short stand-in for the 20 steps on a CPU that docs/training.md reports."""
    torch.manual_seed(0)
    model = build(CONFIGS["large"])
    assert 20e6 < sum(p.numel() for p in model.parameters()) < 40e6
    trainer = Trainer(tmp_path, model, Recipe(steps=20, encoder_rate=1e-4, warmup_steps=1))
    pixels = torch.from_numpy(np.asarray(make_picture(256, 256, 0)).copy())[None]
    batch = Batch(pixels, torch.tensor([64]), torch.ones(1))
    first = trainer.train_step(batch)["distortion"]
    assert trainer.train_step(batch)["distortion"] < first
