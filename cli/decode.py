"""`odp decode`: .odp files to pictures."""

from __future__ import annotations

import io
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from onedpiece.cli import app, files, options
from onedpiece.errors import OutputError

if TYPE_CHECKING:
    from onedpiece.image import Picture

# A lossy output should not add losses of its own that anybody sees.
SAVE_OPTIONS: dict[str, dict[str, object]] = {"JPEG": {"quality": 95}, "WEBP": {"lossless": True}}


@app.command()
def decode(
    paths: Annotated[
        list[Path],
        typer.Argument(metavar="IN OUT | IN...", help=".odp files; - is stdin or stdout."),
    ],
    tokens: Annotated[
        int,
        typer.Option(
            "--tokens", "-n", min=1, max=256, help="Use at most so many tokens of each tile."
        ),
    ] = 256,
    out_dir: options.OutDir = None,
    model: Annotated[
        str, typer.Option(help="Consider this model (a directory) beside the installed ones.")
    ] = "default",
    device: options.DeviceOption = options.Device.auto,
    threads: options.Threads = None,
    max_pixels: options.MaxPixels = options.MAX_PIXELS,
    force: options.Force = False,
    quiet: options.Quiet = False,
    json: options.Json = False,
) -> None:
    """Decode .odp files, complete or cut, to pictures (PNG, or what OUT's extension says)."""
    options.check_streams(paths, out_dir, json)

    from onedpiece.bitstream import OdpFile, parse
    from onedpiece.cli import batch
    from onedpiece.codec import Codec

    codec = Codec(model, device, threads)

    def read(job: batch.Job) -> OdpFile:
        _format_of(job.target)
        file = parse(files.read(job.source), max_pixels)
        codec.model_of(file)
        return file

    def write(job: batch.Job, file: OdpFile, picture: Picture) -> batch.Done:
        files.write(job.target, _picture_bytes(picture, job.target), force)
        used = min(tokens, file.complete_tokens)
        facts = {
            "width": file.header.width,
            "height": file.header.height,
            "tokens": used,
            "tokens_in_complete_file": file.header.tokens_per_tile,
        }
        line = f"{file.header.width}x{file.header.height}, {used} tokens used"
        promised = file.header.tokens_per_tile
        cut = f"the file is cut: {file.complete_tokens} of {promised} tokens are here, {used} used"
        return batch.Done(facts, line, cut if file.is_cut else None)

    jobs = batch.plan(paths, out_dir, ".png", {".odp"})
    work = batch.Work(read, lambda parsed: codec.decode_files(parsed, tokens), write)
    batch.run(jobs, work, batch.Report(quiet, json), force)


def _format_of(target: Path) -> str:
    """Pillow's name of the format that an output name asks for. Raises OutputError."""
    from PIL import Image

    if target == files.STREAM:
        return "PNG"
    Image.init()
    name = Image.registered_extensions().get(target.suffix.lower())
    if name is None or name not in Image.SAVE:
        raise OutputError(f"{target}: '{target.suffix}' is no picture format that can be written")
    return name


def _picture_bytes(picture: Picture, target: Path) -> bytes:
    from onedpiece.image import to_pillow

    out = io.BytesIO()
    try:
        name = _format_of(target)
        to_pillow(picture).save(out, name, **SAVE_OPTIONS.get(name, {}))
    except (OSError, ValueError, KeyError) as error:
        raise OutputError(f"{target} cannot be written: {error}") from error
    return out.getvalue()
