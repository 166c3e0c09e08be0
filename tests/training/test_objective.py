"""Which losses a recipe gives, and what is trained by them."""

import copy
from dataclasses import replace

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="needs the extra onedpiece[torch]")

from onedpiece.tokenizer.config import CONFIGS  # noqa: E402
from onedpiece.tokenizer.onedpiece import build  # noqa: E402
from onedpiece.training.loop import Trainer  # noqa: E402
from onedpiece.training.losses import log_mse  # noqa: E402
from onedpiece.training.objective import FrozenNetworks  # noqa: E402
from onedpiece.training.recipe import Recipe  # noqa: E402


def test_log_mse_weighs_decibels_and_not_errors():
    target = torch.zeros(2, 3, 4, 4)
    decoded = torch.stack((torch.full((3, 4, 4), 0.5), torch.full((3, 4, 4), 0.05)))
    expected = (np.log(0.25 + 2e-4) + np.log(0.0025 + 2e-4)) / 2
    assert float(log_mse(decoded, target)) == pytest.approx(expected, abs=1e-5)


class TestFeatureLosses:
    RECIPE = Recipe(steps=4, batch=2, vgg=0.3, window=64, warmup_steps=1)

    def test_all_terms_are_there_and_the_tokens_stay(self, tiny, vgg, batch, tmp_path):
        trainer = Trainer(tmp_path, tiny, self.RECIPE, networks=FrozenNetworks(vgg=vgg))
        before = trainer.model.encode(batch.targets())
        assert set(trainer.train_step(batch)) == {"log_mse", "quantiser", "vgg"}
        assert torch.equal(trainer.model.encode(batch.targets()), before)

    def test_a_recipe_without_its_network_is_refused(self, tmp_path, tiny):
        with pytest.raises(ValueError, match="feature network"):
            Trainer(tmp_path, tiny, self.RECIPE)


class TestGrain:
    def test_the_grain_is_trained_alone(self, tmp_path, vgg, lpips, batch):
        torch.manual_seed(0)
        recipe = Recipe(
            steps=4,
            batch=2,
            learning_rate=0,
            grain_learning_rate=0.1,
            vgg=0.3,
            lpips=1,
            window=64,
            warmup_steps=1,
        )
        networks = FrozenNetworks(vgg=vgg, lpips=lpips)
        trainer = Trainer(tmp_path, build(CONFIGS["tiny"]), recipe, networks=networks)
        before = copy.deepcopy(trainer.model.state_dict())
        for _ in range(2):
            terms = trainer.train_step(batch)
        assert set(terms) == {"log_mse", "quantiser", "vgg", "lpips"}
        after = trainer.model.state_dict()
        changed = {name for name, value in after.items() if not torch.equal(value, before[name])}
        assert changed and all(name.startswith("grain.") for name in changed)

    @pytest.mark.parametrize("learning_rate", [0, 0.1])
    def test_pictures_have_grain_only_if_it_is_trained(self, tmp_path, tiny, batch, learning_rate):
        recipe = Recipe(steps=1, batch=2, grain_learning_rate=learning_rate)
        trainer = Trainer(tmp_path, tiny, recipe)
        options = []
        trainer.forward = lambda *args, **kwargs: options.append(kwargs) or tiny(*args, **kwargs)
        trainer.train_step(batch)
        assert options == ([{"grain": True}] if learning_rate else [{}])

    def test_nothing_else_may_be_trained_with_lpips(self):
        with pytest.raises(ValueError, match="grain only"):
            Recipe(steps=1, lpips=1)

    def test_a_configuration_without_grain_is_refused(self, tmp_path):
        model = build(replace(CONFIGS["tiny"], grain=False))
        with pytest.raises(ValueError, match="with grain"):
            Trainer(tmp_path, model, Recipe(steps=1, learning_rate=0, grain_learning_rate=0.1))
