"""`odp dataset`: encode, decode, describe, verify and convert token datasets."""

from __future__ import annotations

import json as json_module
import sys
import time
from collections.abc import Callable
from enum import StrEnum
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from onedpiece.cli import options
from onedpiece.cli.inputs import UsageError
from onedpiece.cli.report import pluralise
from onedpiece.cli.typed import command

if TYPE_CHECKING:
    from onedpiece.datasets.encoding import Progress, Shard

Launch = Callable[..., "Progress"]

SECONDS = 5.0  # between two lines about the progress

dataset = typer.Typer(
    help="Encode many pictures into Parquet files of tokens (needs the datasets extra).",
    no_args_is_help=True,
    rich_markup_mode=None,
)


class Form(StrEnum):
    """What a dataset is converted to."""

    parquet = "parquet"
    tar = "tar"
    folder = "folder"


@command(dataset)
def encode(
    paths: options.DatasetInputs,
    tokens: options.EncodeTokens = None,
    max_bytes: options.MaxBytes = None,
    bpp: options.Bpp = None,
    psnr: options.Psnr = None,
    adaptive: options.Adaptive = False,
    effort: options.Effort = 1,
    square: options.Square = False,
    background: options.Background = None,
    keep_files: options.KeepFiles = False,
    picture_column: options.PictureColumn = None,
    key_column: options.KeyColumn = None,
    columns: options.PassedColumns = None,
    workers: options.Workers = None,
    shard: options.Shard = "0/1",
    engine: options.EngineOption = options.Engine.local,
    address: options.Address = None,
    num_gpus: options.Gpus = 0,
    rows_per_file: options.SamplesPerFile = 16384,
    resume: options.Resume = False,
    model: options.ModelOption = "default",
    device: options.DeviceOption = options.Device.cpu,
    max_pixels: options.MaxPixels = options.MAX_PIXELS,
    quiet: options.Quiet = False,
    json: options.Json = False,
) -> None:
    """Encode pictures into a token dataset."""
    from onedpiece.cli.encode import choose_target

    if len(paths) < 2:
        raise UsageError("give INPUT and OUT")
    target = choose_target(tokens, max_bytes, bpp, psnr, adaptive)
    share = _shard(shard)
    if engine == "ray" and share.count > 1:
        raise UsageError("--engine ray encodes all shards: leave out --shard")

    from onedpiece import datasets

    run = partial(
        datasets.encode,
        target=target,
        effort=effort,
        square=square,
        background=options.colour(background),
        keep_files=keep_files,
        columns=datasets.Columns(picture_column, key_column, _names(columns)),
        samples_per_part=rows_per_file,
        model=model,
        device=device.value,
        max_pixels=max_pixels,
    )
    launch = (
        _on_ray(run, workers, address, num_gpus) if engine == "ray" else _here(run, workers, share)
    )
    progress = launch(paths[:-1], paths[-1], resume=resume, report=_reporter(quiet or json))
    _finish(progress, Path(paths[-1]), quiet, json)


@command(dataset)
def decode(
    path: options.DatasetIn,
    out: options.DatasetOut,
    tokens: options.DecodeTokens = None,
    realism: options.Realism = 1.0,
    suffix: Annotated[
        str, typer.Option("--format", metavar="EXTENSION", help="Extension of the pictures.")
    ] = "png",
    workers: options.Workers = None,
    skip_existing: options.SkipExisting = False,
    force: options.Force = False,
    model: options.DecodeModel = "default",
    decoder: options.DecoderOption = None,
    device: options.DeviceOption = options.Device.cpu,
    max_pixels: options.MaxPixels = options.MAX_PIXELS,
    quiet: options.Quiet = False,
    json: options.Json = False,
) -> None:
    """Decode a token dataset to a folder of pictures, which are called like their keys."""
    from onedpiece import datasets

    progress = datasets.decode(
        path,
        out,
        tokens,
        realism=realism,
        suffix=f".{suffix.removeprefix('.')}",
        force=force,
        skip_existing=skip_existing,
        workers=workers or options.cores(),
        model=model,
        decoder=decoder,
        device=device,
        max_pixels=max_pixels,
        report=_reporter(quiet or json),
    )
    _finish(progress, out, quiet, json)


@command(dataset)
def info(path: options.DatasetIn, json: options.Json = False) -> None:
    """Show rows, failures, tokens, sizes and columns of a token dataset."""
    from onedpiece import datasets

    facts = datasets.describe(path)
    print(json_module.dumps(facts) if json else _lines(path, facts))


@command(dataset)
def verify(path: options.DatasetIn, quiet: options.Quiet = False) -> None:
    """Check that a token dataset is complete, that rows are valid, and that no key is twice."""
    from onedpiece import datasets

    problems = 0
    for problem in datasets.verify(path):
        problems += 1
        print(f"odp: {problem.where}: {problem.reason}", file=sys.stderr)
    if not problems and not quiet:
        print(f"{path}: complete")
    options.exit_after(problems)


@command(dataset)
def convert(
    path: Annotated[
        str, typer.Argument(metavar="IN", help="Token dataset, or tars or folder of .odp files.")
    ],
    out: options.DatasetOut,
    to: Annotated[Form, typer.Option(help="What to write.")],
    columns: options.PassedColumns = None,
    rows_per_file: options.SamplesPerFile = 16384,
    keep_files: options.KeepFiles = False,
    resume: options.Resume = False,
    force: options.Force = False,
    model: options.ModelOption = "default",
    max_pixels: options.MaxPixels = options.MAX_PIXELS,
    quiet: options.Quiet = False,
    json: options.Json = False,
) -> None:
    """Convert between Parquet, WebDataset tars of .odp files and a folder of them."""
    from onedpiece import datasets

    progress = datasets.convert(
        path,
        out,
        to.value,
        columns=_names(columns),
        samples_per_part=rows_per_file,
        keep_files=keep_files,
        resume=resume,
        force=force,
        model=model,
        max_pixels=max_pixels,
        report=_reporter(quiet or json),
    )
    _finish(progress, out, quiet, json)


def _here(run: Launch, workers: int | None, shard: Shard) -> Launch:
    """Encode a shard with processes of this machine."""
    return partial(run, workers=workers or options.cores(), shard=shard)


def _on_ray(run: Launch, workers: int | None, address: str | None, num_gpus: float) -> Launch:
    """Encode all shards on a Ray cluster."""
    from onedpiece.datasets import encode_on_ray

    cpus = workers or 1
    return partial(encode_on_ray, run, address=address, num_cpus=cpus, num_gpus=num_gpus)


def _shard(text: str) -> Shard:
    """The shard of "I/N". Raises UsageError."""
    from onedpiece.datasets.encoding import Shard

    try:
        index, count = map(int, text.split("/"))
        return Shard(index, count)
    except ValueError:
        raise UsageError("--shard is I/N with 0 <= I < N, such as 0/8") from None


def _names(columns: str | None) -> tuple[str, ...] | None:
    return None if columns is None else tuple(name for name in columns.split(",") if name)


def _reporter(silent: bool) -> Callable[[Progress], None] | None:
    """Prints a line about the progress every few seconds, which suits the log of a job too."""
    if silent:
        return None
    last = time.monotonic()

    def report(progress: Progress) -> None:
        nonlocal last
        if time.monotonic() - last >= SECONDS:
            last = time.monotonic()
            print(f"odp: {_counts(progress)}", file=sys.stderr, flush=True)

    return report


def _counts(progress: Progress) -> str:
    counts = f"{progress.done} done, {progress.before} before, {progress.failed} failed"
    return f"{counts}; {progress.seconds:.0f} s, {progress.per_second:.1f} pictures/s"


def _finish(progress: Progress, out: Path, quiet: bool, json: bool) -> None:
    """Print the result of a run. Exits with code 1 if samples failed in it."""
    peak = _peak_memory()
    if json:
        fields = {
            "done": progress.done,
            "before": progress.before,
            "failed": progress.failed,
            "seconds": round(progress.seconds, 3),
            "per_second": round(progress.per_second, 2),
            "peak_memory": peak,
            "left_out": progress.left_out,
        }
        print(json_module.dumps(fields))
    elif not quiet or progress.failed:
        memory = f"; at most {max(peak.values()) >> 20} MiB in a process" if peak else ""
        print(f"odp: {_counts(progress)}{memory}", file=sys.stderr)
        for extension, count in progress.left_out.items():
            members = pluralise(count, "member")
            print(f"odp: {members} .{extension} not passed through", file=sys.stderr)
    if progress.failed:
        print(f"odp: the reasons of failures are in {out / 'failures'}", file=sys.stderr)
    options.exit_after(progress.failed)


def _peak_memory() -> dict[str, int]:
    """Most bytes that this process and the largest of its workers had; empty on Windows."""
    try:
        import resource
    except ImportError:
        return {}
    unit = 1 if sys.platform == "darwin" else 1024
    which = {"main": resource.RUSAGE_SELF, "largest_worker": resource.RUSAGE_CHILDREN}
    return {name: unit * resource.getrusage(who).ru_maxrss for name, who in which.items()}


def _lines(path: str, facts: dict[str, Any]) -> str:
    shards = facts["shards"]
    missing = ", ".join(map(str, facts["incomplete_shards"]))
    lines = [
        f"{path}: {pluralise(facts['rows'], 'row')} in {pluralise(facts['parts'], 'file')} of "
        f"{pluralise(shards, 'shard')}" + (f"; NOT COMPLETE: {missing}" if missing else ""),
        f"  token set {facts['token_set']}, {facts['tokens_per_row']:g} tokens a row",
        f"  {facts['bytes']} bytes, {facts['bytes_per_row']:g} a row",
        f"  columns {', '.join(f'{name} ({kind})' for name, kind in facts['columns'].items())}",
        f"  {facts['failed']} failed",
        *(f"    {count} x {reason}" for reason, count in facts["reasons"].items()),
    ]
    return "\n".join(lines)
