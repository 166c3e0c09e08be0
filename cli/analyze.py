"""`odp analyze`: what the tokens of a model contribute."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from onedpiece.cli import options
from onedpiece.constants import MAX_TOKENS


def analyze(
    paths: options.Pictures,
    out: Annotated[Path, typer.Option(help="Folder for the results.")],
    tokens: Annotated[
        int,
        typer.Option("--tokens", "-n", min=1, max=MAX_TOKENS, help="Tokens of each picture."),
    ] = MAX_TOKENS,
    model: options.ModelOption = "default",
    device: options.DeviceOption = options.Device.auto,
) -> None:
    """Measure how much, and where, each token changes the picture.

    As in the paper, each token is replaced by a random one, and the change is averaged over the
    central squares of all pictures. Also shows which pictures begin with the same token. Writes
    analysis.json, contribution.png, heat-maps.png and first-tokens.png.
    """
    from onedpiece.bench.analyze import analyze as run
    from onedpiece.cli.bench import named, progress

    for line in run(named(paths), out, tokens, model, device, progress):
        print(f"missing: {line}")
    print(f"wrote {out / 'analysis.json'} and pictures beside it")
