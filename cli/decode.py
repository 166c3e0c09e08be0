"""`odp decode`: .odp files to pictures."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from onedpiece.cli import app, options
from onedpiece.errors import OutputError

if TYPE_CHECKING:
    from onedpiece.image import Picture


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
    force: options.Force = False,
    quiet: options.Quiet = False,
    json: options.Json = False,
) -> None:
    """Decode .odp files, complete or cut, to pictures (PNG, or what OUT's extension says)."""
    options.check_streams(paths, out_dir, json)

    from onedpiece.bitstream import OdpFile, parse
    from onedpiece.cli import batch, files
    from onedpiece.codec import Codec

    codec = Codec(model, device)

    def read(job: batch.Job) -> OdpFile:
        _format_of(job.target)
        file = parse(files.read(job.source))
        codec.model_of(file)
        return file

    def write(job: batch.Job, file: OdpFile, picture: Picture) -> tuple[dict[str, Any], str]:
        files.write(job.target, _picture_bytes(picture, job.target), force)
        used = min(tokens, file.complete_tokens)
        cut = f" of {file.header.tokens_per_tile}: the file is cut" if file.is_cut else ""
        facts = {
            "width": file.header.width,
            "height": file.header.height,
            "tokens": used,
            "tokens_in_complete_file": file.header.tokens_per_tile,
        }
        return facts, f"{file.header.width}x{file.header.height}, {used} tokens used{cut}"

    jobs = batch.plan(paths, out_dir, ".png", {".odp"})
    work = batch.Work(read, lambda parsed: codec.decode_many(parsed, tokens), write)
    batch.run(jobs, work, batch.Report(quiet, json), force)


def _format_of(target: Path) -> str:
    """Pillow's name of the format that an output name asks for. Raises OutputError."""
    from PIL import Image

    if target == Path("-"):
        return "PNG"
    Image.init()
    name = Image.registered_extensions().get(target.suffix.lower())
    if name is None or name not in Image.SAVE:
        raise OutputError(f"{target}: '{target.suffix}' is no picture format that can be written")
    return name


def _picture_bytes(picture: Picture, target: Path) -> bytes:
    import io

    from onedpiece.image import to_pillow

    out = io.BytesIO()
    try:
        to_pillow(picture).save(out, _format_of(target))
    except (OSError, ValueError, KeyError) as error:
        raise OutputError(f"{target} cannot be written: {error}") from error
    return out.getvalue()
