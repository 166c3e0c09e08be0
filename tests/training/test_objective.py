"""Which losses a recipe gives, and what is trained by them."""

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="needs the extra onedpiece[torch]")

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
