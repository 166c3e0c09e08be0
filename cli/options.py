"""Arguments and options of the verbs, declared without Typer, and exit codes."""

from __future__ import annotations

import os
import sys
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

from onedpiece.cli.inputs import UsageError
from onedpiece.constants import MAX_PIXELS as MAX_PIXELS
from onedpiece.constants import MAX_TOKENS, MAX_TOKENS_OF_PICTURE


class Argument:
    """An argument without a name. The settings are those of `typer.Argument`."""

    def __init__(self, **settings: Any) -> None:
        self.settings = settings


class Option:
    """An option. Flags and settings are those of `typer.Option`."""

    def __init__(self, *flags: str, **settings: Any) -> None:
        self.flags, self.settings = flags, settings


class Engine(StrEnum):
    """What runs the work on a dataset."""

    local = "local"
    ray = "ray"


class Device(StrEnum):
    """Where networks run."""

    auto = "auto"
    cpu = "cpu"
    cuda = "cuda"


def _number(value: float) -> float:
    if value != value:
        import typer

        raise typer.BadParameter("this is not a number")
    return value


# Paths are not checked when arguments are parsed: one that fails must not stop the others.
Pictures = Annotated[
    list[Path],
    Argument(metavar="PICTURES...", help="Pictures or folders.", readable=False),
]
PicturesAndOut = Annotated[
    list[Path] | None,
    Argument(metavar="IN OUT | IN...", help="Pictures; - is stdin or stdout.", readable=False),
]
PicturesOrOdpFiles = Annotated[
    list[Path],
    Argument(metavar="IN...", help="Pictures or .odp files; - is stdin.", readable=False),
]
OdpFiles = Annotated[
    list[Path] | None,
    Argument(metavar="FILE...", help=".odp files; - is stdin.", readable=False),
]
OdpFilesAndOut = Annotated[
    list[Path] | None,
    Argument(metavar="IN OUT | IN...", help=".odp files; - is stdin or stdout.", readable=False),
]
OdpIn = Annotated[Path, Argument(metavar="IN", help=".odp file; - is stdin.", readable=False)]
OdpOut = Annotated[Path, Argument(metavar="OUT", help=".odp file; - is stdout.", readable=False)]
OutDir = Annotated[
    Path | None, Option(help="Folder for the outputs of several inputs.", readable=False)
]
FilesFrom = Annotated[
    Path | None,
    Option(
        metavar="FILE",
        help="Read more inputs from a file, one per line; - is stdin.",
        readable=False,
    ),
]
Recursive = Annotated[bool, Option("--recursive", "-r", help="Search folders recursively.")]
SkipExisting = Annotated[bool, Option("--skip-existing", help="Skip inputs whose output exists.")]

EncodeTokens = Annotated[
    int | None,
    Option(
        "--tokens",
        "-n",
        min=1,
        max=MAX_TOKENS_OF_PICTURE,
        help=f"Number of tokens for each 256x256 tile. [default: {MAX_TOKENS}]",
    ),
]
DecodeTokens = Annotated[
    int | None,
    Option("--tokens", "-n", min=1, help="Use at most this many tokens for each 256x256 tile."),
]
TruncateTokens = Annotated[
    int | None,
    Option("--tokens", "-n", min=1, help="Number of tokens to keep for each 256x256 tile."),
]
MaxBytes = Annotated[
    int | None, Option("--bytes", min=1, help="Maximum size of the file in bytes.")
]
Bpp = Annotated[
    float | None, Option(help="Maximum size of the file in bits per pixel of the picture.")
]
Psnr = Annotated[
    float | None,
    Option(help="Use the fewest tokens that reach this PSNR in dB at realism 0 (slow)."),
]
Adaptive = Annotated[
    bool,
    Option(
        "--adaptive",
        help="Give more tokens to tiles with more detail (always on without --tokens).",
    ),
]
Effort = Annotated[
    int,
    Option(
        "--effort",
        "-e",
        min=1,
        max=3,
        help="Above 1, search for better tokens, which takes seconds per tile.",
    ),
]
Lpips = Annotated[
    Path | None,
    Option(
        "--lpips",
        metavar="DIR",
        help="With --effort, search for what looks like the original at realism 1, by LPIPS with "
        "the weights in this folder.",
    ),
]
DryRun = Annotated[
    bool,
    Option("--dry-run", help="Print counts, bytes and time of the run, and write nothing."),
]
Realism = Annotated[
    float,
    Option(
        min=0,
        max=1,
        callback=_number,
        help="1 for a picture that looks real, 0 for the least error (the highest PSNR).",
    ),
]
AllowTruncated = Annotated[
    bool, Option(help="Decode truncated files with a warning, or refuse them.")
]
Background = Annotated[
    str | None,
    Option(metavar="COLOR", help="Put transparent pixels on this colour: white, #20a0ff."),
]
Metadata = Annotated[str, Option(help="Metadata to keep: none, all, or a list such as exif,xmp.")]

ModelOption = Annotated[str, Option(help="Name of an installed model, or a model directory.")]
DecodeModel = Annotated[
    str, Option(help="Name or directory of a model to try before the installed ones.")
]
DecoderOption = Annotated[
    str | None,
    Option("--decoder", metavar="NAME", help="Decoder of the tokens. [default: the newest one]"),
]
ExtraModel = Annotated[
    str | None,
    Option("--model", help="Name or directory of a model to try before the installed ones."),
]
DeviceOption = Annotated[Device, Option(help="Where the networks run.")]
Threads = Annotated[int | None, Option(min=1, help="Number of CPU threads; all cores by default.")]
MaxPixels = Annotated[int, Option(min=1, help="Refuse pictures with more pixels.")]

Force = Annotated[bool, Option("--force", "-f", help="Overwrite existing outputs.")]
Quiet = Annotated[bool, Option("--quiet", "-q", help="Report failures only.")]
Json = Annotated[bool, Option("--json", help="Print lines of JSON to stdout.")]


DatasetInputs = Annotated[
    list[str],
    Argument(
        metavar="INPUT... OUT",
        help="Folders, files, patterns or URLs of pictures, WebDataset tars or Parquet files, or "
        "hf:OWNER/NAME; and the folder to write.",
    ),
]
DatasetIn = Annotated[
    str, Argument(metavar="DATASET", help="Folder, file or pattern of a token dataset.")
]
DatasetOut = Annotated[Path, Argument(metavar="OUT", help="Folder to write.", readable=False)]
Workers = Annotated[
    int | None,
    Option(min=1, help="Number of processes, with a thread each; one a core by default."),
]
Shard = Annotated[
    str, Option(metavar="I/N", help="Take every N-th input file, from the I-th; I from 0.")
]
EngineOption = Annotated[
    Engine, Option(help="Processes of this machine, or a Ray cluster (needs extra scale).")
]
Address = Annotated[
    str | None,
    Option(help="Address of the Ray cluster, or auto. [default: a new one on this machine]"),
]
Gpus = Annotated[float, Option(min=0, help="GPUs of each task of the Ray cluster.")]
SamplesPerFile = Annotated[
    int, Option("--rows-per-file", min=1, help="Samples of each file of the output.")
]
Square = Annotated[
    bool, Option("--square", help="Reduce pictures to their central square of 256x256.")
]
PictureColumn = Annotated[
    str | None, Option(metavar="NAME", help="Column of pictures in Parquet files.")
]
KeyColumn = Annotated[str | None, Option(metavar="NAME", help="Column of keys in Parquet files.")]
KeepFiles = Annotated[
    bool, Option("--keep-files", help="Store whole .odp files as well, in a column odp.")
]
PassedColumns = Annotated[
    str | None,
    Option("--columns", metavar="A,B", help="Columns to pass through. [default: all]"),
]
Resume = Annotated[bool, Option("--resume", help="Continue a run that was stopped.")]


def checked_name(name: str) -> str:
    """The name of a model or decoder, if it is valid. Raises UsageError."""
    from onedpiece.models.names import check_name

    try:
        return check_name(name)
    except ValueError as error:
        raise UsageError(str(error)) from None


def colour(name: str | None) -> tuple[int, int, int] | None:
    """Parse a colour by name or in hexadecimal. Raises UsageError."""
    if name is None:
        return None
    from onedpiece.images.color import parse_color

    try:
        return parse_color(name)
    except ValueError:
        raise UsageError(f"'{name}' is not a colour: try white or #20a0ff") from None


def exit_after(failures: int) -> None:
    """Exit, with code 1 if any input failed."""
    sys.exit(1 if failures else 0)


def cores() -> int:
    """Number of cores that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1
