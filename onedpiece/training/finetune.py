"""Fine-tune an installed model on other pictures: a new decoder, or a new token set as well."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path

from onedpiece.errors import PictureError
from onedpiece.export.model_directory import add_decoder, copy_token_set, export, new_decoder
from onedpiece.models.manifest import ENCODER, ENCODER_WEIGHTS, Model, TokenSet
from onedpiece.tokenizer.natural import NaturalOneDPiece
from onedpiece.tokenizer.onedpiece import OneDPiece, SpectralOneDPiece
from onedpiece.tokenizer.weights import load, load_installed, save
from onedpiece.training import checkpoint
from onedpiece.training.adversary import Adversary, Patches
from onedpiece.training.data import Pictures
from onedpiece.training.distillation import SHARPEN, Distillation
from onedpiece.training.entropy import calibration_tokens, refit_tables
from onedpiece.training.loop import Trainer
from onedpiece.training.photographs import Photographs
from onedpiece.training.recipe import Recipe

LEARNING_RATE = 2e-4  # a quarter of that of training from scratch
ENCODER_LEARNING_RATE = 1e-4  # like the next, as large beside it as in training from scratch
CODEBOOK_LEARNING_RATE = 5e-6
NATURAL_FRACTION = 1 / 3  # of the time
NATURAL = "natural"  # folder of that decoder's run, with two files besides
ORIGINAL, SOURCE = "original.safetensors", "source.txt"
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

    Token set and encoder stay as they are, byte for byte, and the decoder of the least error is
    trained; it is called `name`. If the model paints natural pictures, a third of the time is for
    that decoder, which is called `name`-natural. With `new_token_set`, codebooks and encoder are
    trained too, and files of the new model need the new token set, which is called `name` as well.

    The run is kept in `out`/run until it is finished. A second call resumes it, with the model, the
    hours and the kind of token set of the first call. Raises PictureError if there is nothing to
    train on, ModelError for a model that cannot be trained, ValueError for a name that is not
    valid.
    """
    run, decoder = out / "run", new_decoder(name)
    resumed = checkpoint.exists(run)
    trainer = Trainer.resume(run) if resumed else _start(model, hours, run, new_token_set)
    try:
        pictures = Pictures.open(sources, run / "cache")
    except (ValueError, OSError) as error:
        if not resumed:
            shutil.rmtree(run)
        raise PictureError(str(error)) from error
    trainer.run(pictures)
    tuned = checkpoint.ema_model(run)
    natural = _retrain_natural(run, tuned, pictures)
    token_set = _copy_kept(run, out)
    if token_set is None and isinstance(tuned, SpectralOneDPiece):
        refit_tables(tuned, pictures)
        if natural:
            natural.quantize.load_state_dict(tuned.quantize.state_dict())
    calibration = calibration_tokens(tuned, pictures)
    del pictures  # Windows does not remove a folder with an open memory map
    kept = [path.name for path in (run / KEPT).glob("*")]
    written = export(
        tuned, out, name, decoder, token_set=token_set, keep=kept, calibration=calibration
    )
    if natural:
        info = replace(new_decoder(f"{name}-natural"), faithful=name, source=_source(run))
        written = add_decoder(natural, written, info, calibration)
    shutil.rmtree(run)
    return written


def _start(model: Model, hours: float, run: Path, new_token_set: bool) -> Trainer:
    """A new run of the model, with copies of what stays and of its weights in the run's folder."""
    module = load_installed(model.faithful)
    run.mkdir(parents=True, exist_ok=True)
    if not new_token_set:
        _keep(model, run)
    fraction = 1.0
    if model.has_realism:
        fraction -= NATURAL_FRACTION
        natural = load_installed(model)
        assert isinstance(natural, NaturalOneDPiece)
        plan = replace(SHARPEN, seconds=NATURAL_FRACTION * 3600 * hours)
        Distillation(run / NATURAL, natural, plan, Adversary(Patches())).save()
        save(natural, run / NATURAL / ORIGINAL, half=False)
        (run / NATURAL / SOURCE).write_text(model.decoder.source, encoding="utf-8")
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


def _retrain_natural(run: Path, tuned: OneDPiece, pictures: Pictures) -> NaturalOneDPiece | None:
    """Train the natural decoder, if there is one, with the tokens of the tuned model."""
    if not checkpoint.exists(run / NATURAL):
        return None
    training = Distillation.resume(run / NATURAL, Adversary(Patches()))
    shipped = load(training.student.config, run / NATURAL / ORIGINAL)
    assert isinstance(tuned, SpectralOneDPiece) and isinstance(shipped, NaturalOneDPiece)
    for decoder in (shipped, training.student):
        decoder.quantize.load_state_dict(tuned.quantize.state_dict())
    training.run(Photographs(shipped, pictures))
    natural = checkpoint.ema_model(run / NATURAL)
    assert isinstance(natural, NaturalOneDPiece)
    return natural


def _source(run: Path) -> str:
    """Where the weights of the natural decoder come from."""
    return (run / NATURAL / SOURCE).read_text(encoding="utf-8")
