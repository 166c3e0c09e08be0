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
    found = (path for path, _ in batch.expand(paths, suffixes(), recursive=False))
    rate_distortion(found, csv, device)


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


@bench.command()
def large(
    side: Annotated[int, typer.Option(min=1, help="Pixels to a side.")] = 10_000,
    threads: Annotated[
        int, typer.Option(min=1, help="CPU threads of the networks.")
    ] = os.cpu_count() or 1,
) -> None:
    """Time and peak memory of encoding and decoding one very large picture."""
    from onedpiece.bench.large import large as run

    run(side, threads)


@bench.command()
def tiling(
    paths: Annotated[
        list[Path], typer.Argument(metavar="PICTURES...", help="Pictures or folders.")
    ],
    device: options.DeviceOption = options.Device.auto,
) -> None:
    """Why tiles are cut as they are: overlap, filling and sharing out tokens, by PSNR."""
    from onedpiece.bench.tiling import tiling as run
    from onedpiece.cli import batch
    from onedpiece.image import suffixes

    run((path for path, _ in batch.expand(paths, suffixes(), recursive=False)), device)


@bench.command()
def published(
    model: options.ModelOption = "one-d-piece-s-256",
    threads: Annotated[
        int, typer.Option(min=1, help="CPU threads for everything.")
    ] = os.cpu_count() or 1,
    device: options.DeviceOption = options.Device.cpu,
) -> None:
    """A published model on ONNX Runtime beside PyTorch eager with the same weights: warm, cold, memory."""
    from onedpiece.bench.published import published as run

    run(model, threads, device)
