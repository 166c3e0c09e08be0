"""The steps that make a model: `python -m onedpiece.training VERB`."""

from __future__ import annotations

import argparse
import math
import time
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import torch

from onedpiece.tokenizer.config import CONFIGS, Natural
from onedpiece.tokenizer.lpips import Lpips
from onedpiece.tokenizer.natural import NaturalOneDPiece
from onedpiece.tokenizer.onedpiece import PaperOneDPiece, SpectralOneDPiece, build
from onedpiece.training import checkpoint, distributed
from onedpiece.training.adversary import Adversary
from onedpiece.training.data import Pictures, shards
from onedpiece.training.distillation import SHARPEN, Distillation, Plan
from onedpiece.training.distributed import Process
from onedpiece.training.entropy import (
    all_tokens,
    calibration_tokens,
    frequency_tables,
    held_out_bits,
    position_entropy,
)
from onedpiece.training.evaluate import LENGTHS, Score, evaluate, load_folder, of_bytes, psnr
from onedpiece.training.features import Vgg
from onedpiece.training.fit import fit
from onedpiece.training.frozen_vq import FrozenVq, initialise
from onedpiece.training.loop import Trainer
from onedpiece.training.objective import FrozenNetworks
from onedpiece.training.perception import Perception
from onedpiece.training.photographs import Photographs
from onedpiece.training.precision import memory_format
from onedpiece.training.recipe import Recipe
from onedpiece.training.targets import Targets, make_targets
from onedpiece.training.teacher import load_restoration
from onedpiece.training.warm_start import copy_matching, load_parent


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m onedpiece.training", description=__doc__)
    verbs = parser.add_subparsers(required=True)

    verb = verbs.add_parser("fit", help="fit the tables and write a checkpoint at step 0")
    _add_run(verb)
    _add_data(verb)
    _add_config(verb)
    verb.set_defaults(do=fit_verb)

    verb = verbs.add_parser("start", help="write a checkpoint at step 0 from other weights")
    _add_run(verb)
    _add_config(verb)
    verb.add_argument("--from", dest="parent", type=Path, help="run or installed model directory")
    verb.add_argument("--vq", type=Path, help="or: MaskGIT's VQGAN, for the paper's models")
    verb.set_defaults(do=start_verb)

    verb = verbs.add_parser("train", help="train from the checkpoint to the end of the schedule")
    _add_run(verb)
    _add_data(verb)
    _add_train(verb)
    verb.set_defaults(do=train_verb)

    verb = verbs.add_parser("tables", help="measure the entropy tables again after training")
    _add_run(verb)
    _add_data(verb)
    verb.set_defaults(do=tables_verb)

    verb = verbs.add_parser("evaluate", help="print scores over a folder of pictures")
    _add_run(verb)
    verb.add_argument("pictures", type=Path)
    verb.add_argument("--tokens", type=int, nargs="+", default=LENGTHS)
    verb.add_argument("--features", type=Path, help="folder with weights of feature networks")
    verb.set_defaults(do=evaluate_verb)

    _add_distillation(verbs)

    verb = verbs.add_parser("entropy", help="print the entropy of the training pictures' tokens")
    _add_run(verb)
    _add_data(verb)
    verb.set_defaults(do=entropy_verb)

    verb = verbs.add_parser(
        "export", help="write a model directory, or add a decoder to one of the same token set"
    )
    _add_run(verb)
    _add_data(verb, required=False)  # with pictures, the decoder multiplies 8-bit integers
    verb.add_argument("out", type=Path)
    verb.add_argument("--name", default="default", help="name of a new model")
    verb.add_argument("--decoder", default="repair", help="name of the decoder")
    verb.add_argument("--version", type=int, default=1, help="version of the decoder")
    verb.add_argument(
        "--faithful", default="", help="for a natural decoder: name of that of the least error"
    )
    verb.add_argument("--source", default="", help="where its weights come from, and the licence")
    verb.set_defaults(do=export_verb)

    args = parser.parse_args()
    args.do(args)


def _add_distillation(verbs: Any) -> None:
    """The verbs that make a natural decoder, and train one."""
    verb = verbs.add_parser("targets", help="let a teacher paint the training pictures")
    verb.add_argument("targets", type=Path, help="folder to write")
    _add_data(verb)
    verb.add_argument("--teacher", type=Path, required=True, help="weights of Real-ESRGAN x4plus")
    verb.add_argument("--model", default="default", help="name or directory of the model")
    verb.add_argument("--device", default="cpu")
    verb.set_defaults(do=targets_verb)

    verb = verbs.add_parser("prune", help="make a natural decoder of some blocks of Real-ESRGAN")
    _add_run(verb)
    verb.add_argument("--weights", type=Path, required=True, help="those of Real-ESRGAN x4plus")
    verb.add_argument("--blocks", type=int, nargs="+", help="numbers of the blocks; all by default")
    verb.add_argument("--model", default="default", help="name or directory of the model")
    verb.set_defaults(do=prune_verb)

    verb = verbs.add_parser("distil", help="train a natural decoder to paint like the teacher")
    _add_run(verb)
    verb.add_argument("targets", type=Path, help="folder that `targets` wrote")
    _add_distil(verb)
    verb.set_defaults(do=distil_verb)

    verb = verbs.add_parser("sharpen", help="train a natural decoder against a discriminator")
    _add_run(verb)
    verb.add_argument("--start", type=Path, required=True, help="folder of its run before")
    _add_data(verb)
    _add_distil(verb)
    verb.set_defaults(do=sharpen_verb)


def _add_distil(verb: argparse.ArgumentParser) -> None:
    verb.add_argument("--seconds", type=float, required=True, help="how long to train")
    verb.add_argument("--batch", type=int, default=4)
    verb.add_argument(
        "--features", type=Path, required=True, help="folder with weights of feature networks"
    )
    verb.add_argument("--device", default="cpu")


def _add_run(verb: argparse.ArgumentParser) -> None:
    verb.add_argument("--run", type=Path, required=True, help="folder of the run")


def _add_data(verb: argparse.ArgumentParser, required: bool = True) -> None:
    verb.add_argument(
        "--data", type=Path, nargs="+", required=required, help="tar files or folders of pictures"
    )
    verb.add_argument("--cache", type=Path, required=required, help="folder for decoded pictures")


def _add_config(verb: argparse.ArgumentParser) -> None:
    verb.add_argument("--config", default="default", choices=sorted(CONFIGS))


def _add_train(verb: argparse.ArgumentParser) -> None:
    verb.add_argument(
        "--recipe",
        help="start this schedule from the averaged weights: a recipe's name, or a TOML file",
    )
    verb.add_argument("--device", default="cpu")
    verb.add_argument("--compile", action="store_true", help="use torch.compile")
    verb.add_argument(
        "--follow", action="store_true", help="add tar files that appear beside the first ones"
    )
    verb.add_argument("--stop", type=int, metavar="STEPS", help="stop after this many steps")
    verb.add_argument("--features", type=Path, help="folder with weights of feature networks")
    verb.add_argument("--vq", type=Path, help="MaskGIT's VQGAN, for recipes with proxy codes")
    verb.add_argument("--watch", type=Path, help="folder of pictures whose PSNR is logged")


def fit_verb(args: argparse.Namespace) -> None:
    config, start = CONFIGS[args.config], time.monotonic()
    torch.manual_seed(0)
    model = build(config)
    if isinstance(model, SpectralOneDPiece) and config.spectral:
        tables = fit(config.spectral, _pictures(args))
        model.quantize.load_state_dict(tables.state_dict())
    args.run.mkdir(parents=True, exist_ok=True)
    Trainer(args.run, model, Recipe.load("distortion")).save()
    print(f"fitted in {time.monotonic() - start:.0f} s")


def start_verb(args: argparse.Namespace) -> None:
    torch.manual_seed(0)
    model = build(CONFIGS[args.config])
    if args.parent:
        copy_matching(model, load_parent(args.parent))
    elif args.vq and isinstance(model, PaperOneDPiece):
        initialise(model, FrozenVq.load(args.vq))
    else:
        raise SystemExit("start needs --from, or --vq for a configuration of the paper")
    args.run.mkdir(parents=True, exist_ok=True)
    Trainer(args.run, model, Recipe.load("distortion")).save()


def train_verb(args: argparse.Namespace) -> None:
    process, device = distributed.init_process(args.device)
    try:
        _train(args, process, device)
    finally:
        distributed.destroy_process_group()


def _train(args: argparse.Namespace, process: Process, device: str) -> None:
    recipe = Recipe.load(args.recipe) if args.recipe else None
    networks = FrozenNetworks.load(args.features, args.vq)
    trainer = Trainer.resume(args.run, device, recipe, networks)
    validation = load_folder(args.watch) if args.watch and process.is_main_process else None
    if process.world_size == 1:
        trainer.measure(_pictures(args))
    elif args.follow:
        raise SystemExit("--follow needs a single process")
    trainer.distribute(process)
    if args.compile:
        trainer.compile()
    last = trainer.step + args.stop if args.stop else math.inf
    while trainer.step < last and not trainer.finished:
        sources = shards(args.data)
        pictures = _open_together(sources, args.cache, process)
        new_shards = partial(_have_changed, args.data, sources) if args.follow else None
        trainer.run(pictures, last, validation, new_shards)


def _open_together(sources: list[Path], cache: Path, process: Process) -> Pictures:
    """The main process decodes the pictures, then all open them."""
    if process.is_main_process:
        print(f"{len(Pictures.open(sources, cache))} pictures", flush=True)
    distributed.barrier()
    return Pictures.open(sources, cache)


def _have_changed(paths: list[Path], sources: list[Path]) -> bool:
    return shards(paths) != sources


def tables_verb(args: argparse.Namespace) -> None:
    model = checkpoint.ema_model(args.run)
    if model.config.spectral is None:
        raise SystemExit("this configuration has no entropy tables")
    tokens = all_tokens(model, _pictures(args))
    tables = frequency_tables(tokens, model.config.spectral.blocks)
    checkpoint.replace_tables(args.run, tables)


def evaluate_verb(args: argparse.Namespace) -> None:
    model, pictures = checkpoint.ema_model(args.run), load_folder(args.pictures)
    metrics: dict[str, Score] = {"dB": psnr}
    if args.features:
        metrics["LPIPS"] = of_bytes(Lpips.load(args.features))
        metrics["VGG"] = of_bytes(Vgg.load(args.features))
    lengths = tuple(args.tokens)
    scores = {name: evaluate(model, pictures, lengths, metric) for name, metric in metrics.items()}
    for length in lengths:
        means = "  ".join(f"{values[length].mean():6.3f} {name}" for name, values in scores.items())
        worst = scores["dB"][length].min()
        print(f"{length:4d} tokens  {means}  worst {worst:6.2f} dB", flush=True)


def entropy_verb(args: argparse.Namespace) -> None:
    model, pictures = checkpoint.ema_model(args.run), _pictures(args)
    tokens = all_tokens(model, pictures)
    entropy = position_entropy(tokens)
    print(f"entropy of a token position: {entropy.min():.2f} to {entropy.max():.2f} bits")
    if model.config.spectral:
        bits = held_out_bits(tokens, model.config.spectral.blocks)
        print(f"static tables, held out: {bits:.2f} bits a token")


def targets_verb(args: argparse.Namespace) -> None:
    model = _spectral(args.model)
    layout = memory_format(torch.device(args.device))
    teacher = load_restoration(args.teacher).to(args.device)
    teacher.to(memory_format=layout)  # type: ignore[call-overload]
    pictures = _pictures(args)
    make_targets(model, teacher, pictures, args.targets, device=args.device)


def prune_verb(args: argparse.Namespace) -> None:
    if checkpoint.exists(args.run):
        raise SystemExit(f"{args.run} is a run already")
    start = load_restoration(args.weights, args.blocks)
    parent = _spectral(args.model)
    decoder = NaturalOneDPiece(replace(parent.config, natural=Natural(len(start.body))))
    decoder.quantize.load_state_dict(parent.quantize.state_dict())
    decoder.restore.load_state_dict(start.state_dict())
    Distillation(args.run, decoder, Plan(seconds=0)).save()


def distil_verb(args: argparse.Namespace) -> None:
    perception = Perception.load(args.features, args.device)
    run = Distillation.resume(args.run, perception, args.device)
    run.plan = replace(run.plan, seconds=args.seconds, batch=args.batch)
    run.run(Targets.open(args.targets))


def sharpen_verb(args: argparse.Namespace) -> None:
    start = checkpoint.ema_model(args.start)
    if not isinstance(start, NaturalOneDPiece):
        raise SystemExit(f"{args.start} has no natural decoder")
    plan = replace(SHARPEN, seconds=args.seconds, batch=args.batch)
    if not checkpoint.exists(args.run):
        Distillation(args.run, start, plan).save()
    run = Distillation.resume(args.run, Adversary.load(args.features, args.device), args.device)
    run.plan = plan
    run.run(Photographs(start, _pictures(args), args.device))


def _pictures(args: argparse.Namespace) -> Pictures:
    return Pictures.open(shards(args.data), args.cache)


def _spectral(model: str) -> SpectralOneDPiece:
    """An installed model whose tokens are spectral."""
    from onedpiece.models.registry import find  # needs safetensors, which training does not
    from onedpiece.tokenizer.weights import load_installed

    module = load_installed(find(model).faithful)
    if not isinstance(module, SpectralOneDPiece):
        raise SystemExit(f"{model} has no spectral tokens")
    return module


def export_verb(args: argparse.Namespace) -> None:
    # It needs onnx, which training does not.
    from onedpiece.export.model_directory import add_decoder, export, new_decoder
    from onedpiece.models.manifest import MANIFEST, read_model

    module = checkpoint.ema_model(args.run)
    decoder = new_decoder(args.decoder, args.version)
    decoder = replace(decoder, faithful=args.faithful, source=args.source)
    calibration = None
    if args.data and not args.cache:
        raise SystemExit("--data needs --cache")
    if args.data:
        calibration = calibration_tokens(module, _pictures(args))
    if (args.out / MANIFEST).exists():
        print(add_decoder(module, read_model(args.out), decoder, calibration).fingerprint)
    else:
        print(export(module, args.out, args.name, decoder, calibration=calibration).fingerprint)


if __name__ == "__main__":
    main()
