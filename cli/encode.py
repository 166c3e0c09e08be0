"""`odp encode`: pictures to .odp files."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from onedpiece.cli import app, options

if TYPE_CHECKING:
    from onedpiece.rate_control import Target


@app.command()
def encode(
    paths: Annotated[
        list[Path] | None,
        typer.Argument(
            metavar="IN OUT | IN...", help="Pictures; - is stdin or stdout.", readable=False
        ),
    ] = None,
    tokens: Annotated[
        int | None,
        typer.Option(
            "--tokens", "-n", min=1, max=256, help="Tokens for each 256x256 tile. [default: 256]"
        ),
    ] = None,
    max_bytes: Annotated[
        int | None, typer.Option("--bytes", min=1, help="Whole file at most so many bytes.")
    ] = None,
    bpp: Annotated[
        float | None, typer.Option(help="Whole file at most so many bits a pixel.")
    ] = None,
    psnr: Annotated[
        float | None,
        typer.Option(help="As few tokens as give so many decibels (slow: it decodes)."),
    ] = None,
    adaptive: Annotated[
        bool,
        typer.Option(
            "--adaptive",
            help="More of the tokens where there is detail (always so without --tokens).",
        ),
    ] = False,
    effort: options.Effort = 1,
    background: options.Background = None,
    metadata: Annotated[
        str, typer.Option(help="Metadata to keep: none, all, or a list such as exif,xmp.")
    ] = "none",
    out_dir: options.OutDir = None,
    recursive: options.Recursive = False,
    files_from: options.FilesFrom = None,
    skip_existing: options.SkipExisting = False,
    model: options.ModelOption = "default",
    device: options.DeviceOption = options.Device.auto,
    threads: options.Threads = None,
    max_pixels: options.MaxPixels = options.MAX_PIXELS,
    force: options.Force = False,
    quiet: options.Quiet = False,
    json: options.Json = False,
) -> None:
    """Encode pictures as .odp files."""
    paths = paths or []
    options.check_streams(paths, out_dir, json)
    target = _target(tokens, max_bytes, bpp, psnr, adaptive)

    import warnings

    from PIL import Image

    from onedpiece.bitstream import Header
    from onedpiece.cli import batch, files
    from onedpiece.codec import Codec
    from onedpiece.images.reader import Picture, Reading, open_lazily, open_picture, suffixes

    # A picture either can be read, or is reported in one line.
    warnings.filterwarnings("ignore", module="PIL")
    Image.MAX_IMAGE_PIXELS = (max_pixels + 1) // 2  # Pillow fails at twice this number
    if out_dir is None and len(paths) == 2 and paths[1].suffix.lower() in suffixes():
        raise typer.BadParameter(
            f"{paths[1]} is named like a picture: for several inputs use --out-dir"
        )
    reading = Reading(max_pixels, options.colour(background), _kinds(metadata))

    def weigh(job: batch.Job) -> int:
        with open_lazily(job.source) as image:
            return image.width * image.height

    def read(job: batch.Job) -> Picture:
        source = job.source if files.is_regular(job.source) else files.read(job.source)
        return open_picture(source, reading)

    def write(job: batch.Job, picture: Picture, data: bytes) -> batch.Done:
        files.write(job.target, data, force)
        header, _ = Header.unpack(data)
        used = header.tokens_per_tile
        bpp = 8 * len(data) / header.pixels
        facts = {
            "width": header.width,
            "height": header.height,
            "tokens": used,
            "bytes": len(data),
            "bpp": round(bpp, 5),
        }
        size = f"{header.width}x{header.height}"
        return batch.Done(
            facts, f"{size}, {batch.counted(used, 'token')}, {len(data)} bytes, {bpp:.4f} bpp"
        )

    inputs = batch.Inputs(paths, out_dir, files_from, recursive, skip_existing, "pictures")
    jobs = batch.plan(inputs, ".odp", suffixes())
    with files.silent_libraries(), batch.tile_bar(jobs, weigh, quiet or json) as advance:
        codec = Codec(
            model, device, threads, max_pixels=max_pixels, progress=advance, effort=effort
        )
        work = batch.Work(
            weigh, read, lambda pictures: codec.encode_pictures(pictures, target), write
        )
        batch.run(inputs, jobs, work, batch.Report(quiet, json), force)


def _target(
    tokens: int | None,
    max_bytes: int | None,
    bpp: float | None,
    psnr: float | None,
    adaptive: bool,
) -> Target:
    from onedpiece.rate_control import Target

    if (max_bytes, bpp, psnr) == (None, None, None):
        tokens = tokens or 256
    try:
        return Target(tokens, max_bytes, bpp, psnr, adaptive)
    except ValueError:
        raise typer.BadParameter(
            "give one of --tokens, --bytes, --bpp and --psnr, a number above 0"
        ) from None


def _kinds(asked: str) -> frozenset[str]:
    from onedpiece.images.reader import METADATA

    kinds = {"none": set(), "all": set(METADATA)}.get(asked, set(asked.split(",")))
    if not kinds <= set(METADATA):
        raise typer.BadParameter(f"--metadata takes none, all, or some of {','.join(METADATA)}")
    return frozenset(kinds)
