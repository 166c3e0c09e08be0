"""Decode a token dataset to a folder of pictures, with worker processes."""

from __future__ import annotations

import os
import time
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any, NamedTuple

from onedpiece.codec import Codec, check_decoding
from onedpiece.constants import MAX_PIXELS
from onedpiece.datasets.encoding import Progress, Report
from onedpiece.datasets.outputs import file_of, write_failures, write_file
from onedpiece.datasets.parts import FAILURES, find_parts, rows_of
from onedpiece.datasets.rows import image_of
from onedpiece.datasets.workers import Failure, Workers, in_groups
from onedpiece.encoded_image import EncodedImage
from onedpiece.errors import OdpError
from onedpiece.images.writer import format_for, to_file_bytes
from onedpiece.models.registry import DEFAULT

CHUNK = 16  # rows that a worker gets at once


class Coded(NamedTuple):
    """What a worker gets for a row."""

    key: str
    front: bytes
    tokens: Any


@dataclass(frozen=True)
class DecodeWork:
    """What a worker does: rows to picture files in a folder."""

    codec: Codec
    folder: Path
    suffix: str
    num_tokens: int | None
    realism: float
    force: bool

    def __call__(self, items: list[Coded]) -> list[str | Failure]:
        """The keys of the pictures that were written."""
        return in_groups(items, self._read, _pixels, self._decode)

    def _read(self, item: Coded) -> tuple[str, EncodedImage]:
        file_of(self.folder, item.key, self.suffix)
        return item.key, image_of(
            item.front, item.tokens, self.codec.max_pixels, self.codec.tables_of
        )

    def _decode(self, read: list[tuple[str, EncodedImage]]) -> list[str]:
        images = [image for _, image in read]
        pictures = self.codec.decode_pictures(images, self.num_tokens, realism=self.realism)
        format_name = format_for(Path(f"x{self.suffix}"))
        for (key, _), picture in zip(read, pictures, strict=True):
            path = file_of(self.folder, key, self.suffix)
            write_file(path, to_file_bytes(picture, format_name), self.force)
        return [key for key, _ in read]


def _pixels(read: tuple[str, EncodedImage]) -> int:
    return read[1].header.decoded_pixels


def decode(
    path: str | os.PathLike[str],
    out: str | os.PathLike[str],
    num_tokens: int | None = None,
    *,
    realism: float = 1.0,
    suffix: str = ".png",
    force: bool = False,
    skip_existing: bool = False,
    workers: int = 1,
    model: str | Path = DEFAULT,
    decoder: str | None = None,
    device: str = "cpu",
    max_pixels: int = MAX_PIXELS,
    report: Report | None = None,
) -> Progress:
    """Decode a token dataset to picture files, which are called like their keys.

    path:   folder, file or pattern of the dataset.
    out:    folder for the pictures; with rows that failed, by key and reason, in `failures`.
    num_tokens, realism, model, decoder, device, max_pixels: as in `onedpiece.decode`.
    suffix: extension of the pictures, which says their format.
    force:  overwrite files; skip_existing leaves out rows whose file exists.
    workers, report: as in `encode`.

    Raises OdpError if there is no dataset or the format cannot be written, UnknownModel,
    DeviceError, ModelError and ValueError as `onedpiece.decode` does.
    """
    folder, progress, start = Path(out), Progress(), time.monotonic()
    check_decoding(num_tokens, realism)
    format_for(Path(f"x{suffix}"))
    codec = Codec(model, device, threads=1, max_pixels=max_pixels, decoder=decoder)
    work = DecodeWork(codec, folder, suffix, num_tokens, realism, force)
    items = _items(os.fspath(path), folder, suffix if skip_existing else None, progress)
    keys: deque[str] = deque()
    failures: list[dict[str, str]] = []

    def chunks() -> Iterator[list[Coded]]:
        while chunk := list(islice(items, CHUNK)):
            keys.extend(item.key for item in chunk)
            yield chunk

    with Workers(work, workers) as pool:
        for results in pool.map(chunks()):
            for key, result in [(keys.popleft(), result) for result in results]:
                if isinstance(result, Failure):
                    failures.append({"key": key, "reason": result.reason})
                else:
                    progress.done += 1
            progress.failed, progress.seconds = len(failures), time.monotonic() - start
            if report:
                report(progress)
    write_failures(folder / FAILURES / "decode.jsonl", failures)
    return progress


def _items(path: str, folder: Path, skipped: str | None, progress: Progress) -> Iterator[Coded]:
    """The rows of a dataset, without those whose file exists; `skipped` is its extension."""
    for part in find_parts(path):
        for row in rows_of(part, ["key", "front", "tokens"]):
            if skipped and _exists(folder, row["key"], skipped):
                progress.before += 1
            else:
                yield Coded(row["key"], row["front"], row["tokens"])


def _exists(folder: Path, key: str, suffix: str) -> bool:
    try:
        return file_of(folder, key, suffix).exists()
    except (OdpError, OSError):
        return False  # it fails when it is written, and is reported then
