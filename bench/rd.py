"""Rate-distortion: files of every codec at the same sizes, on all cores, into a resumable table."""

from __future__ import annotations

import json
import multiprocessing
import os
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from contextlib import AbstractContextManager
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

from onedpiece.bench import Protocol, codecs, metrics, thumbhash
from onedpiece.bench.odp import Odp
from onedpiece.bench.protocol import read
from onedpiece.bench.table import Row, Table, read_rows
from onedpiece.errors import OdpError
from onedpiece.images.picture import Picture
from onedpiece.models.registry import find

ODP, THUMBHASH = "odp", "thumbhash"
CODECS = (ODP, *codecs.NAMES)
FIXED = "fixed"  # the setting of a codec that offers one size only


@dataclass(frozen=True)
class Setting:
    """A requested size: tokens per tile of `odp`, or bytes of the whole file. One of them is None.

    name: as in the table: "64 tokens", "200 bytes".
    """

    name: str
    tokens: int | None
    max_bytes: int | None


@dataclass(frozen=True)
class Run:
    """What to measure.

    pictures:   name in the table -> file.
    codecs:     some of CODECS.
    tokens:     sizes in tokens per tile; other codecs may use as many bytes as that file of `odp`.
    max_bytes:  sizes in bytes, the same for all codecs.
    out:        folder for the results.
    model, device, effort, realism: of `odp`, see `Odp`.
    lpips:      folder with the weights of LPIPS-squeeze, or None.
    """

    pictures: dict[str, Path]
    codecs: tuple[str, ...]
    tokens: tuple[int, ...]
    max_bytes: tuple[int, ...]
    protocol: Protocol
    out: Path
    model: str
    device: str
    lpips: Path | None
    effort: int = 1
    realism: float = 1.0

    @property
    def settings(self) -> dict[str, Setting]:
        """All requested sizes by name."""
        sizes = [Setting(f"{count} tokens", count, None) for count in self.tokens]
        sizes += [Setting(f"{size} bytes", None, size) for size in self.max_bytes]
        return {setting.name: setting for setting in sizes}


@dataclass(frozen=True)
class Task:
    """All files of one picture by one codec."""

    run: Run
    picture: str
    codec: str


Result = tuple[Row, bytes | None]
"""A row and its file, if there is one."""

Progress = Callable[[int], AbstractContextManager[Callable[[int], None]]]
"""Number of steps -> a context whose value is called with the number of steps just finished."""


def measure(run: Run, jobs: int, progress: Progress) -> tuple[Table, list[str]]:
    """The table `run.out`/results.csv, and lines about what this machine cannot measure.

    Files are kept in `run.out`/files. Rows that the table holds already are not measured again.
    jobs: number of processes.
    Raises OdpError if the folder holds a different run, or a picture cannot be read.
    """
    available_metrics, missing = metrics.available(run.lpips)
    formats, missing_formats = codecs.available()
    writable = {ODP, *(format.name for format in formats)}
    missing += [line for line in missing_formats if line.partition(":")[0] in run.codecs]
    tried = [name for name in run.codecs if name in writable]
    try:
        import thumbhash as _  # noqa: F401
    except ImportError as error:
        missing.append(f"{THUMBHASH}: {error}")
    else:
        tried.append(THUMBHASH)
    run.out.mkdir(parents=True, exist_ok=True)
    _write_facts(run, {format.name: format.version for format in formats if format.name in tried})
    table = Table(run.out / "results.csv", [metric.name for metric in available_metrics])
    tasks = [Task(run, picture, codec) for picture in run.pictures for codec in tried]
    pending = [task for task in tasks if not _keys(task) <= table.keys]
    with progress(len(pending)) as advance:
        for results in _run_all(pending, jobs):
            for row, data in results:
                _keep(run.out, row, data)
            table.add([row for row, _ in results])
            advance(1)
    return table, missing


def reopen(pictures: dict[str, Path], out: Path, model: str, device: str) -> tuple[Run, list[Row]]:
    """A finished run, as far as decoding needs it, and its rows.

    Raises OdpError if the folder holds no run.
    """
    if not (out / "run.json").is_file():
        raise OdpError(f"{out} holds no results of odp bench rd")
    facts = json.loads((out / "run.json").read_text())
    protocol = Protocol(facts["protocol"])
    realism = facts.get("realism", 1.0)
    run = Run(pictures, CODECS, (), (), protocol, out, model, device, None, realism=realism)
    return run, read_rows(out / "results.csv")


def decode(run: Run, row: Row) -> np.ndarray:
    """The pixels of a row's file, uint8 (H, W, 3), at the size of the original."""
    data = path_of(run.out, row).read_bytes()
    if row.codec == ODP:
        return _odp(run).decode(data)
    if row.codec == THUMBHASH:
        return thumbhash.decode(data, row.width, row.height)
    return codecs.decode(_format(row.codec), data, row.width, row.height)


def path_of(out: Path, row: Row) -> Path:
    """Where the file of a row is kept."""
    suffixes = {"jpeg": ".jpg"}
    codec = row.codec.removesuffix(codecs.NATIVE)
    folder = out / "files" / row.codec / row.setting.replace(" ", "-")
    return folder / (row.picture + suffixes.get(codec, f".{codec}"))


def _write_facts(run: Run, versions: dict[str, str]) -> None:
    """Write run.json. Raises OdpError if the folder's results cannot be compared with this run."""
    path, model = run.out / "run.json", find(run.model)
    facts: dict[str, Any] = {
        "protocol": str(run.protocol),
        "model": model.fingerprint,
        "decoder": f"{model.decoder.name} {model.decoder.version}",
        "effort": run.effort,
        "realism": run.realism,
    }
    stored = {"effort": 1, "realism": 1.0, **json.loads(path.read_text())} if path.exists() else {}
    for name, value in facts.items():
        if stored.get(name, value) != value:
            raise OdpError(f"{run.out} holds a run with another {name}: use another folder")
    facts |= {"codecs": {**stored.get("codecs", {}), **versions}}
    path.write_text(json.dumps(facts, indent=2) + "\n")


def _keep(out: Path, row: Row, data: bytes | None) -> None:
    if data is not None:
        path = path_of(out, row)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)


def _keys(task: Task) -> set[tuple[str, str, str]]:
    """The keys of the rows that a task produces."""
    if task.codec == THUMBHASH:
        return {(task.picture, THUMBHASH, FIXED)}
    names = [task.codec] if task.codec == ODP else [task.codec, task.codec + codecs.NATIVE]
    return {(task.picture, name, setting) for name in names for setting in task.run.settings}


def _run_all(tasks: Sequence[Task], jobs: int) -> Iterator[list[Result]]:
    """Results of every task, in the order in which they are ready."""
    if min(jobs, len(tasks)) < 2:
        yield from map(_run_task, tasks)
        return
    context = multiprocessing.get_context("spawn")
    pool = ProcessPoolExecutor(min(jobs, len(tasks)), context, _use_one_thread)
    try:
        for future in as_completed([pool.submit(_run_task, task) for task in tasks]):
            yield future.result()
    finally:
        pool.shutdown(cancel_futures=True)


def _use_one_thread() -> None:
    """Keep a worker process to one core."""
    os.environ["OMP_NUM_THREADS"] = "1"


def _run_task(task: Task) -> list[Result]:
    picture = read(task.run.pictures[task.picture], task.run.protocol)
    if task.codec == ODP:
        return list(_odp_results(task, picture))
    if task.codec == THUMBHASH:
        return [_thumbhash_result(task, picture)]
    return list(_conventional_results(task, picture))


def _odp_results(task: Task, picture: Picture) -> Iterator[Result]:
    for setting in task.run.settings.values():
        data = _encode(task.run, picture, setting)
        pixels = None if data is None else _odp(task.run).decode(data)
        yield _row(task, setting.name, picture, setting.max_bytes, data, pixels), data


def _thumbhash_result(task: Task, picture: Picture) -> Result:
    data = thumbhash.encode(picture.pixels)
    height, width = picture.pixels.shape[:2]
    pixels = thumbhash.decode(data, width, height)
    return _row(task, FIXED, picture, None, data, pixels), data


def _conventional_results(task: Task, picture: Picture) -> Iterator[Result]:
    ladder = codecs.Ladder(_format(task.codec), picture.pixels)
    for setting in task.run.settings.values():
        budget = setting.max_bytes
        if budget is None:
            reference = _encode(task.run, picture, setting)
            assert reference is not None  # every picture has a file of so many tokens
            budget = len(reference)
        for native, suffix in ((False, ""), (True, codecs.NATIVE)):
            best = ladder.best(budget, native)
            name = task.codec + suffix
            if best is None:
                yield _row(task, setting.name, picture, budget, None, None, name), None
            else:
                file = (best.data, best.pixels, name, best.settings)
                yield _row(task, setting.name, picture, budget, *file), best.data


def _encode(run: Run, picture: Picture, setting: Setting) -> bytes | None:
    """The file of `odp`; None if none is small enough for a limit in bytes."""
    try:
        return _odp(run).encode(picture, setting.tokens, setting.max_bytes)
    except OdpError:
        if setting.max_bytes is None:
            raise
        return None


def _row(
    task: Task,
    setting: str,
    picture: Picture,
    budget: int | None,
    data: bytes | None,
    pixels: np.ndarray | None,
    codec: str | None = None,
    options: str = "",
) -> Row:
    height, width = picture.pixels.shape[:2]
    scores = {}
    if pixels is not None:
        scores = {m.name: m.score(picture.pixels, pixels) for m in _metrics(task.run.lpips)}
    size = None if data is None else len(data)
    name = codec or task.codec
    return Row(task.picture, name, setting, budget, size, width, height, options, scores)


@cache
def _format(codec: str) -> codecs.Format:
    name = codec.removesuffix(codecs.NATIVE)
    return next(format for format in codecs.available()[0] if format.name == name)


@cache
def _metrics(lpips: Path | None) -> list[metrics.Metric]:
    return metrics.available(lpips)[0]


def _odp(run: Run) -> Odp:
    return _loaded(run.model, run.device, run.effort, run.realism)


@cache
def _loaded(model: str, device: str, effort: int, realism: float) -> Odp:
    return Odp(model, device, threads=1, effort=effort, realism=realism)
