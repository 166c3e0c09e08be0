"""`python -m onedpiece.training VERB`: fit, start, train, tables, evaluate, entropy, pack, export."""

from __future__ import annotations

import argparse
import json
import math
import time
from functools import partial
from pathlib import Path

import torch

from onedpiece.tokenizer.config import CONFIGS, Config
from onedpiece.tokenizer.onedpiece import OneDPiece, PaperOneDPiece, SpectralOneDPiece, build
from onedpiece.training.data import Pictures, shards
from onedpiece.training.distributed import Share, join, leave, wait
from onedpiece.training.entropy import (
    all_tokens,
    frequency_tables,
    held_out_bits,
    position_entropy,
)
from onedpiece.training.evaluate import LENGTHS, Score, evaluate, load_folder, of_pixels, psnr
from onedpiece.training.features import Lpips, Vgg
from onedpiece.training.fit import fit
from onedpiece.training.loop import Trainer, averaged_model, replace_tables
from onedpiece.training.paper import ConvNext, FrozenVq, initialise
from onedpiece.training.recipe import Recipe
from onedpiece.training.weights_files import inherit, pack, unpack


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m onedpiece.training", description=__doc__)
    verbs = parser.add_subparsers(required=True)

    verb = verbs.add_parser("fit", help="fit the spectral start and write a checkpoint at step 0")
    _add_run(verb)
    _add_data(verb)
    verb.add_argument("--config", default="default", choices=sorted(CONFIGS))
    verb.set_defaults(do=fit_verb)

    verb = verbs.add_parser(
        "start", help="write a checkpoint at step 0, with all that fits from another model"
    )
    _add_run(verb)
    verb.add_argument("--config", default="default", choices=sorted(CONFIGS))
    verb.add_argument(
        "--from",
        dest="parent",
        type=Path,
        help="run, folder written by pack, or installed model directory",
    )
    verb.add_argument(
        "--vq", type=Path, help="instead: MaskGIT's VQGAN, for the paper's configurations"
    )
    verb.set_defaults(do=start_verb)

    verb = verbs.add_parser(
        "train", help="train from the run's checkpoint to the end of the schedule"
    )
    _add_run(verb)
    _add_data(verb)
    verb.add_argument(
        "--recipe",
        help="keep the weights and start this schedule: name of a recipe of the package, or a TOML file",
    )
    verb.add_argument("--device", default="cpu")
    verb.add_argument("--compile", action="store_true", help="through torch.compile")
    verb.add_argument(
        "--follow", action="store_true", help="take in tar files that appear beside the first ones"
    )
    verb.add_argument("--stop", type=int, metavar="STEPS", help="stop after this many steps")
    verb.add_argument("--features", type=Path, help="folder with the feature network's weights")
    verb.add_argument("--vq", type=Path, help="MaskGIT's VQGAN, for recipes that learn its codes")
    verb.add_argument("--watch", type=Path, help="folder of pictures to evaluate on now and then")
    verb.set_defaults(do=train_verb)

    verb = verbs.add_parser(
        "tables", help="measure anew how frequent tokens are, after the codebooks have learned"
    )
    _add_run(verb)
    _add_data(verb)
    verb.set_defaults(do=tables_verb)

    verb = verbs.add_parser("evaluate", help="print scores over a folder of pictures")
    _add_run(verb)
    verb.add_argument("pictures", type=Path)
    verb.add_argument("--tokens", type=int, nargs="+", default=LENGTHS)
    verb.add_argument("--features", type=Path, help="folder with the feature networks' weights")
    verb.set_defaults(do=evaluate_verb)

    verb = verbs.add_parser(
        "entropy", help="print the entropy of the tokens of the training pictures"
    )
    _add_run(verb)
    _add_data(verb)
    verb.set_defaults(do=entropy_verb)

    verb = verbs.add_parser("pack", help="write the weights in parts of at most 15 MiB")
    _add_run(verb)
    verb.add_argument("out", type=Path)
    verb.set_defaults(do=pack_verb)

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
    Trainer(args.run, model, Recipe.load("distortion")).save()
    print(f"fitted in {time.monotonic() - start:.0f} s")


def start_verb(args: argparse.Namespace) -> None:
    torch.manual_seed(0)
    model = build(CONFIGS[args.config])
    if args.parent:
        inherit(model, _model_at(args.parent))
    elif args.vq and isinstance(model, PaperOneDPiece):
        initialise(model, FrozenVq.load(args.vq))
    else:
        raise SystemExit("start needs --from, or --vq for a configuration of the paper")
    args.run.mkdir(parents=True, exist_ok=True)
    Trainer(args.run, model, Recipe.load("distortion")).save()


def _model_at(place: Path) -> OneDPiece:
    if (place / "checkpoint.pt").exists():
        return averaged_model(place)
    if (place / "model.json").exists():
        from onedpiece.tokenizer.weights import load  # needs safetensors

        config = json.loads((place / "model.json").read_text())["config"]
        return load(Config.from_dict(config), place / "weights.safetensors")
    return unpack(place)


def train_verb(args: argparse.Namespace) -> None:
    share, device = join(args.device)
    try:
        _train(args, share, device)
    finally:
        leave()


def _train(args: argparse.Namespace, share: Share, device: str) -> None:
    recipe = Recipe.load(args.recipe) if args.recipe else None
    has_convnext = args.features and (args.features / ConvNext.FILE).exists()
    has_vgg = args.features and (args.features / Vgg.FILE).exists()
    has_lpips = args.features and all((args.features / name).exists() for name in Lpips.FILES)
    trainer = Trainer.resume(
        args.run,
        device,
        recipe,
        Vgg.load(args.features) if has_vgg else None,
        ConvNext.load(args.features) if has_convnext else None,
        FrozenVq.load(args.vq) if args.vq else None,
        Lpips.load(args.features) if has_lpips else None,
    )
    watched = load_folder(args.watch) if args.watch and share.leads else None
    if share.count == 1:
        trainer.measure(Pictures.open(shards(args.data), args.cache))
    elif args.follow:
        raise SystemExit("--follow is for one process")
    trainer.distribute(share)
    if args.compile:
        trainer.compile()
    last = trainer.step + args.stop if args.stop else math.inf
    while trainer.step < last and not trainer.finished:
        sources = shards(args.data)
        pictures = _open_together(sources, args.cache, share)
        arrived = partial(_arrived, args.data, sources) if args.follow else None
        trainer.run(pictures, last, watched, arrived)


def _open_together(sources: list[Path], cache: Path, share: Share) -> Pictures:
    """Decoded by one process, opened by all."""
    if share.leads:
        print(f"{len(Pictures.open(sources, cache))} pictures", flush=True)
    wait()
    return Pictures.open(sources, cache)


def _arrived(places: list[Path], known: list[Path]) -> bool:
    return shards(places) != known


def tables_verb(args: argparse.Namespace) -> None:
    model = averaged_model(args.run)
    if model.config.spectral is None:
        raise SystemExit("this configuration has no entropy tables")
    tokens = all_tokens(model, Pictures.open(args.data, args.cache))
    replace_tables(args.run, frequency_tables(tokens, model.config.spectral.blocks))


def evaluate_verb(args: argparse.Namespace) -> None:
    model, pictures = averaged_model(args.run), load_folder(args.pictures)
    scores: dict[str, Score] = {"dB": psnr}
    if args.features:
        scores["LPIPS"] = of_pixels(Lpips.load(args.features))
        scores["VGG"] = of_pixels(Vgg.load(args.features))
    lengths = tuple(args.tokens)
    found = {name: evaluate(model, pictures, lengths, score) for name, score in scores.items()}
    for length in lengths:
        means = "  ".join(f"{values[length].mean():6.3f} {name}" for name, values in found.items())
        print(f"{length:4d} tokens  {means}  worst {found['dB'][length].min():6.2f} dB", flush=True)


def entropy_verb(args: argparse.Namespace) -> None:
    model, pictures = averaged_model(args.run), Pictures.open(args.data, args.cache)
    tokens = all_tokens(model, pictures)
    entropy = position_entropy(tokens)
    print(f"entropy of a token position: {entropy.min():.2f} to {entropy.max():.2f} bits")
    if model.config.spectral:
        cost = held_out_bits(tokens, model.config.spectral.blocks)
        print(f"static tables, held out: {cost:.2f} bits a token")


def pack_verb(args: argparse.Namespace) -> None:
    pack(averaged_model(args.run), args.out)


def export_verb(args: argparse.Namespace) -> None:
    from onedpiece.export.model_directory import (
        export,
    )  # needs onnx and safetensors, which training does without

    print(export(averaged_model(args.run), args.out, args.name))


if __name__ == "__main__":
    main()
