"""`odp decode`: .odp files to pictures."""

from __future__ import annotations

import contextlib
from pathlib import Path
from typing import TYPE_CHECKING

from onedpiece.cli import files, options, pipeline
from onedpiece.cli.inputs import Inputs, Job, check_streams, plan
from onedpiece.cli.report import Outcome, Report, pluralise, tile_progress
from onedpiece.errors import OutputError

if TYPE_CHECKING:
    from onedpiece.codec import Codec
    from onedpiece.encoded_image import EncodedImage
    from onedpiece.images.color import Color
    from onedpiece.images.picture import Picture


def decode(
    paths: options.OdpFilesAndOut = None,
    tokens: options.DecodeTokens = None,
    realism: options.Realism = 1.0,
    allow_truncated: options.AllowTruncated = True,
    background: options.Background = None,
    out_dir: options.OutDir = None,
    recursive: options.Recursive = False,
    files_from: options.FilesFrom = None,
    skip_existing: options.SkipExisting = False,
    model: options.DecodeModel = "default",
    decoder: options.DecoderOption = None,
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
    check_streams(inputs, json)
    jobs = plan(inputs, ".png", {".odp"})
    backdrop = options.colour(background)

    _start_loading(jobs, model, decoder, device, threads, realism)
    from onedpiece.codec import Codec

    with tile_progress(jobs, _count_pixels, report) as advance:
        codec = Codec(model, device, threads, max_pixels=max_pixels, decoder=decoder)

        def write(job: Job, image: EncodedImage, picture: Picture) -> Outcome:
            files.write(job.target, _file_bytes(picture, job.target, backdrop), force)
            return _outcome(image, tokens)

        work = pipeline.Work(
            count_pixels=_count_pixels,
            read=lambda job: _read(job, codec, allow_truncated),
            process=lambda images: codec.decode_pictures(
                images, tokens, realism=realism, progress=advance
            ),
            write=write,
        )
        failures = pipeline.run(inputs, jobs, work, report, force)
    options.exit_after(failures)


def _start_loading(
    jobs: list[Job],
    model: str,
    decoder: str | None,
    device: str,
    threads: int | None,
    realism: float,
) -> None:
    """Load the decoder of the first file while the rest of the program is imported."""
    from onedpiece.bitstream.header import Header
    from onedpiece.models.registry import choose_decoder, find
    from onedpiece.runtime.onnx import start_loading

    # A failure occurs again when the file is decoded, and is reported then.
    with contextlib.suppress(*files.ERRORS):
        if files.is_regular(jobs[0].source):
            header, _ = Header.unpack(files.read_start(jobs[0].source))
            chosen = choose_decoder(header.model, find(model), decoder)
            once = len(jobs) == 1 and header.grid.count == 1
            start_loading(chosen, device, threads, realism, once)


def _count_pixels(job: Job) -> int:
    from onedpiece.bitstream.header import Header

    return Header.unpack(files.read_start(job.source))[0].decoded_pixels


def _read(job: Job, codec: Codec, allow_truncated: bool) -> EncodedImage:
    """The parsed file, after checks that need no decoding: its decoder, and the output format."""
    _format(job.target)
    image = codec.parse(files.read(job.source))
    codec.model_of(image)
    if not allow_truncated:
        image.check_complete()
    return image


def _outcome(image: EncodedImage, max_tokens: int | None) -> Outcome:
    header = image.header
    tokens = -(-image.total_tokens // header.base_tiles)
    if max_tokens is not None:
        tokens = min(max_tokens, tokens)
    fields = {
        "width": header.width,
        "height": header.height,
        "tokens": tokens,
        "tokens_in_complete_file": image.num_tokens,
        "cut": image.is_truncated,
    }
    line = f"{header.width}x{header.height}, {pluralise(tokens, 'token')} used"
    return Outcome(fields, line, image.truncation)


def _format(target: Path) -> str:
    """Pillow's name of the format for an output path. Raises OutputError."""
    from onedpiece.images.writer import format_for

    return "PNG" if target == files.STREAM else format_for(target)


def _file_bytes(picture: Picture, target: Path, background: Color | None) -> bytes:
    from onedpiece.images.writer import to_file_bytes

    try:
        return to_file_bytes(picture, _format(target), background)
    except OutputError as error:
        raise OutputError(f"{target}: {error}") from error
