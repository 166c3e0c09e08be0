"""A run: exact resume, its end, its log and its checkpoint."""

import itertools
import json
from dataclasses import replace
from types import SimpleNamespace

import pytest

torch = pytest.importorskip("torch", reason="needs the extra onedpiece[torch]")

from onedpiece.tokenizer.config import CONFIGS  # noqa: E402
from onedpiece.tokenizer.onedpiece import build  # noqa: E402
from onedpiece.training import checkpoint, loop  # noqa: E402
from onedpiece.training.loop import Trainer  # noqa: E402
from onedpiece.training.recipe import Recipe  # noqa: E402

RECIPE = Recipe(seconds=20, batch=2, muon_learning_rate=1e-3, warmup_steps=2)


@pytest.fixture(autouse=True)
def clock(monkeypatch):
    """The time is a second later at every call, so that the schedule is always the same."""
    ticks = itertools.count()
    monkeypatch.setattr(loop, "time", SimpleNamespace(monotonic=lambda: float(next(ticks))))


@pytest.fixture
def start(tmp_path, tiny):
    """Starts a run of the same untrained model in a folder of the given name."""

    def start(name="run"):
        (tmp_path / name).mkdir()
        Trainer(tmp_path / name, tiny, RECIPE).save()
        return tmp_path / name

    return start


def log_rows(run):
    return [json.loads(line) for line in (run / "log.jsonl").read_text().splitlines()]


def test_a_resumed_run_ends_with_the_same_bits(start, pictures):
    whole, resumed = start("whole"), start("resumed")
    Trainer.resume(whole).run(pictures, 4)
    Trainer.resume(resumed).run(pictures, 2)
    Trainer.resume(resumed).run(pictures, 4)
    one, other = checkpoint.read(whole), checkpoint.read(resumed)
    assert (one["step"], one["seconds"]) == (other["step"], other["seconds"]) == (4, 4.0)
    for weights in ("model", "ema"):
        for name, value in one[weights].items():
            assert torch.equal(value, other[weights][name]), f"{weights}: {name}"
    assert len(one["optimizers"]) == 2
    for first, second in zip(one["optimizers"], other["optimizers"], strict=True):
        assert first["state"]
        for index, moments in first["state"].items():
            for name, value in moments.items():
                assert torch.equal(value, second["state"][index][name])


def test_networks_are_trained_and_tables_are_not(start, pictures):
    run = start()
    before = checkpoint.read(run)["model"]
    Trainer.resume(run).run(pictures, 3)
    after = checkpoint.read(run)["model"]
    changed = {name for name in before if not torch.equal(before[name], after[name])}
    assert {"repair.head.weight", "decoder.decoder_embed.weight", "hint.embed.weight"} <= changed
    assert not any(name.startswith("quantize.") for name in changed)


@pytest.mark.parametrize("recipe", [replace(RECIPE, seconds=2), Recipe(steps=2, batch=2)])
def test_a_run_ends_with_its_schedule(start, pictures, recipe):
    run = start()
    Trainer.resume(run, recipe=recipe).run(pictures)
    assert checkpoint.read(run)["step"] == 2


def test_an_interrupted_run_can_be_continued(start, pictures, monkeypatch):
    monkeypatch.setattr(loop, "LOG_STEPS", 2)
    trainer = Trainer.resume(start())
    trainer.run(pictures, 9, interrupted=lambda: True)
    assert trainer.step == 2
    trainer.run(pictures, 3)
    assert trainer.step == 3


def test_another_recipe_starts_anew_from_the_averaged_weights(start, pictures):
    run = start()
    Trainer.resume(run).run(pictures, 2)
    trainer = Trainer.resume(run, recipe=replace(RECIPE, learning_rate=1e-4))
    ema = checkpoint.read(run)["ema"]
    assert (trainer.step, trainer.seconds, trainer.recipe.learning_rate) == (0, 0.0, 1e-4)
    for weights in (trainer.model.state_dict(), trainer.ema.weights):
        assert all(torch.equal(value, ema[name]) for name, value in weights.items())


def test_the_averaged_weights_are_what_is_evaluated(start, pictures):
    run = start()
    trainer = Trainer.resume(run)
    trainer.run(pictures, 2)
    model = checkpoint.ema_model(run)
    assert not model.training
    for name, value in model.state_dict().items():
        assert torch.equal(value, trainer.ema.weights[name])


class TestLog:
    @pytest.fixture(autouse=True)
    def every_second_step(self, monkeypatch):
        monkeypatch.setattr(loop, "LOG_STEPS", 2)

    def test_progress_is_logged(self, start, pictures):
        run = start()
        Trainer.resume(run).run(pictures, 5)
        rows = log_rows(run)
        assert [(row["step"], row["pictures"]) for row in rows] == [(2, 4), (4, 8)]
        assert all(row["pictures_per_second"] == 2 for row in rows)

    def test_validation_pictures_are_evaluated_now_and_then(self, start, pictures, monkeypatch):
        monkeypatch.setattr(loop, "VALIDATION_SECONDS", 3)
        run = start()
        validation = torch.from_numpy(pictures.centre(0)[None].copy())
        Trainer.resume(run).run(pictures, 3, validation)
        scores = [row["psnr_256"] for row in log_rows(run) if "psnr_256" in row]
        assert scores and min(scores) > 5

    def test_the_share_of_the_device_that_a_step_uses_is_logged(self, start, pictures):
        run = start()
        trainer = Trainer.resume(run)
        trainer.measure(pictures)
        assert trainer.step_cost.flops > 1e8 and trainer.step_cost.peak > 1e9
        trainer.run(pictures, 2)
        # A step takes one second of this test's clock.
        expected = trainer.step_cost.flops / trainer.step_cost.peak
        assert log_rows(run)[0]["of_peak"] == pytest.approx(expected, abs=1e-4)


def test_the_large_configuration_has_32_million_parameters():
    model = build(CONFIGS["large"])
    assert sum(p.numel() for p in model.parameters()) == pytest.approx(31.8e6, rel=0.01)
