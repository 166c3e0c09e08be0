"""`odp bench`: measurements."""

from __future__ import annotations

import contextlib
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Annotated

import typer

from onedpiece.bench import Protocol
from onedpiece.cli import options
from onedpiece.cli.inputs import UsageError
from onedpiece.cli.typed import command
from onedpiece.constants import MAX_TOKENS_OF_PICTURE
from onedpiece.errors import missing_extra

REPORT_SECONDS = 30  # between lines of progress, where stderr is not a terminal
DEFAULT_TOKENS = (16, 32, 64, 128, 256)
CORES = options.cores()

bench = typer.Typer(help="Measure the codec.", no_args_is_help=True, rich_markup_mode=None)


@command(bench)
def demo(
    out: Annotated[Path, typer.Option(help="Folder for the results.")] = Path("demo"),
    device: options.DeviceOption = options.Device.auto,
) -> None:
    """Encode and decode the photographs that come with odp.

    Prints sizes and PSNR, and writes the files and one picture that shows all of them.
    """
    from onedpiece.bench.demo import demo as run

    run(out, device)


@command(bench)
def rd(
    paths: options.Pictures,
    out: Annotated[Path, typer.Option(help="Folder for the results; a later run resumes there.")],
    codecs: Annotated[
        str, typer.Option(help="Codecs to measure, besides ThumbHash.")
    ] = "odp,jpeg,webp,avif,jxl",
    tokens: Annotated[
        str | None,
        typer.Option(help="Sizes in tokens per tile [default: 16,32,64,128,256]."),
    ] = None,
    max_bytes: Annotated[
        str | None, typer.Option("--bytes", help="Sizes of whole files in bytes: 100,200.")
    ] = None,
    protocol: Annotated[
        Protocol,
        typer.Option(
            help="paper: scale the short edge to 256, take the central 256x256; "
            "native: whole pictures."
        ),
    ] = Protocol.paper,
    lpips: Annotated[
        Path | None,
        typer.Option(help="Folder with the weights of SqueezeNet and of the LPIPS heads for it."),
    ] = None,
    features: Annotated[
        Path | None,
        typer.Option(help="Network for rFID: an ONNX file from pixels in 0..1 to features."),
    ] = None,
    effort: options.Effort = 1,
    realism: options.Realism = 1.0,
    model: options.ModelOption = "default",
    device: options.DeviceOption = options.Device.cpu,
) -> None:
    """Compare rate-distortion with JPEG, WebP, AVIF and JPEG XL files of at most the same size.

    Writes a table (CSV), curves (JSON and plots), a contact sheet and an HTML report.
    """
    from onedpiece.bench.frechet import OnnxFeatures
    from onedpiece.bench.metrics import available
    from onedpiece.bench.rd import CODECS, Run, measure
    from onedpiece.bench.report import write_report

    names = tuple(dict.fromkeys(codecs.split(",")))
    if unknown := [name for name in names if name not in CODECS]:
        raise UsageError(f"'{unknown[0]}' is none of {', '.join(CODECS)}")
    counts = _numbers(tokens, 1, MAX_TOKENS_OF_PICTURE) or (() if max_bytes else DEFAULT_TOKENS)
    sizes = _numbers(max_bytes, 1)
    run = Run(
        named(paths), names, counts, sizes, protocol, out, model, device, lpips, effort, realism
    )
    network = OnnxFeatures(features) if features else None
    table, missing = measure(run, options.cores(), progress)
    write_report(run, table.rows, available(lpips)[0], missing, network)


@command(bench)
def downstream(
    paths: options.Pictures,
    out: Annotated[Path, typer.Option(help="Folder with the results of odp bench rd.")],
    network: Annotated[
        list[str],
        typer.Option(
            help="TASK=SOURCE; may be repeated. TASK is classification, detection, segmentation, "
            "depth or embedding; SOURCE is torchvision:NAME, timm:NAME, transformers:NAME or "
            "MODULE:FUNCTION."
        ),
    ],
    model: options.ModelOption = "default",
    device: options.DeviceOption = options.Device.auto,
) -> None:
    """Compare what other networks say about decoded pictures and about the originals.

    Decodes the files that odp bench rd left in the folder; a score of 1 means no difference.
    Networks must be on this machine: nothing is downloaded.
    """
    from onedpiece.bench.rd import reopen

    try:
        from onedpiece.bench import downstream as tasks
    except ImportError as error:
        raise missing_extra("running other networks", error) from error
    for text in network:
        if text.partition("=")[0] not in tasks.TASKS or ":" not in text:
            raise UsageError(f"'{text}' is not TASK=SOURCE")
    sys.path.insert(0, "")  # a function may be in a file of the working directory
    loaded = {text: tasks.load(text.partition("=")[2], text.partition("=")[0]) for text in network}
    run, rows = reopen(named(paths), out, model, device)
    print(f"{'network':40s} {'codec':12s} {'setting':12s} score (pictures)")
    for name, codec, setting, score, count in tasks.downstream(run, rows, loaded, progress):
        print(f"{name:40s} {codec:12s} {setting:12s} {score:.3f} ({count})")


@command(bench)
def speed(
    threads: Annotated[
        str | None, typer.Option(help="Numbers of CPU threads to try [default: 1 and all cores].")
    ] = None,
    device: options.DeviceOption = options.Device.auto,
) -> None:
    """Time encoding and decoding, warm and cold, beside other codecs and PyTorch, if installed."""
    from onedpiece.bench.speed import speed as run

    run(_numbers(threads, 1) or sorted({1, CORES}), device)


@command(bench)
def large(
    side: Annotated[int, typer.Option(min=1, help="Width and height in pixels.")] = 10_000,
    threads: Annotated[int, typer.Option(min=1, help="CPU threads of the networks.")] = CORES,
) -> None:
    """Measure time and peak memory of encoding and decoding one very large picture."""
    from onedpiece.bench.large import large as run

    run(side, threads)


@command(bench)
def tiling(
    paths: options.Pictures,
    device: options.DeviceOption = options.Device.auto,
) -> None:
    """Compare ways to split pictures into tiles, pad them and share out tokens, by PSNR."""
    from onedpiece.bench.tiling import tiling as run

    run(named(paths).values(), device)


@command(bench)
def published(
    model: options.ModelOption = "one-d-piece-s-256",
    in_pytorch: Annotated[
        str | None,
        typer.Option(help="The same model in a precision that PyTorch runs, if it is int8."),
    ] = None,
    threads: Annotated[int, typer.Option(min=1, help="CPU threads of both runtimes.")] = CORES,
    device: options.DeviceOption = options.Device.cpu,
) -> None:
    """Compare a published model on ONNX Runtime with the same weights on PyTorch.

    Measures warm runs, cold processes and peak memory.
    """
    from onedpiece.bench.published import published as run

    run(model, in_pytorch, threads, device)


@contextlib.contextmanager
def progress(total: int) -> Iterator[Callable[[int], None]]:
    """Progress on stderr: a bar on a terminal, else a line every REPORT_SECONDS.

    The value of the context is called with the number of steps just finished.
    """
    from onedpiece.cli import report

    if sys.stderr.isatty():
        with report.progress(total) as advance:
            yield advance
        return
    done, start, last_report = 0, time.monotonic(), time.monotonic()

    def count(steps: int) -> None:
        nonlocal done, last_report
        done += steps
        time_stamp = time.monotonic()
        if time_stamp - last_report >= REPORT_SECONDS:
            last_report = time_stamp
            left = (time_stamp - start) * (total - done) / done / 60
            print(f"{done} of {total}, about {left:.0f} minutes left", file=sys.stderr, flush=True)

    yield count


def named(paths: list[Path]) -> dict[str, Path]:
    """Name -> picture, for pictures and for the pictures in folders.

    Raises UsageError if there are none, or if two have the same name.
    """
    from onedpiece.cli import inputs
    from onedpiece.images.reader import suffixes

    pictures: dict[str, Path] = {}
    for path, name in inputs.discover_inputs(paths, suffixes(), recursive=False):
        if name.as_posix() in pictures:
            raise UsageError(f"two pictures have the name {name}")
        pictures[name.as_posix()] = path
    if not pictures:
        raise UsageError("there are no pictures")
    return pictures


def _numbers(text: str | None, low: int, high: int | None = None) -> tuple[int, ...]:
    """The numbers in a list separated by commas, sorted. Raises UsageError."""
    try:
        numbers = sorted({int(item) for item in text.split(",")}) if text else []
    except ValueError:
        raise UsageError(f"'{text}' is no list of numbers separated by commas") from None
    if any(number < low or (high and number > high) for number in numbers):
        limits = f"from {low} to {high}" if high else f"at least {low}"
        raise UsageError(f"numbers must be {limits}")
    return tuple(numbers)
