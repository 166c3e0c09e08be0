"""After fine-tuning, grain is as strong as it was before."""

import copy

import pytest

torch = pytest.importorskip("torch", reason="needs the extra onedpiece[torch]")

from onedpiece.training.grain_matching import match_grain  # noqa: E402
from onedpiece.training.recipe import Recipe  # noqa: E402


def test_strengths_are_restored_and_nothing_else_changes(tiny, batch, pictures):
    original = tiny.eval()
    tuned = copy.deepcopy(original)
    with torch.no_grad():
        for name, value in tuned.named_parameters():
            if name.startswith("repair."):
                value.add_(0.05 * torch.randn(value.shape))
    before = copy.deepcopy(tuned.state_dict())
    tokens = original.encode(batch.targets())

    def distance() -> float:
        with torch.no_grad():
            target = original.strengths(tokens, batch.num_tokens)
            return float((tuned.strengths(tokens, batch.num_tokens) - target).square().mean())

    first = distance()
    recipe = Recipe(steps=16, batch=2, grain_learning_rate=3e-3, warmup_steps=2)
    match_grain(tuned, original, pictures, recipe)
    assert distance() < 0.5 * first
    after = tuned.state_dict()
    changed = {name for name, value in after.items() if not torch.equal(value, before[name])}
    assert changed and all(name.startswith("grain.") for name in changed)
