"""`odp decode`: .odp files to pictures."""

from __future__ import annotations

import io
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from onedpiece.cli import app, files, options
from onedpiece.errors import DamagedFile, OutputError

if TYPE_CHECKING:
    from PIL.Image import Image

    from onedpiece.bitstream import OdpFile
    from onedpiece.images.reader import Picture

# A lossy output should not add losses of its own that anybody sees.
WITH_ALPHA = {"PNG", "WEBP", "TIFF", "AVIF", "JPEG2000", "TGA", "QOI", "SGI"}
WITH_METADATA = {"PNG", "JPEG", "WEBP", "TIFF", "AVIF"}
IN_COLOUR_ONLY = {("QOI", "L"): "RGB", ("QOI", "LA"): "RGBA", ("SGI", "LA"): "RGBA"}
TIFF_XMP = 700  # tag
SAVE_OPTIONS: dict[str, dict[str, object]] = {"JPEG": {"quality": 95}, "WEBP": {"lossless": True}}


@app.command()
def decode(
    paths: Annotated[
        list[Path] | None,
        typer.Argument(
            metavar="IN OUT | IN...", help=".odp files; - is stdin or stdout.", readable=False
        ),
    ] = None,
    tokens: Annotated[
        int,
        typer.Option(
            "--tokens", "-n", min=1, max=256, help="Use at most so many tokens of each tile."
        ),
    ] = 256,
    grain: options.Grain = 1.0,
    allow_truncated: Annotated[
        bool, typer.Option(help="Decode files that were cut off, with a warning, or refuse them.")
    ] = True,
    background: options.Background = None,
    out_dir: options.OutDir = None,
    recursive: options.Recursive = False,
    files_from: options.FilesFrom = None,
    skip_existing: options.SkipExisting = False,
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
    paths = paths or []
    options.check_streams(paths, out_dir, json)
    behind = options.colour(background)

    from onedpiece.bitstream import Header
    from onedpiece.cli import batch
    from onedpiece.codec import Codec

    def weigh(job: batch.Job) -> int:
        return (
            0
            if job.source == files.STREAM
            else Header.unpack(files.beginning(job.source))[0].pixels
        )

    def write(job: batch.Job, file: OdpFile, picture: Picture) -> batch.Done:
        files.write(job.target, _picture_bytes(picture, job.target, behind), force)
        header = file.header
        used = min(tokens, -(-file.arrived // header.grid.count))
        facts = {
            "width": header.width,
            "height": header.height,
            "tokens": used,
            "tokens_in_complete_file": header.tokens_per_tile,
            "cut": file.is_cut,
        }
        line = f"{header.width}x{header.height}, {batch.counted(used, 'token')} used"
        return batch.Done(facts, line, _cut(file) if file.is_cut else None)

    inputs = batch.Inputs(paths, out_dir, files_from, recursive, skip_existing)
    jobs = batch.plan(inputs, ".png", {".odp"})
    with batch.tile_bar(jobs, weigh, quiet or json) as advance:
        codec = Codec(model, device, threads, max_pixels=max_pixels, progress=advance, grain=grain)

        def read(job: batch.Job) -> OdpFile:
            _format_of(job.target)
            file = codec.parse(files.read(job.source))
            if file.is_cut and not allow_truncated:
                raise DamagedFile(_cut(file))
            codec.model_of(file)
            return file

        work = batch.Work(weigh, read, lambda parsed: codec.decode_files(parsed, tokens), write)
        batch.run(inputs, jobs, work, batch.Report(quiet, json), force)


def _cut(file: OdpFile) -> str:
    return f"the file is cut: {file.arrived} of {file.allocation.total} tokens are here"


def _format_of(target: Path) -> str:
    """Pillow's name of the format that an output name asks for. Raises OutputError."""
    from PIL import Image

    from onedpiece.images.reader import FORMATS

    if target == files.STREAM:
        return "PNG"
    Image.init()
    name = Image.registered_extensions().get(target.suffix.lower())
    if name not in FORMATS or name not in Image.SAVE:
        raise OutputError(f"{target}: the name ends in no picture format that can be written")
    return name


def _metadata_options(image: Image, name: str) -> dict[str, object]:
    """What Pillow has to be told so that it writes the metadata too, as far as the format can hold it."""
    from PIL import Image, PngImagePlugin

    options: dict[str, object] = {}
    if name in WITH_METADATA:
        kinds = ("exif", "icc_profile", "xmp")
        options = {kind: image.info[kind] for kind in kinds if kind in image.info}
    if name == "PNG" and "xmp" in options:
        text = PngImagePlugin.PngInfo()
        text.add_itxt("XML:com.adobe.xmp", options.pop("xmp").decode("utf-8", "replace"))  # type: ignore[attr-defined]
        options["pnginfo"] = text
    if name == "TIFF" and "xmp" in options:
        tags = Image.Exif()
        tags.load(image.info.get("exif", b""))
        tags[TIFF_XMP] = options.pop("xmp")
        options["exif"] = tags
    return options


def _picture_bytes(
    picture: Picture, target: Path, background: tuple[int, int, int] | None
) -> bytes:
    from onedpiece.images.reader import flattened

    out = io.BytesIO()
    try:
        name = _format_of(target)
        if background is not None:
            picture = flattened(picture, background)
        image = _held_by(picture, name)
        image.save(out, name, **SAVE_OPTIONS.get(name, {}), **_metadata_options(image, name))
    except OutputError:
        raise
    except Exception as error:  # Pillow's plugins raise what they like, for broken metadata too
        raise OutputError(f"{target} cannot be written: {error}") from error
    return out.getvalue()


def _held_by(picture: Picture, name: str) -> Image:
    """The picture as a format can hold it. Raises OutputError if its transparency would be lost."""
    from onedpiece.images.reader import in_srgb, to_pillow

    if name not in WITH_METADATA:
        picture = in_srgb(picture)  # no profile could say otherwise
    image = to_pillow(picture)
    if image.mode in {"LA", "RGBA"} and name not in WITH_ALPHA:
        raise OutputError(f"{name} has no transparency: write a PNG, or use --background")
    mode = IN_COLOUR_ONLY.get((name, image.mode))
    return image.convert(mode) if mode else image
