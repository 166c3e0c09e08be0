"""Token datasets as Parquet, as WebDataset tars of .odp files, and as folders of .odp files."""

from __future__ import annotations

import functools
import json
import os
import tarfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from onedpiece.constants import MAX_PIXELS
from onedpiece.datasets import tars
from onedpiece.datasets.encoding import (
    SAMPLES_PER_PART,
    Encoded,
    Output,
    Progress,
    Report,
    Shard,
    read_item,
    run,
)
from onedpiece.datasets.outputs import file_of, rename, write_failures, write_file
from onedpiece.datasets.parts import COLUMNS, FAILURES, find_parts, rows_of
from onedpiece.datasets.rows import Row, image_of, row_of
from onedpiece.datasets.sources import Columns, Source
from onedpiece.datasets.tars import Found
from onedpiece.datasets.workers import Failure, failure, in_groups
from onedpiece.encoded_image import EncodedImage
from onedpiece.errors import OdpError, OutputError
from onedpiece.models.registry import DEFAULT, Model, find, installed_tables

ODP = ".odp"
FORMATS = ("parquet", "tar", "folder")
REPORT_EVERY = 256  # samples


def convert(
    path: str | os.PathLike[str],
    out: str | os.PathLike[str],
    to: Literal["parquet", "tar", "folder"],
    *,
    columns: tuple[str, ...] | None = None,
    samples_per_part: int = SAMPLES_PER_PART,
    keep_files: bool = False,
    resume: bool = False,
    force: bool = False,
    model: str | Path = DEFAULT,
    max_pixels: int = MAX_PIXELS,
    report: Report | None = None,
) -> Progress:
    """Convert between Parquet, WebDataset tars and folders; no network runs.

    path:  a token dataset, or a folder, pattern or tar files of .odp files.
    out:   a folder; with samples that failed, by key and reason, in `failures`.
    columns: what to pass through; by default all columns. A folder has no place for them.
    samples_per_part: samples of a Parquet file, or of a tar file.
    keep_files, resume: for Parquet, as in `encode`.
    force: overwrite files.
    model: name or directory of a model to know besides the installed ones; for Parquet, the one of
        the files: those of other token sets fail.

    Raises OdpError for an input or output that cannot be used at all, ValueError for arguments out
    of range.
    """
    if to not in FORMATS or samples_per_part < 1:
        raise ValueError(f"to is one of {', '.join(FORMATS)}, and samples_per_part at least 1")
    source, folder = os.fspath(path), Path(out)
    is_dataset = source.endswith(".parquet") or any(Path(source).glob("*.parquet"))
    known = find(model)
    if to == "parquet":
        if is_dataset:
            raise OdpError(f"{source} is a Parquet dataset already")
        settings = ("convert", keep_files, max_pixels)
        output = Output(folder, known, settings, Shard(), samples_per_part, resume, keep_files)
        work = ParseWork(known, max_pixels, keep_files)
        return run(Source([source], {ODP}, Columns(passed=columns)), work, output, 0, report)
    samples = _of_dataset(source, columns, known) if is_dataset else _of_files(source, columns)
    with _TarWriter(folder, samples_per_part, force) as tar:
        write = tar.add if to == "tar" else functools.partial(_add_to_folder, folder, force)
        return _write_all(samples, write, folder, report)


@dataclass(frozen=True)
class ParseWork:
    """.odp files to rows."""

    model: Model
    max_pixels: int
    keep_files: bool

    def __call__(self, items: list[Encoded]) -> list[Row | Failure]:
        """Rows of files, in their order, or why there is none."""
        return in_groups(items, self._read, lambda row: 0, list)

    def _read(self, item: Encoded) -> Row:
        image = EncodedImage.from_bytes(read_item(item), self.max_pixels, self.model.tables_for)
        if not self.model.token_set.has(image.header.model):
            raise OdpError(f"its token set is not {self.model.token_set.name}")
        return row_of(image, self.keep_files)


def _of_dataset(path: str, columns: tuple[str, ...] | None, model: Model) -> Iterator[Found]:
    """The rows of a dataset as .odp files; `model` may be one that is not installed."""
    tables_of = functools.cache(functools.partial(installed_tables, also=model))
    for part in find_parts(path):
        passed = [name for name in part.schema.names if name not in COLUMNS]
        if columns is not None:
            passed = [name for name in passed if name in columns]
        for row in rows_of(part):
            values = {name: row[name] for name in passed}
            if not row["key"]:
                yield Found("", b"", values, "the key is empty")
                continue
            try:
                image = image_of(row["front"], row["tokens"], tables_of=tables_of)
                yield Found(row["key"], row.get("odp") or image.to_bytes(), values)
            except OdpError as error:
                yield Found(row["key"], b"", values, str(error))


def _of_files(path: str, columns: tuple[str, ...] | None) -> Iterator[Found]:
    for sample in Source([path], {ODP}, Columns(passed=columns)).samples():
        yield sample.found


def _write_all(
    samples: Iterator[Found],
    write: Callable[[Found, bytes], None],
    folder: Path,
    report: Report | None,
) -> Progress:
    progress, start = Progress(), time.monotonic()
    failures = []
    for sample in samples:
        try:
            write(sample, read_item(Failure(sample.error) if sample.error else sample.data))
            progress.done += 1
        except OutputError:
            raise
        except (OdpError, ValueError) as error:
            failures.append({"key": sample.key, "reason": failure(error).reason})
        progress.failed, progress.seconds = len(failures), time.monotonic() - start
        if report and (progress.done + progress.failed) % REPORT_EVERY == 0:
            report(progress)
    write_failures(folder / FAILURES / "convert.jsonl", failures)
    return progress


def _add_to_folder(folder: Path, force: bool, sample: Found, data: bytes) -> None:
    try:
        write_file(file_of(folder, sample.key, ODP), data, force)
    except OutputError as error:  # of this file: others go on
        raise OdpError(str(error)) from error


class _TarWriter:
    """Writes tar files of a number of samples each: 000000.tar, 000001.tar and so on."""

    def __init__(self, folder: Path, samples_per_tar: int, force: bool) -> None:
        self._folder, self._limit, self._force = folder, samples_per_tar, force
        self._tar: tarfile.TarFile | None = None
        self._samples = self._number = 0

    def __enter__(self) -> _TarWriter:
        return self

    def __exit__(self, kind: Any, error: Any, trace: Any) -> None:
        if self._tar is not None and error is None:
            self._finish()
        elif self._tar is not None:
            self._tar.close()
            self._partial.unlink(missing_ok=True)

    def add(self, sample: Found, data: bytes) -> None:
        """Add a sample. Raises OutputError, or OdpError for columns that JSON cannot hold."""
        labels = _label_members(sample.columns)
        try:
            if self._tar is None:
                self._begin()
            assert self._tar is not None
            tars.add_member(self._tar, sample.key, "odp", data)
            for extension, text in labels.items():
                tars.add_member(self._tar, sample.key, extension, text.encode())
        except OSError as error:
            raise OutputError(f"{self._target} cannot be written: {error.strerror}") from error
        self._samples += 1
        if self._samples == self._limit:
            self._finish()

    @property
    def _target(self) -> Path:
        return self._folder / f"{self._number:06d}.tar"

    @property
    def _partial(self) -> Path:
        return self._target.with_name(f".{self._target.name}.part")

    def _begin(self) -> None:
        if self._target.exists() and not self._force:
            raise OutputError(f"{self._target} exists: use --force to overwrite it")
        self._folder.mkdir(parents=True, exist_ok=True)
        self._tar = tarfile.open(self._partial, "w", format=tarfile.PAX_FORMAT)  # noqa: SIM115

    def _finish(self) -> None:
        assert self._tar is not None
        try:
            self._tar.close()
            rename(self._partial, self._target, sync=True)
        except OSError as error:
            raise OutputError(f"{self._target} cannot be written: {error.strerror}") from error
        self._tar, self._samples, self._number = None, 0, self._number + 1


def _label_members(columns: dict[str, Any]) -> dict[str, str]:
    """Columns as members: cls, txt and json as they are, all others in json.

    Raises OdpError for values that JSON cannot hold.
    """
    members = {name: str(columns[name]) for name in tars.LABELS if columns.get(name) is not None}
    others = {name: value for name, value in columns.items() if name not in tars.LABELS}
    if others and "json" not in members:
        try:
            members["json"] = json.dumps(others)
        except (TypeError, ValueError) as error:
            raise OdpError(f"its columns cannot be written as JSON: {error}") from error
    elif others:
        raise OdpError("it has a column json and others: choose some with --columns")
    return members
