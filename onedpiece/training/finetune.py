"""Fine-tune an installed model on other pictures."""

from __future__ import annotations

import shutil
from pathlib import Path

from onedpiece.errors import PictureError
from onedpiece.export.model_directory import export
from onedpiece.models.registry import Model
from onedpiece.tokenizer.onedpiece import OneDPiece, SpectralOneDPiece
from onedpiece.tokenizer.weights import load, load_installed, save
from onedpiece.training import checkpoint
from onedpiece.training.data import Pictures
from onedpiece.training.grain_matching import match_grain
from onedpiece.training.loop import Trainer
from onedpiece.training.recipe import Recipe

LEARNING_RATE = 2e-4  # a quarter of that of training from scratch
GRAIN_FRACTION = 0.1  # of the time
ORIGINAL = "original.safetensors"


def finetune(model: Model, sources: list[Path], hours: float, out: Path, name: str) -> str:
    """Train for `hours` and write the model directory `out`; returns the new fingerprint.

    A tenth of the time is for the grain, which is trained to be as strong as before. The run is
    kept in `out`/run until it is finished. A second call resumes it, with the model and the hours
    of the first call. Raises PictureError if there is nothing to train on, ModelError for a model
    that cannot be trained.
    """
    run = out / "run"
    resumed = checkpoint.exists(run)
    trainer = Trainer.resume(run) if resumed else _start(model, hours, run)
    try:
        pictures = Pictures.open(sources, run / "cache")
    except ValueError as error:
        if not resumed:
            shutil.rmtree(run)
        raise PictureError(str(error)) from error
    trainer.run(pictures)
    tuned = checkpoint.ema_model(run)
    _restore_grain(tuned, run, pictures, trainer.recipe.seconds)
    del pictures  # Windows does not remove a folder with an open memory map
    fingerprint = export(tuned, out, name)
    shutil.rmtree(run)
    return fingerprint


def _start(model: Model, hours: float, run: Path) -> Trainer:
    """A new run of the model, with a copy of its weights in the run's folder."""
    module = load_installed(model)
    run.mkdir(parents=True, exist_ok=True)
    save(module, run / ORIGINAL, half=False)
    fraction = 1 - GRAIN_FRACTION if module.config.grain else 1
    return Trainer(
        run, module, Recipe(seconds=fraction * 3600 * hours, learning_rate=LEARNING_RATE)
    )


def _restore_grain(tuned: OneDPiece, run: Path, pictures: Pictures, seconds: float) -> None:
    """Train the grain, if there is one, in the time that `seconds` of training left for it."""
    if not isinstance(tuned, SpectralOneDPiece) or tuned.grain is None:
        return
    original = load(tuned.config, run / ORIGINAL)
    assert isinstance(original, SpectralOneDPiece)
    remaining = seconds * GRAIN_FRACTION / (1 - GRAIN_FRACTION)
    recipe = Recipe(seconds=remaining, batch=8, grain_learning_rate=1e-3, warmup_steps=10)
    match_grain(tuned, original, pictures, recipe)
