"""Continue an installed model on other pictures."""

from __future__ import annotations

import shutil
from pathlib import Path

from onedpiece.errors import PictureError
from onedpiece.export.model_directory import export
from onedpiece.models.registry import Model
from onedpiece.tokenizer.onedpiece import SpectralOneDPiece
from onedpiece.tokenizer.weights import load, load_installed, save
from onedpiece.training.data import Pictures
from onedpiece.training.follow import follow_grain
from onedpiece.training.loop import Trainer, averaged_model
from onedpiece.training.recipe import Recipe

RATE = 2e-4  # a quarter of the rate of a training from the start
FOR_GRAIN = 0.1  # share of the time
BEFORE = "before.safetensors"


def finetune(model: Model, sources: list[Path], hours: float, out: Path, name: str) -> str:
    """Train for `hours` and write the model directory `out`; returns the new fingerprint.

    A tenth of the time is for the grain, which is to stay as strong as it was. The run lives in `out`/run. Called again
    before it is finished, it goes on where it stopped, with the model and the hours of the first call; in the end the
    folder is removed. Raises PictureError if there is nothing to train on, ModelError for a model that cannot be trained.
    """
    run = out / "run"
    resumed = (run / "checkpoint.pt").exists()
    if resumed:
        trainer = Trainer.resume(run)
    else:
        module = load_installed(model)
        run.mkdir(parents=True, exist_ok=True)
        save(module, run / BEFORE, half=False)
        share = 1 - FOR_GRAIN if module.config.grain else 1
        trainer = Trainer(run, module, Recipe(seconds=share * 3600 * hours, rate=RATE))
    try:
        pictures = Pictures.open(sources, run / "cache")
    except ValueError as error:
        if not resumed:
            shutil.rmtree(run)
        raise PictureError(str(error)) from error
    trainer.run(pictures)
    tuned = averaged_model(run)
    if isinstance(tuned, SpectralOneDPiece) and tuned.grain:
        before = load(tuned.config, run / BEFORE)
        assert isinstance(before, SpectralOneDPiece)
        rest = trainer.recipe.seconds * FOR_GRAIN / (1 - FOR_GRAIN)
        recipe = Recipe(seconds=rest, batch=8, grain_rate=1e-3, warmup_steps=10)
        follow_grain(tuned, before, pictures, recipe)
    del pictures  # its memory map would keep the folder from being removed on Windows
    fingerprint = export(tuned, out, name)
    shutil.rmtree(run)
    return fingerprint
