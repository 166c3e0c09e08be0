"""`odp train`: fine-tune a model on your own pictures."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from onedpiece.cli import options
from onedpiece.errors import OdpError, OutputError, missing_extra


def train(
    out: Annotated[Path, typer.Argument(metavar="OUT", help="Model directory to write.")],
    data: Annotated[
        list[Path], typer.Option(help="Folder of pictures, or tar file of them; may be repeated.")
    ],
    start: Annotated[str, typer.Option("--from", help="Model to start from.")] = "default",
    hours: Annotated[float, typer.Option(min=0.001, help="How long to train.")] = 1.0,
    new_token_set: Annotated[
        bool,
        typer.Option(
            "--new-token-set",
            help="Train the tokens too: files then need the new model to be decoded.",
        ),
    ] = False,
) -> None:
    """Train decoders for your own pictures (needs the torch extra). A second call resumes.

    The tokens stay those of the model that it starts from: files decode with either.
    """
    from onedpiece.models.registry import find

    try:
        from onedpiece.training.finetune import finetune
    except ImportError as error:
        raise missing_extra("training", error) from error
    if (out / "model.json").exists():
        raise OutputError(f"{out} already holds a model")
    for source in data:
        if not source.exists():
            raise OdpError(f"{source} does not exist")
    name = options.checked_name(out.resolve().name)
    model = finetune(find(start), data, hours, out, name, new_token_set)
    names = ", ".join(decoder.name for decoder in model.decoders)
    print(
        f"{out}: {names} of token set {model.token_set.name} ({model.key.hex()}); "
        f"use it with --model {out}"
    )
