"""`odp analyze`: what the tokens of a model say."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from onedpiece.cli import app, options


@app.command()
def analyze(
    paths: options.Pictures,
    out: Annotated[Path, typer.Option(help="Folder for the results.")],
    tokens: Annotated[
        int, typer.Option("--tokens", "-n", min=1, max=256, help="Use so many of each picture.")
    ] = 256,
    model: options.ModelOption = "default",
    device: options.DeviceOption = options.Device.auto,
) -> None:
    """How much each token changes the picture, and where; which pictures share their first token.

    As the paper does: each token is replaced by a random one, and the change of the picture is averaged over all
    pictures (their central square). Makes analysis.json, contribution.png, heat-maps.png and first-tokens.png.
    """
    from onedpiece.bench.analysis import analyze as run
    from onedpiece.cli.bench import named, progress

    for line in run(named(paths), out, tokens, model, device, progress):
        print(f"missing: {line}")
    print(f"{out / 'analysis.json'} and the pictures beside it")
