"""`odp encode`: pictures to .odp files."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from onedpiece.cli import app, options


@app.command()
def encode(
    paths: Annotated[
        list[Path], typer.Argument(metavar="IN OUT | IN...", help="Pictures; - is stdin or stdout.")
    ],
    tokens: Annotated[
        int, typer.Option("--tokens", "-n", min=1, max=256, help="Tokens for each 256x256 tile.")
    ] = 256,
    out_dir: options.OutDir = None,
    model: options.ModelOption = "default",
    device: options.DeviceOption = options.Device.auto,
    force: options.Force = False,
    quiet: options.Quiet = False,
    json: options.Json = False,
) -> None:
    """Encode pictures as .odp files."""
    options.check_streams(paths, out_dir, json)

    import warnings

    from PIL import Image

    from onedpiece.cli import batch, files
    from onedpiece.codec import Codec
    from onedpiece.image import Picture, open_picture, suffixes

    # A picture either can be read, or is reported in one line.
    warnings.filterwarnings("ignore", module="PIL")
    Image.MAX_IMAGE_PIXELS = None  # `open_picture` has the limit that counts
    codec = Codec(model, device)

    def read(job: batch.Job) -> Picture:
        return open_picture(files.read(job.source) if job.source == files.STREAM else job.source)

    def write(job: batch.Job, picture: Picture, data: bytes) -> tuple[dict[str, Any], str]:
        files.write(job.target, data, force)
        height, width = picture.pixels.shape[:2]
        bpp = 8 * len(data) / (width * height)
        facts = {
            "width": width,
            "height": height,
            "tokens": tokens,
            "bytes": len(data),
            "bpp": round(bpp, 5),
        }
        return facts, f"{width}x{height}, {tokens} tokens, {len(data)} bytes, {bpp:.4f} bpp"

    jobs = batch.plan(paths, out_dir, ".odp", suffixes())
    work = batch.Work(read, lambda pictures: codec.encode_many(pictures, tokens), write)
    batch.run(jobs, work, batch.Report(quiet, json), force)
