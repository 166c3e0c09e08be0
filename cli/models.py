"""`odp models`: list, download, import, tune, export and remove models."""

from __future__ import annotations

import json as json_module
import sys
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from onedpiece import models as library
from onedpiece.cli import options
from onedpiece.cli.typed import command, typed
from onedpiece.errors import missing_extra

if TYPE_CHECKING:
    from onedpiece.models.registry import Model

models = typer.Typer(
    help="List (the default), download, import, tune, export and remove models.",
    invoke_without_command=True,
    rich_markup_mode=None,
)


class Precision(StrEnum):
    """How the weights of an exported model are stored."""

    float32 = "float32"
    float16 = "float16"
    int8 = "int8"


def default(context: typer.Context, json: options.Json = False) -> None:  # noqa: D103
    if context.invoked_subcommand is None:
        list_models(json)


models.callback()(typed(default))


@command(models, "list")
def list_models(json: options.Json = False) -> None:
    """List installed models with token set, decoders, size, path and state of the files."""
    for model in library.list():
        files = model.check_files()
        print(json_module.dumps(_facts(model, files)) if json else _lines(model, files))


@command(models)
def pull(
    name: Annotated[str, typer.Argument(help="Name of a published model.")],
    revision: Annotated[
        str | None, typer.Option(help="Commit or branch to use instead of the pinned one.")
    ] = None,
    force: options.Force = False,
) -> None:
    """Download, check and install a published model (needs the torch extra)."""
    _report(library.pull(options.checked_name(name), revision, force=force))


@command(models, "import")
def import_file(
    file: Annotated[Path, typer.Argument(help="pytorch_model.bin or model.safetensors.")],
    name: Annotated[
        str | None, typer.Option(help="Name to install it under; by default, that of its size.")
    ] = None,
    force: options.Force = False,
) -> None:
    """Install a published model from a local file (needs the torch extra)."""
    _report(library.import_(file, name and options.checked_name(name), force=force))


@command(models)
def tune(
    name: Annotated[str, typer.Argument(help="Name of an installed model, or its directory.")],
    pictures: options.Pictures,
) -> None:
    """Measure entropy tables of a published model, for smaller files (needs the torch extra)."""
    tuning = library.tune(name, pictures)
    for file in tuning.skipped:
        print(f"{file}: cannot be read, skipped", file=sys.stderr)
    print(
        f"{tuning.pictures} pictures used; {tuning.bits:.2f} bits a token instead of 12 on every "
        "fourth of them, with tables of the others"
    )
    _report(tuning.model)


@command(models)
def remove(name: Annotated[str, typer.Argument(help="Name of an installed model.")]) -> None:
    """Remove an installed model."""
    print(f"{library.remove(options.checked_name(name))}: removed")


@command(models)
def export(
    name: Annotated[str, typer.Argument(help="Name of an installed model, or its directory.")],
    out: Annotated[Path, typer.Argument(metavar="OUT", help="Model directory to write.")],
    precision: Annotated[Precision, typer.Option(help="How to store the weights.")],
    force: options.Force = False,
) -> None:
    """Write a model in another precision and measure the difference (needs the torch extra).

    Files encoded in one precision can be decoded in any other.
    """
    from onedpiece.bench.demo import PICTURES
    from onedpiece.models.folder import check_free
    from onedpiece.models.registry import find

    check_free(out, force)
    try:
        from onedpiece.export.precisions import compare, export_variant
    except ImportError as error:
        raise missing_extra("converting", error) from error
    original = find(name)
    exported = export_variant(original, out, precision)
    print(compare(original, exported, sorted(PICTURES.glob("*.png"))))
    _report(exported)


def _facts(model: Model, files: dict[str, bool]) -> dict[str, Any]:
    return {
        "name": model.name,
        "token_set": model.token_set.to_dict(),
        "fingerprint": model.fingerprint,
        "id": model.key.hex(),
        "decoders": [decoder.to_dict() for decoder in model.decoders],
        "bytes": model.size,
        "precision": model.precision,
        "path": str(model.path),
        "files": {name: "intact" if intact else "damaged" for name, intact in files.items()},
        "intact": all(files.values()),
        "source": model.source,
    }


def _lines(model: Model, files: dict[str, bool]) -> str:
    decoders = [
        f"  decoder {decoder.name}, version {decoder.version}"
        + (f" of {decoder.released}" if decoder.released else "")
        for decoder in model.decoders
    ]
    damaged = [name for name, intact in files.items() if not intact]
    state = f"DAMAGED: {', '.join(damaged)}" if damaged else f"{len(files)} files, all intact"
    lines = [
        f"{model.name:24s} {model.key.hex()}  {model.size / 1e6:.1f} MB  {model.path}",
        f"  token set {model.token_set.name}",
        *decoders,
        f"  {state}",
    ]
    return "\n".join(lines)


def _report(model: Model) -> None:
    print(f"{model.path}: {model.name}, fingerprint {model.fingerprint}, {model.size / 1e6:.1f} MB")
