"""Fine-tune an installed model on other pictures: a new decoder, or a new token set as well."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

from onedpiece.errors import PictureError
from onedpiece.export.model_directory import copy_token_set, export, new_decoder
from onedpiece.models.manifest import ENCODER, ENCODER_WEIGHTS, Model, TokenSet
from onedpiece.tokenizer.onedpiece import OneDPiece, SpectralOneDPiece
from onedpiece.tokenizer.weights import load, load_installed, save
from onedpiece.training import checkpoint
from onedpiece.training.data import Pictures
from onedpiece.training.entropy import refit_tables
from onedpiece.training.grain_matching import match_grain
from onedpiece.training.loop import Trainer
from onedpiece.training.recipe import Recipe

LEARNING_RATE = 2e-4  # a quarter of that of training from scratch
ENCODER_LEARNING_RATE = 1e-4  # like the next, as large beside it as in training from scratch
CODEBOOK_LEARNING_RATE = 5e-6
GRAIN_FRACTION = 0.1  # of the time
ORIGINAL = "original.safetensors"
KEPT = "kept"  # folder with token set and encoder, if these stay
NAMES = "token-set.json"


def finetune(
    model: Model,
    sources: list[Path],
    hours: float,
    out: Path,
    name: str,
    new_token_set: bool = False,
) -> Model:
    """Train for `hours` and write the model directory `out`.

    Token set and encoder stay as they are, byte for byte, and the decoder is trained; it is called
    `name`. With `new_token_set`, codebooks and encoder are trained too, and files of the new model
    need the new token set, which is called `name` as well.

    A tenth of the time is for the grain, which is trained to be as strong as before. The run is
    kept in `out`/run until it is finished. A second call resumes it, with the model, the hours and
    the kind of token set of the first call. Raises PictureError if there is nothing to train on,
    ModelError for a model that cannot be trained, ValueError for a name that is not valid.
    """
    run, decoder = out / "run", new_decoder(name)
    resumed = checkpoint.exists(run)
    trainer = Trainer.resume(run) if resumed else _start(model, hours, run, new_token_set)
    try:
        pictures = Pictures.open(sources, run / "cache")
    except ValueError as error:
        if not resumed:
            shutil.rmtree(run)
        raise PictureError(str(error)) from error
    trainer.run(pictures)
    tuned = checkpoint.ema_model(run)
    _restore_grain(tuned, run, pictures, trainer.recipe.seconds)
    token_set = _copy_kept(run, out)
    if token_set is None and isinstance(tuned, SpectralOneDPiece):
        refit_tables(tuned, pictures)
    del pictures  # Windows does not remove a folder with an open memory map
    kept = [path.name for path in (run / KEPT).glob("*")]
    written = export(tuned, out, name, decoder, token_set=token_set, keep=kept)
    shutil.rmtree(run)
    return written


def _start(model: Model, hours: float, run: Path, new_token_set: bool) -> Trainer:
    """A new run of the model, with copies of what stays and of its weights in the run's folder."""
    module = load_installed(model)
    run.mkdir(parents=True, exist_ok=True)
    save(module, run / ORIGINAL, half=False)
    if not new_token_set:
        _keep(model, run)
    fraction = 1 - GRAIN_FRACTION if module.config.grain else 1
    recipe = Recipe(
        seconds=fraction * 3600 * hours,
        learning_rate=LEARNING_RATE,
        encoder_learning_rate=ENCODER_LEARNING_RATE if new_token_set else 0.0,
        codebook_learning_rate=CODEBOOK_LEARNING_RATE if new_token_set else 0.0,
    )
    return Trainer(run, module, recipe)


def _keep(model: Model, run: Path) -> None:
    """Copy token set and encoder into the run's folder, as the model may change until the end."""
    (run / KEPT).mkdir(exist_ok=True)
    token_set = copy_token_set(model, run / KEPT)
    (run / NAMES).write_text(json.dumps(token_set.to_dict()))
    for name in (ENCODER, ENCODER_WEIGHTS):
        # The encoder of version 0.1 refers into the file of all weights, and is written again.
        if not model.is_old and (model.path / name).exists():
            shutil.copyfile(model.path / name, run / KEPT / name)


def _copy_kept(run: Path, out: Path) -> TokenSet | None:
    """Copy what stays into the model directory; its token set, or None if that is a new one."""
    if not (run / KEPT).exists():
        return None
    shutil.copytree(run / KEPT, out, dirs_exist_ok=True)
    return TokenSet.from_dict(json.loads((run / NAMES).read_text()))


def _restore_grain(tuned: OneDPiece, run: Path, pictures: Pictures, seconds: float) -> None:
    """Train the grain, if there is one, in the time that `seconds` of training left for it."""
    if not isinstance(tuned, SpectralOneDPiece) or tuned.grain is None:
        return
    original = load(tuned.config, run / ORIGINAL)
    assert isinstance(original, SpectralOneDPiece)
    remaining = seconds * GRAIN_FRACTION / (1 - GRAIN_FRACTION)
    recipe = Recipe(seconds=remaining, batch=8, grain_learning_rate=1e-3, warmup_steps=10)
    match_grain(tuned, original, pictures, recipe)
