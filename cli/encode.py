"""`odp encode`: pictures to .odp files."""

from __future__ import annotations

from typing import TYPE_CHECKING

from onedpiece.cli import files, options, pipeline
from onedpiece.cli.inputs import Inputs, Job, UsageError, check_streams, plan
from onedpiece.cli.report import Outcome, Report, pluralise, tile_progress
from onedpiece.constants import MAX_TOKENS

if TYPE_CHECKING:
    from onedpiece.encoded_image import EncodedImage
    from onedpiece.images.picture import Picture
    from onedpiece.images.reader import ReadOptions
    from onedpiece.rate_control import Target


def encode(
    paths: options.PicturesAndOut = None,
    tokens: options.EncodeTokens = None,
    max_bytes: options.MaxBytes = None,
    bpp: options.Bpp = None,
    psnr: options.Psnr = None,
    adaptive: options.Adaptive = False,
    effort: options.Effort = 1,
    lpips: options.Lpips = None,
    background: options.Background = None,
    metadata: options.Metadata = "none",
    out_dir: options.OutDir = None,
    recursive: options.Recursive = False,
    files_from: options.FilesFrom = None,
    skip_existing: options.SkipExisting = False,
    dry_run: options.DryRun = False,
    model: options.ModelOption = "default",
    device: options.DeviceOption = options.Device.auto,
    threads: options.Threads = None,
    max_pixels: options.MaxPixels = options.MAX_PIXELS,
    force: options.Force = False,
    quiet: options.Quiet = False,
    json: options.Json = False,
) -> None:
    """Encode pictures as .odp files."""
    inputs = Inputs(paths or [], out_dir, files_from, recursive, skip_existing, "pictures")
    report = Report(quiet, json)
    check_streams(inputs, json)
    if lpips and effort == 1:
        raise UsageError("--lpips needs --effort 2 or 3")
    target = choose_target(tokens, max_bytes, bpp, psnr, adaptive)
    jobs = _plan(inputs)
    read_options = _read_options(max_pixels, background, metadata)

    from onedpiece.cli.dry_run import dry_run as dry_run_of
    from onedpiece.codec import Codec

    with files.silence_c_libraries(), tile_progress(jobs, _count_pixels, report) as advance:
        codec = Codec(model, device, threads, max_pixels=max_pixels, lpips=lpips)
        work = pipeline.Work(
            count_pixels=_count_pixels,
            read=lambda job: _read(job, read_options),
            process=lambda pictures: codec.encode_pictures(
                pictures, target, effort=effort, progress=advance
            ),
            write=lambda job, _, image: _write(job, image, force),
        )
        if dry_run:
            failures = dry_run_of(inputs, jobs, work, report, force, max_bytes is not None)
        else:
            failures = pipeline.run(inputs, jobs, work, report, force)
    options.exit_after(failures)


def choose_target(
    tokens: int | None,
    max_bytes: int | None,
    bpp: float | None,
    psnr: float | None,
    adaptive: bool,
) -> Target:
    """The target for the size or the quality of the files. Raises UsageError."""
    from onedpiece.rate_control import Target

    if (max_bytes, bpp, psnr) == (None, None, None):
        tokens = tokens or MAX_TOKENS
    try:
        return Target(tokens, max_bytes, bpp, psnr, adaptive)
    except ValueError:
        raise UsageError(
            "give only one of --tokens, --bytes, --bpp and --psnr, and a number above 0"
        ) from None


def _plan(inputs: Inputs) -> list[Job]:
    """The jobs. Raises UsageError, also if OUT looks like a second picture: `odp encode *.png`."""
    from onedpiece.images.reader import suffixes

    # Listing the suffixes imports all of Pillow's formats.
    single = inputs.out_dir is None
    jobs: list[Job] = plan(inputs, ".odp", set() if single else suffixes())
    out = jobs[0].target
    if single and out.suffix.lower() != ".odp" and out.suffix.lower() in suffixes():
        raise UsageError(f"{out} has the name of a picture: for several inputs use --out-dir")
    return jobs


def _read_options(max_pixels: int, background: str | None, metadata: str) -> ReadOptions:
    """How to read pictures. Raises UsageError."""
    from onedpiece.images.metadata import INFO_KEYS
    from onedpiece.images.reader import ReadOptions

    kinds = {"none": set(), "all": set(INFO_KEYS)}.get(metadata, set(metadata.split(",")))
    if not kinds <= set(INFO_KEYS):
        raise UsageError(f"--metadata takes none, all, or some of {','.join(INFO_KEYS)}")
    files.quieten_pillow(max_pixels)
    return ReadOptions(max_pixels, options.colour(background), frozenset(kinds))


def _count_pixels(job: Job) -> int:
    from onedpiece.images.reader import open_lazily

    with open_lazily(job.source) as image:
        return image.width * image.height


def _read(job: Job, read_options: ReadOptions) -> Picture:
    from onedpiece.images.reader import open_picture

    source = job.source if files.is_regular(job.source) else files.read(job.source)
    return open_picture(source, read_options)


def _write(job: Job, image: EncodedImage, force: bool) -> Outcome:
    data, header = image.to_bytes(), image.header
    files.write(job.target, data, force)
    tokens = image.num_tokens
    bpp = 8 * len(data) / header.pixels
    fields = {
        "width": header.width,
        "height": header.height,
        "tokens": tokens,
        "bytes": len(data),
        "bpp": round(bpp, 5),
    }
    size = f"{header.width}x{header.height}"
    return Outcome(
        fields, f"{size}, {pluralise(tokens, 'token')}, {len(data)} bytes, {bpp:.4f} bpp"
    )
