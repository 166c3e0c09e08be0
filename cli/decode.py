"""`odp decode`: .odp files to pictures."""

from __future__ import annotations

import io
from pathlib import Path
from typing import TYPE_CHECKING

from onedpiece.cli import app, files, options, pipeline
from onedpiece.cli.inputs import Inputs, Job, check_streams, plan
from onedpiece.cli.report import Outcome, Report, pluralise, tile_progress, truncation
from onedpiece.constants import MAX_TOKENS
from onedpiece.errors import DamagedFile, OutputError

if TYPE_CHECKING:
    from PIL.Image import Image

    from onedpiece.bitstream import OdpFile
    from onedpiece.codec import Codec
    from onedpiece.images.reader import Picture

WITH_ALPHA = {"PNG", "WEBP", "TIFF", "AVIF", "JPEG2000", "TGA", "QOI", "SGI"}
WITH_METADATA = {"PNG", "JPEG", "WEBP", "TIFF", "AVIF"}
IN_COLOUR_ONLY = {("QOI", "L"): "RGB", ("QOI", "LA"): "RGBA", ("SGI", "LA"): "RGBA"}
TIFF_XMP = 700  # tag
# Lossy formats should add no visible loss to that of the codec.
SAVE_OPTIONS: dict[str, dict[str, object]] = {"JPEG": {"quality": 95}, "WEBP": {"lossless": True}}


@app.command()
def decode(
    paths: options.OdpFilesAndOut = None,
    tokens: options.DecodeTokens = MAX_TOKENS,
    grain: options.Grain = 1.0,
    allow_truncated: options.AllowTruncated = True,
    background: options.Background = None,
    out_dir: options.OutDir = None,
    recursive: options.Recursive = False,
    files_from: options.FilesFrom = None,
    skip_existing: options.SkipExisting = False,
    model: options.DecodeModel = "default",
    device: options.DeviceOption = options.Device.auto,
    threads: options.Threads = None,
    max_pixels: options.MaxPixels = options.MAX_PIXELS,
    force: options.Force = False,
    quiet: options.Quiet = False,
    json: options.Json = False,
) -> None:
    """Decode .odp files, also truncated ones, to PNG or the format of OUT's extension."""
    inputs = Inputs(paths or [], out_dir, files_from, recursive, skip_existing)
    report = Report(quiet, json)
    with options.usage_errors():
        check_streams(inputs, json)
        jobs = plan(inputs, ".png", {".odp"})
    backdrop = options.colour(background)

    from onedpiece.codec import Codec

    with tile_progress(jobs, _count_pixels, report) as advance:
        codec = Codec(model, device, threads, max_pixels=max_pixels, progress=advance, grain=grain)

        def write(job: Job, file: OdpFile, picture: Picture) -> Outcome:
            files.write(job.target, _picture_bytes(picture, job.target, backdrop), force)
            return _outcome(file, tokens)

        work = pipeline.Work(
            count_pixels=_count_pixels,
            read=lambda job: _read(job, codec, allow_truncated),
            process=lambda parsed: codec.decode_files(parsed, tokens),
            write=write,
        )
        failures = pipeline.run(inputs, jobs, work, report, force)
    options.exit_after(failures)


def _count_pixels(job: Job) -> int:
    from onedpiece.bitstream import Header

    return Header.unpack(files.read_start(job.source))[0].pixels


def _read(job: Job, codec: Codec, allow_truncated: bool) -> OdpFile:
    """The parsed file, after checks that need no decoding: its model, and the output format."""
    _format_of(job.target)
    file = codec.parse(files.read(job.source))
    if file.is_cut and not allow_truncated:
        raise DamagedFile(truncation(file))
    codec.model_of(file)
    return file


def _outcome(file: OdpFile, max_tokens: int) -> Outcome:
    header = file.header
    tokens = min(max_tokens, -(-file.arrived // header.grid.count))
    fields = {
        "width": header.width,
        "height": header.height,
        "tokens": tokens,
        "tokens_in_complete_file": header.tokens_per_tile,
        "cut": file.is_cut,
    }
    line = f"{header.width}x{header.height}, {pluralise(tokens, 'token')} used"
    return Outcome(fields, line, truncation(file) if file.is_cut else None)


def _format_of(target: Path) -> str:
    """Pillow's name of the format for an output path. Raises OutputError."""
    from PIL import Image

    from onedpiece.images.reader import FORMATS

    if target == files.STREAM:
        return "PNG"
    Image.init()
    name = Image.registered_extensions().get(target.suffix.lower())
    if name not in FORMATS or name not in Image.SAVE:
        raise OutputError(f"{target}: the extension is not that of a writable picture format")
    return name


def _metadata_options(image: Image, name: str) -> dict[str, object]:
    """Options of Pillow's `save` for the metadata that the format can hold."""
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
    except (
        Exception
    ) as error:  # Pillow's plugins raise errors of any class, also for broken metadata
        raise OutputError(f"{target} cannot be written: {error}") from error
    return out.getvalue()


def _held_by(picture: Picture, name: str) -> Image:
    """The picture in a mode of the format. Raises OutputError if transparency would be lost."""
    from onedpiece.images.reader import in_srgb, to_pillow

    if name not in WITH_METADATA:
        picture = in_srgb(picture)  # without a profile, readers assume sRGB
    image = to_pillow(picture)
    if image.mode in {"LA", "RGBA"} and name not in WITH_ALPHA:
        raise OutputError(f"{name} cannot hold transparency: write a PNG, or use --background")
    mode = IN_COLOUR_ONLY.get((name, image.mode))
    return image.convert(mode) if mode else image
