"""Continue an installed model on other pictures."""

from __future__ import annotations

import shutil
from pathlib import Path

from onedpiece.errors import PictureError
from onedpiece.models.registry import Model
from onedpiece.tokenizer.export import export
from onedpiece.tokenizer.weights import load_installed
from onedpiece.training.data import Pictures
from onedpiece.training.loop import Trainer, averaged_model
from onedpiece.training.recipe import Recipe

RATE = 2e-4  # a quarter of the rate of a training from the start


def finetune(model: Model, sources: list[Path], hours: float, out: Path, name: str) -> str:
    """Train for `hours` and write the model directory `out`; returns the new fingerprint.

    The run lives in `out`/run. Called again before it is finished, it goes on where it stopped, with the model and
    the hours of the first call; in the end the folder is removed. The grain stays as it is. Raises PictureError if there is nothing to train on, ModelError for a model that
    cannot be trained.
    """
    run = out / "run"
    resumed = (run / "checkpoint.pt").exists()
    if resumed:
        trainer = Trainer.resume(run)
    else:
        module = load_installed(model)
        run.mkdir(parents=True, exist_ok=True)
        trainer = Trainer(run, module, Recipe(seconds=3600 * hours, rate=RATE))
    try:
        pictures = Pictures.open(sources, run / "cache")
    except ValueError as error:
        if not resumed:
            shutil.rmtree(run)
        raise PictureError(str(error)) from error
    trainer.run(pictures)
    del pictures  # its memory map would keep the folder from being removed on Windows
    fingerprint = export(averaged_model(run), out, name)
    shutil.rmtree(run)
    return fingerprint
