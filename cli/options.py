"""Arguments and options that verbs share."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from onedpiece.cli.files import STREAM
from onedpiece.constants import MAX_PIXELS as MAX_PIXELS


class Device(StrEnum):
    """Where networks run."""

    auto = "auto"
    cpu = "cpu"
    cuda = "cuda"


# Paths are not looked at when arguments are read: one that fails must not stop the others.
Pictures = Annotated[
    list[Path],
    typer.Argument(metavar="PICTURES...", help="Pictures or folders.", readable=False),
]
OdpFiles = Annotated[
    list[Path] | None,
    typer.Argument(metavar="FILE...", help=".odp files; - is stdin.", readable=False),
]
OutDir = Annotated[
    Path | None, typer.Option(help="Folder for the outputs of several inputs.", readable=False)
]
DeviceOption = Annotated[Device, typer.Option(help="Where the networks run.")]
Force = Annotated[bool, typer.Option("--force", "-f", help="Overwrite existing outputs.")]
Quiet = Annotated[bool, typer.Option("--quiet", "-q", help="Report failures only.")]
Json = Annotated[
    bool, typer.Option("--json", help="Print a line of JSON for every file on stdout.")
]
ModelOption = Annotated[str, typer.Option(help="Name of an installed model, or a model directory.")]

Effort = Annotated[
    int,
    typer.Option("--effort", "-e", min=1, max=3, help="Above 1: seconds for better tokens."),
]


def _number(value: float) -> float:
    if value != value:
        raise typer.BadParameter("this is no number")
    return value


Grain = Annotated[
    float,
    typer.Option(
        min=0,
        max=1,
        callback=_number,
        help="Detail that no token describes: 0 for the highest PSNR, 1 to look at.",
    ),
]
Threads = Annotated[
    int | None, typer.Option(min=1, help="CPU threads of the networks; all cores if not given.")
]
MaxPixels = Annotated[int, typer.Option(min=1, help="Refuse pictures of more pixels.")]


FilesFrom = Annotated[
    Path | None,
    typer.Option(
        metavar="FILE", help="Take inputs from a list, one a line; - is stdin.", readable=False
    ),
]
Recursive = Annotated[
    bool,
    typer.Option("--recursive", "-r", help="Take folders with everything below them."),
]
SkipExisting = Annotated[
    bool, typer.Option("--skip-existing", help="Leave out inputs whose outputs exist.")
]


Background = Annotated[
    str | None,
    typer.Option(metavar="COLOR", help="Put a colour behind transparent pixels: white, #20a0ff."),
]


def colour(name: str | None) -> tuple[int, int, int] | None:
    """A colour by name or in hexadecimal. Raises typer.BadParameter."""
    from PIL import ImageColor

    if name is None:
        return None
    try:
        red, green, blue = ImageColor.getrgb(name)[:3]
    except ValueError:
        raise typer.BadParameter(f"'{name}' is no colour: try white or #20a0ff") from None
    return red, green, blue


def check_streams(paths: list[Path], out_dir: Path | None, json: bool) -> None:
    """Refuse combinations in which two things would share standard output, or that make no file name."""
    if out_dir is not None and STREAM in paths:
        raise typer.BadParameter("standard input has no name to use in --out-dir")
    if out_dir is None and json and paths and paths[-1] == STREAM:
        raise typer.BadParameter("--json and the output cannot both go to standard output")
