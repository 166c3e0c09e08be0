"""What a batch would do: how many files and bytes, and how long it would take. Writes nothing."""

from __future__ import annotations

import json
import time
from dataclasses import dataclass

from onedpiece.cli import files
from onedpiece.cli.inputs import Inputs, Job, UsageError, check_not_folder
from onedpiece.cli.pipeline import Loaded, Work, not_skipped
from onedpiece.cli.report import PIXELS_PER_TILE, Report, pluralise
from onedpiece.encoded_image import EncodedImage
from onedpiece.errors import DeviceError, ModelError

SAMPLES = 8  # pictures to encode
SECONDS = 10  # no further picture is encoded afterwards


@dataclass(frozen=True)
class Sample:
    """What encoding a picture gave. `weight` is its share of the work: about its tiles."""

    weight: float
    size: int
    seconds: float


def dry_run(
    inputs: Inputs,
    jobs: list[Job],
    work: Work[Loaded, EncodedImage],
    report: Report,
    force: bool,
    same_size: bool,
) -> int:
    """Print what `pipeline.run` would do with the jobs, and return the number of failures.

    A few pictures are encoded in memory for it, spread over all of them.

    same_size: files are about equally long, whatever the size of their pictures.

    Raises UsageError for standard input, which cannot be read twice.
    """
    if any(job.source == files.STREAM for job in jobs):
        raise UsageError("--dry-run cannot read standard input")
    pending, failures = not_skipped(jobs, inputs.skip), 0
    weights: dict[Job, float] = {}
    for job in pending:
        try:
            check_not_folder(job.source, inputs)
            files.check_free(job.target, force)
            weights[job] = max(1.0, work.count_pixels(job) / PIXELS_PER_TILE)
        except files.ERRORS as error:
            failures += 1
            report.failed(job.source, error)
    readable = len(weights)
    size, seconds = _estimate(_encode_some(weights, work, report), weights, same_size)
    failures += readable - len(weights)
    skipped = len(jobs) - len(pending)
    if report.json:
        counts = {"pictures": len(weights), "skipped": skipped, "failed": failures}
        print(json.dumps({**counts, "bytes": round(size), "seconds": round(seconds, 1)}))
    else:
        print(
            f"{pluralise(len(weights), 'picture')}, {skipped} skipped, {failures} failed; "
            f"about {round(size)} bytes in {_duration(seconds)}"
        )
    return failures


def _encode_some(
    weights: dict[Job, float], work: Work[Loaded, EncodedImage], report: Report
) -> list[Sample]:
    """Samples of the jobs, evenly spread. Those that fail are reported and taken out of weights."""
    chosen = list(weights)[:: -(-len(weights) // SAMPLES) or 1]
    samples: list[Sample] = []
    begin = time.monotonic()
    for job in chosen:
        if samples and time.monotonic() - begin > SECONDS:
            break
        try:
            if not samples:
                work.process([work.read(job)])  # loads the networks, which does not count
            start = time.monotonic()
            size = len(work.process([work.read(job)])[0].to_bytes())
            samples.append(Sample(weights[job], size, time.monotonic() - start))
        except (DeviceError, ModelError):
            raise  # would stop every job
        except files.ERRORS as error:
            del weights[job]
            report.failed(job.source, error)
    return samples


def _estimate(
    samples: list[Sample], weights: dict[Job, float], same_size: bool
) -> tuple[float, float]:
    """Bytes and seconds of all jobs together."""
    if not samples:
        return 0, 0
    share = sum(weights.values()) / sum(sample.weight for sample in samples)
    seconds = share * sum(sample.seconds for sample in samples)
    if same_size:
        share = len(weights) / len(samples)
    return share * sum(sample.size for sample in samples), seconds


def _duration(seconds: float) -> str:
    """Seconds as text: "5 s", "3 min", "2 h 10 min"."""
    if seconds < 100:
        return f"{max(1, round(seconds))} s"
    hours, minutes = divmod(round(seconds / 60), 60)
    return f"{hours} h {minutes} min" if hours else f"{minutes} min"
