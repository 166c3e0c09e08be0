"""After fine-tuning, grain is as strong as it was before."""

import copy

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="needs the extra onedpiece[torch]")

from onedpiece.tokenizer.config import CONFIGS  # noqa: E402
from onedpiece.tokenizer.onedpiece import build  # noqa: E402
from onedpiece.training.data import Pictures  # noqa: E402
from onedpiece.training.follow import follow_grain  # noqa: E402
from onedpiece.training.recipe import Recipe  # noqa: E402


def test_strengths_come_back_and_nothing_else_changes(tmp_path, randomise, make_picture):
    (tmp_path / "photos").mkdir()
    for seed in range(4):
        make_picture(256, 256, seed).save(tmp_path / "photos" / f"{seed}.png")
    pictures = Pictures.open([tmp_path / "photos"], tmp_path / "cache")
    torch.manual_seed(0)
    before = randomise(build(CONFIGS["tiny"])).eval()
    tuned = copy.deepcopy(before)
    with torch.no_grad():
        for name, value in tuned.named_parameters():
            if name.startswith("repair."):
                value.add_(0.05 * torch.randn(value.shape))
    state = copy.deepcopy(tuned.state_dict())
    pixels = np.stack([np.asarray(make_picture(256, 256, seed)) for seed in range(4)])
    tokens = before.encode(torch.from_numpy(pixels).permute(0, 3, 1, 2) / 255)
    keep = torch.tensor([20, 60, 120, 256])

    def distance() -> float:
        with torch.no_grad():
            wanted = before.strengths(tokens, keep)
            return float((tuned.strengths(tokens, keep) - wanted).square().mean())

    first = distance()
    follow_grain(
        tuned, before, pictures, Recipe(steps=30, batch=4, grain_rate=3e-3, warmup_steps=2)
    )
    assert distance() < 0.5 * first
    changed = {
        name for name, value in tuned.state_dict().items() if not torch.equal(value, state[name])
    }
    assert changed and all(name.startswith("grain.") for name in changed)
