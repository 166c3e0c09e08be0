"""`python -m onedpiece.training VERB`: fit, train, evaluate, export."""

from __future__ import annotations

import argparse
import time
from dataclasses import fields, replace
from pathlib import Path

import torch

from onedpiece.tokenizer.config import CONFIGS
from onedpiece.tokenizer.onedpiece import SpectralOneDPiece, build
from onedpiece.training.data import Pictures
from onedpiece.training.entropy import all_tokens, held_out_bits, position_entropy
from onedpiece.training.evaluate import evaluate, load_folder
from onedpiece.training.fit import fit
from onedpiece.training.loop import Trainer, averaged_model
from onedpiece.training.recipe import Recipe


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m onedpiece.training", description=__doc__)
    verbs = parser.add_subparsers(required=True)

    verb = verbs.add_parser("fit", help="fit the spectral start and write a checkpoint at step 0")
    _add_run(verb)
    _add_data(verb)
    verb.add_argument("--config", default="default", choices=sorted(CONFIGS))
    verb.set_defaults(do=fit_verb)

    verb = verbs.add_parser(
        "train", help="train from the run's checkpoint to the end of the schedule"
    )
    _add_run(verb)
    _add_data(verb)
    verb.add_argument("--device", default="cpu")
    verb.add_argument("--steps", type=int, help="stop after this many steps")
    verb.add_argument(
        "--restart", action="store_true", help="keep the weights, start the schedule anew"
    )
    for field in fields(Recipe):
        verb.add_argument(
            f"--{field.name.replace('_', '-')}",
            type=type(field.default),
            help=f"default {field.default}",
        )
    verb.set_defaults(do=train_verb)

    verb = verbs.add_parser("evaluate", help="print PSNR over a folder of pictures")
    _add_run(verb)
    verb.add_argument("pictures", type=Path)
    verb.set_defaults(do=evaluate_verb)

    verb = verbs.add_parser(
        "entropy", help="print the entropy of the tokens of the training pictures"
    )
    _add_run(verb)
    _add_data(verb)
    verb.set_defaults(do=entropy_verb)

    verb = verbs.add_parser("export", help="write the model directory that `odp --model` reads")
    _add_run(verb)
    verb.add_argument("out", type=Path)
    verb.add_argument("--name", default="default")
    verb.set_defaults(do=export_verb)

    args = parser.parse_args()
    args.do(args)


def _add_run(verb: argparse.ArgumentParser) -> None:
    verb.add_argument("--run", type=Path, required=True, help="folder of the run")


def _add_data(verb: argparse.ArgumentParser) -> None:
    verb.add_argument(
        "--data", type=Path, nargs="+", required=True, help="tar shards or folders of pictures"
    )
    verb.add_argument("--cache", type=Path, required=True, help="folder for the decoded pictures")


def fit_verb(args: argparse.Namespace) -> None:
    config, start = CONFIGS[args.config], time.monotonic()
    torch.manual_seed(0)
    model = build(config)
    if isinstance(model, SpectralOneDPiece) and config.spectral:
        tables = fit(config.spectral, Pictures.open(args.data, args.cache))
        model.quantize.load_state_dict(tables.state_dict())
    args.run.mkdir(parents=True, exist_ok=True)
    Trainer(args.run, model, Recipe()).save()
    print(f"fitted in {time.monotonic() - start:.0f} s")


def train_verb(args: argparse.Namespace) -> None:
    asked = {
        f.name: getattr(args, f.name) for f in fields(Recipe) if getattr(args, f.name) is not None
    }
    if asked and not args.restart:
        raise SystemExit("a resumed run keeps its recipe: give --restart to change it")
    recipe = replace(Recipe(), **asked) if args.restart else None
    trainer = Trainer.resume(args.run, args.device, recipe)
    trainer.run(Pictures.open(args.data, args.cache), args.steps)


def evaluate_verb(args: argparse.Namespace) -> None:
    for length, scores in evaluate(averaged_model(args.run), load_folder(args.pictures)).items():
        print(f"{length:4d} tokens  {scores.mean():6.3f} dB  worst {scores.min():6.2f}")


def entropy_verb(args: argparse.Namespace) -> None:
    pictures = Pictures.open(args.data, args.cache)
    tokens = all_tokens(averaged_model(args.run), pictures)
    entropy = position_entropy(tokens)
    print(f"entropy of a token position: {entropy.min():.2f} to {entropy.max():.2f} bits")
    print(f"static tables, held out: {held_out_bits(tokens):.2f} bits a token")


def export_verb(args: argparse.Namespace) -> None:
    from onedpiece.tokenizer.export import (
        export,
    )  # needs onnx and safetensors, which training does without

    print(export(averaged_model(args.run), args.out, args.name))


if __name__ == "__main__":
    main()
