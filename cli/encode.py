"""`odp encode`: pictures to .odp files."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

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
    threads: options.Threads = None,
    max_pixels: options.MaxPixels = options.MAX_PIXELS,
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
    Image.MAX_IMAGE_PIXELS = max_pixels // 2  # Pillow fails at twice this number
    codec = Codec(model, device, threads, max_pixels=max_pixels)
    if out_dir is None and len(paths) == 2 and paths[1].suffix.lower() in suffixes():
        raise typer.BadParameter(
            f"{paths[1]} is named like a picture: for several inputs use --out-dir"
        )

    def read(job: batch.Job) -> Picture:
        source = files.read(job.source) if job.source == files.STREAM else job.source
        return open_picture(source, max_pixels)

    def write(job: batch.Job, picture: Picture, data: bytes) -> batch.Done:
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
        line = f"{width}x{height}, {tokens} tokens, {len(data)} bytes, {bpp:.4f} bpp"
        return batch.Done(facts, line)

    jobs = batch.plan(paths, out_dir, ".odp", suffixes())
    work = batch.Work(read, lambda pictures: codec.encode_pictures(pictures, tokens), write)
    batch.run(jobs, work, batch.Report(quiet, json), force)
