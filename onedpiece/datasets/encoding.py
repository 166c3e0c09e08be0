"""Encode pictures of any number into a token dataset, with worker processes."""

from __future__ import annotations

import hashlib
import json
import os
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from onedpiece.codec import Codec, check_effort
from onedpiece.constants import MAX_PIXELS, MAX_TOKENS
from onedpiece.datasets import parts
from onedpiece.datasets.part_writer import PartWriter
from onedpiece.datasets.parts import About
from onedpiece.datasets.places import read_file
from onedpiece.datasets.rows import Row, row_of
from onedpiece.datasets.sources import ALL_COLUMNS, Columns, Sample, Source
from onedpiece.datasets.workers import Failure, Work, Workers, in_groups
from onedpiece.errors import OdpError, OutputError
from onedpiece.images.color import Color
from onedpiece.images.picture import Picture
from onedpiece.images.reader import ReadOptions, open_picture, suffixes
from onedpiece.images.scaling import center_square
from onedpiece.models.registry import DEFAULT, Model
from onedpiece.rate_control import Target

SAMPLES_PER_PART = 16384
CHUNK = 32  # samples that a worker gets at once
BYTES_OF_CHUNK = 16 << 20  # pictures in files of their own are read by the workers

Encoded = bytes | str | Failure
"""What a worker gets: the bytes of a picture, its path, or why there are none."""


@dataclass
class Progress:
    """How far a run has come.

    done:    samples that became rows in this run.
    before:  rows of earlier runs, which this one continues.
    failed:  samples that failed, in this run and in those.
    seconds: that this run took.
    left_out: members of tar files that were not passed through, by extension.
    """

    done: int = 0
    failed: int = 0
    before: int = 0
    seconds: float = 0.0
    left_out: dict[str, int] = field(default_factory=dict)

    @property
    def per_second(self) -> float:
        """Rows of this run per second."""
        return self.done / self.seconds if self.seconds else 0.0


Report = Callable[[Progress], None]


@dataclass(frozen=True)
class Shard:
    """Which share of the input a run takes: `index` of `count`, from 0, as Slurm counts."""

    index: int = 0
    count: int = 1

    def __post_init__(self) -> None:
        if not 0 <= self.index < self.count:
            raise ValueError("a shard I/N has 0 <= I < N")


@dataclass(frozen=True)
class EncodeWork:
    """What a worker does: pictures to rows."""

    codec: Codec
    target: Target
    effort: int
    options: ReadOptions
    square: bool
    keep_files: bool

    def __call__(self, items: list[Encoded]) -> list[Row | Failure]:
        """Rows of pictures, in their order, or why there is none.

        Raises DeviceError or ModelError, which would stop every picture.
        """
        pixels = Image.MAX_IMAGE_PIXELS
        try:
            Image.MAX_IMAGE_PIXELS = (self.options.max_pixels + 1) // 2  # Pillow doubles it
            return in_groups(items, self._read, _pixels, self._encode)
        finally:
            Image.MAX_IMAGE_PIXELS = pixels

    def _read(self, item: Encoded) -> Picture:
        picture = open_picture(read_item(item), self.options)
        if not self.square:
            return picture
        square = center_square(Image.fromarray(picture.pixels))
        return Picture(np.asarray(square), picture.grey)

    def _encode(self, pictures: list[Picture]) -> list[Row]:
        images = self.codec.encode_pictures(pictures, self.target, effort=self.effort)
        return [row_of(image, self.keep_files) for image in images]


def _pixels(picture: Picture) -> int:
    return picture.pixels.size // 3


def read_item(item: Encoded) -> bytes:
    """The bytes of an item. Raises OdpError if there are none."""
    if isinstance(item, Failure):
        raise OdpError(item.reason)
    return read_file(item) if isinstance(item, str) else item


def encode(
    inputs: Sequence[str | os.PathLike[str]] | str | os.PathLike[str],
    out: str | os.PathLike[str],
    target: Target | int = MAX_TOKENS,
    *,
    effort: int = 1,
    square: bool = False,
    background: Color | None = None,
    keep_files: bool = False,
    columns: Columns = ALL_COLUMNS,
    shard: Shard = Shard(),
    samples_per_part: int = SAMPLES_PER_PART,
    resume: bool = False,
    workers: int = 1,
    model: str | Path = DEFAULT,
    device: str = "cpu",
    max_pixels: int = MAX_PIXELS,
    report: Report | None = None,
) -> Progress:
    """Encode pictures into a token dataset.

    inputs:  folders, files, patterns or URLs of pictures, of WebDataset tars or of Parquet files;
        hf:OWNER/NAME for a dataset on the Hugging Face hub.
    out:     folder for the parts; with samples that failed, by key and reason, in `failures`.
    target, effort, background, model, device, max_pixels: as in `onedpiece.encode`.
    square:  reduce each picture to its central square of 256x256 pixels, which is one tile.
    keep_files: rows hold whole .odp files as well.
    columns: which columns of Parquet files are what, and what is passed through.
    shard:   which share of the sorted files to encode; other runs encode the others.
    samples_per_part: samples of a file of the dataset.
    resume:  continue after the parts that are there.
    workers: processes, with one thread each; 0 encodes in this process.
    report:  called after each chunk of samples.

    Raises OdpError for inputs or an output that cannot be used at all, DeviceError and ModelError,
    ValueError for arguments out of range. A sample that fails raises nothing: it is counted.
    """
    if isinstance(inputs, str | os.PathLike):
        inputs = [inputs]
    target = target if isinstance(target, Target) else Target(tokens=target)
    check_effort(effort)
    codec = Codec(model, device, threads=1, max_pixels=max_pixels)
    options = ReadOptions(max_pixels, background)
    source = Source([os.fspath(path) for path in inputs], suffixes(), columns)
    settings = (repr(target), effort, square, background, keep_files, max_pixels, columns)
    folder, work = Path(out), EncodeWork(codec, target, effort, options, square, keep_files)
    output = Output(folder, codec.model, settings, shard, samples_per_part, resume, keep_files)
    return run(source, work, output, workers, report)


@dataclass(frozen=True)
class Output:
    """Where a run writes, and what its parts must agree about."""

    folder: Path
    model: Model
    settings: tuple[Any, ...]
    shard: Shard
    samples_per_part: int
    resume: bool
    keep_files: bool

    def __post_init__(self) -> None:
        if self.samples_per_part < 1:
            raise ValueError("samples_per_part must be at least 1")


def run(
    source: Source,
    work: Work[Encoded, Row],
    output: Output,
    workers: int,
    report: Report | None = None,
) -> Progress:
    """Turn the samples of a source into the parts of a dataset.

    Raises OutputError if parts are there already and `resume` is not set.
    """
    start, shard, progress = time.monotonic(), output.shard, Progress()
    done = parts.finished(output.folder, shard.index, shard.count)
    if done and not output.resume:
        raise OutputError(f"{output.folder} has parts of this shard: --resume continues after them")
    job = _digest(source, output)
    end, is_complete = parts.end_of(done, job)
    progress.before = sum(part.rows for part in done)
    progress.failed = sum(part.about.failed for part in done)
    if is_complete:
        return progress
    token_set, number = output.model.token_set, len(done)
    name, fingerprint = token_set.name, token_set.fingerprint
    about = About(name, fingerprint, shard.index, shard.count, number, end, False, job)
    samples: list[list[Sample]] = []

    def chunks() -> Iterator[list[Encoded]]:
        for chunk in _chunks(source.samples(shard.index, shard.count, end)):
            samples.append(chunk)
            yield [_item(sample) for sample in chunk]

    limit = output.samples_per_part
    with (
        PartWriter(output.folder, about, source.passed, limit, output.keep_files) as writer,
        Workers(work, workers) as pool,
    ):
        for results in pool.map(chunks()):
            for sample, result in zip(samples.pop(0), results, strict=True):
                writer.add(sample, result)
            progress.failed += sum(isinstance(result, Failure) for result in results)
            progress.done += sum(not isinstance(result, Failure) for result in results)
            progress.seconds = time.monotonic() - start
            if report:
                report(progress)
        writer.finish()
    progress.left_out = dict(source.left_out)
    return progress


def _item(sample: Sample) -> Encoded:
    return Failure(sample.found.error) if sample.found.error else sample.found.data


def _chunks(samples: Iterator[Sample]) -> Iterator[list[Sample]]:
    """Groups of samples, limited in number and in bytes."""
    chunk: list[Sample] = []
    size = 0
    for sample in samples:
        chunk.append(sample)
        size += sample.found.size
        if len(chunk) == CHUNK or size > BYTES_OF_CHUNK:
            yield chunk
            chunk, size = [], 0
    if chunk:
        yield chunk


def _digest(source: Source, output: Output) -> str:
    """Changes with the names of the inputs and with the options that rows depend on."""
    fingerprint = output.model.token_set.fingerprint
    facts = [fingerprint, output.settings, output.samples_per_part, sorted(source.passed)]
    digest = hashlib.sha256(json.dumps(facts).encode())
    for place in source.files:
        digest.update(b"\0" + place.name.encode("utf-8", "surrogateescape"))
    return digest.hexdigest()[:32]
