"""`odp bench`: measurements."""

from __future__ import annotations

import contextlib
import os
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Annotated

import typer

from onedpiece.bench import Protocol
from onedpiece.cli import app, options
from onedpiece.errors import missing_extra

SECONDS = 30  # between lines that tell how far a long measurement is, where no bar can be shown

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
    paths: options.Pictures,
    out: Annotated[Path, typer.Option(help="Folder for the results; a later run goes on there.")],
    codecs: Annotated[
        str, typer.Option(help="Some of them; ThumbHash is always there.")
    ] = "odp,jpeg,webp,avif,jxl",
    tokens: Annotated[
        str | None,
        typer.Option(help="Sizes, as tokens for each tile [default: 16,32,64,128,256]."),
    ] = None,
    max_bytes: Annotated[
        str | None, typer.Option("--bytes", help="Sizes, as bytes of the whole file: 100,200.")
    ] = None,
    protocol: Annotated[
        Protocol,
        typer.Option(help="paper: the central 256x256 of short edge 256; native: whole pictures."),
    ] = Protocol.paper,
    lpips: Annotated[
        Path | None,
        typer.Option(help="Folder with SqueezeNet's weights and the heads of LPIPS for it."),
    ] = None,
    features: Annotated[
        Path | None, typer.Option(help="Network for rFID: an ONNX file, pixels 0..1 to features.")
    ] = None,
    effort: options.Effort = 1,
    grain: options.Grain = 1.0,
    model: options.ModelOption = "default",
    device: options.DeviceOption = options.Device.cpu,
) -> None:
    """Rate-distortion beside JPEG, WebP, AVIF and JPEG XL files of no more bytes, each at its best.

    Makes a table (CSV), curves (JSON, plots), a contact sheet and a page to look at.
    """
    from onedpiece.bench.frechet import Features
    from onedpiece.bench.metrics import available
    from onedpiece.bench.rate_distortion import CODECS, Run, measure
    from onedpiece.bench.report import write_report

    wanted = tuple(dict.fromkeys(codecs.split(",")))
    if unknown := [name for name in wanted if name not in CODECS]:
        raise typer.BadParameter(f"'{unknown[0]}' is none of {', '.join(CODECS)}")
    counts = _numbers(tokens, 1, 256) or (() if max_bytes else (16, 32, 64, 128, 256))
    sizes = _numbers(max_bytes, 1)
    run = Run(
        named(paths), wanted, counts, sizes, protocol, out, model, device, lpips, effort, grain
    )
    network = Features(features) if features else None
    table, missing = measure(run, os.cpu_count() or 1, progress)
    write_report(run, table.rows, available(lpips)[0], missing, network)


@bench.command()
def downstream(
    paths: options.Pictures,
    out: Annotated[Path, typer.Option(help="Folder with the results of odp bench rd.")],
    network: Annotated[
        list[str],
        typer.Option(
            help="KIND=SOURCE: classification, detection, segmentation, depth or embedding, and "
            "torchvision:NAME, timm:NAME, transformers:NAME or MODULE:FUNCTION. Several times."
        ),
    ],
    model: options.ModelOption = "default",
    device: options.DeviceOption = options.Device.auto,
) -> None:
    """What other networks on this machine make of decoded pictures; 1 is the same as of the originals.

    Decodes the files that odp bench rd left in the folder. Nothing is downloaded.
    """
    from onedpiece.bench.rate_distortion import reopened

    try:
        from onedpiece.bench import downstream as tasks
    except ImportError as error:
        raise missing_extra("running other networks", error) from error
    for text in network:
        if text.partition("=")[0] not in tasks.KINDS or ":" not in text:
            raise typer.BadParameter(f"'{text}' is not KIND=SOURCE")
    sys.path.insert(0, "")  # functions may be in a file here
    loaded = {text: tasks.load(text.partition("=")[2], text.partition("=")[0]) for text in network}
    run, rows = reopened(named(paths), out, model, device)
    print(f"{'network':40s} {'codec':12s} {'setting':12s} score (pictures)")
    for name, codec, setting, score, count in tasks.downstream(run, rows, loaded, progress):
        print(f"{name:40s} {codec:12s} {setting:12s} {score:.3f} ({count})")


@bench.command()
def speed(
    threads: Annotated[
        str | None, typer.Option(help="Numbers of CPU threads to try [default: 1 and all cores].")
    ] = None,
    device: options.DeviceOption = options.Device.auto,
) -> None:
    """Time encoding and decoding, warm and cold, beside PyTorch (if installed) and the other codecs."""
    from onedpiece.bench.speed import speed as run

    run(_numbers(threads, 1) or sorted({1, os.cpu_count() or 1}), device)


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
    paths: options.Pictures,
    device: options.DeviceOption = options.Device.auto,
) -> None:
    """Why tiles are cut as they are: overlap, filling and sharing out tokens, by PSNR."""
    from onedpiece.bench.tiling import tiling as run

    run(named(paths).values(), device)


@contextlib.contextmanager
def progress(total: int) -> Iterator[Callable[[int], None]]:
    """A bar on stderr, or a line now and then where stderr is no terminal; as a function to advance it."""
    from onedpiece.cli import batch

    if sys.stderr.isatty():
        with batch.progress(total) as advance:
            yield advance
        return
    done, begun, told = 0, time.monotonic(), time.monotonic()

    def count(more: int) -> None:
        nonlocal done, told
        done += more
        now = time.monotonic()
        if now - told >= SECONDS:
            told = now
            left = (now - begun) * (total - done) / done / 60
            print(f"{done} of {total}, about {left:.0f} minutes left", file=sys.stderr, flush=True)

    yield count


def named(paths: list[Path]) -> dict[str, Path]:
    """Pictures by name, those in folders too. Raises typer.BadParameter if two share a name or there are none."""
    from onedpiece.cli import batch
    from onedpiece.images.reader import suffixes

    found: dict[str, Path] = {}
    for path, name in batch.expand(paths, suffixes(), recursive=False):
        if name.as_posix() in found:
            raise typer.BadParameter(f"two pictures have the name {name}")
        found[name.as_posix()] = path
    if not found:
        raise typer.BadParameter("there are no pictures")
    return found


def _numbers(text: str | None, low: int, high: int | None = None) -> tuple[int, ...]:
    """Numbers between commas, sorted. Raises typer.BadParameter."""
    try:
        numbers = sorted({int(part) for part in text.split(",")}) if text else []
    except ValueError:
        raise typer.BadParameter(f"'{text}' are no numbers between commas") from None
    if any(number < low or (high and number > high) for number in numbers):
        raise typer.BadParameter(f"numbers must be from {low} to {high or 'anything'}")
    return tuple(numbers)


@bench.command()
def published(
    model: options.ModelOption = "one-d-piece-s-256",
    in_pytorch: Annotated[
        str | None, typer.Option(help="The same model for PyTorch, where the other is int8.")
    ] = None,
    threads: Annotated[
        int, typer.Option(min=1, help="CPU threads for everything.")
    ] = os.cpu_count() or 1,
    device: options.DeviceOption = options.Device.cpu,
) -> None:
    """A published model on ONNX Runtime beside PyTorch eager with the same weights: warm, cold, memory."""
    from onedpiece.bench.published import published as run

    run(model, in_pytorch, threads, device)
