"""`odp bench`: measurements."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated

import typer

from onedpiece.cli import app, options
from onedpiece.errors import OutputError

bench = typer.Typer(help="Measure the codec.", no_args_is_help=True, rich_markup_mode=None)
app.add_typer(bench, name="bench")


@bench.command()
def demo(
    out: Annotated[Path, typer.Option(help="Folder for the results.")] = Path("demo"),
    device: options.DeviceOption = options.Device.auto,
) -> None:
    """Encode and decode the photographs that come with odp; print sizes and PSNR, make a picture of all."""
    from onedpiece.bench.demo import demo as run

    run(out, device)


@bench.command()
def rd(
    paths: Annotated[
        list[Path], typer.Argument(metavar="PICTURES...", help="Pictures or folders.")
    ],
    csv: Annotated[Path | None, typer.Option(help="Write every result to this table.")] = None,
    device: options.DeviceOption = options.Device.auto,
) -> None:
    """Rate-distortion: PSNR beside JPEG, WebP and AVIF files of no more bytes, each at its best."""
    from onedpiece.bench.rate_distortion import rate_distortion
    from onedpiece.cli import batch
    from onedpiece.image import suffixes

    if csv and not csv.parent.is_dir():
        raise OutputError(f"{csv.parent} is not a folder")
    rate_distortion(batch.expand(paths, suffixes()), csv, device)


@bench.command()
def speed(
    threads: Annotated[
        int, typer.Option(min=1, help="CPU threads for everything.")
    ] = os.cpu_count() or 1,
    device: options.DeviceOption = options.Device.cpu,
) -> None:
    """Time encoding and decoding beside PyTorch (if installed) and WebP, and whole processes."""
    from onedpiece.bench.speed import speed as run

    run(threads, device)
