"""Rate-distortion: every codec at the same sizes, picture by picture, on all cores, into a table that can be gone on with."""

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
from onedpiece.bench.protocol import read
from onedpiece.bench.table import Row, Table, read_rows
from onedpiece.codec import Codec
from onedpiece.errors import OdpError
from onedpiece.images.reader import Picture
from onedpiece.models.registry import find
from onedpiece.rate_control import Target

ODP, THUMBHASH = "odp", "thumbhash"
CODECS = (ODP, *codecs.NAMES)
FIXED = "fixed"


@dataclass(frozen=True)
class Run:
    """What to measure.

    pictures:   name in the table -> file.
    codecs:     some of CODECS.
    tokens:     sizes as tokens for each tile; conventional files may be as large as that file of `odp`.
    max_bytes:  sizes in bytes, for all codecs alike.
    out:        folder for the results.
    lpips:      folder with weights of LPIPS-squeeze.
    effort:     of `odp`, grain of what it decodes.
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
    grain: float = 1.0

    def targets(self) -> dict[str, Target]:
        """Setting -> what `odp` is asked for."""
        tokens = {f"{count} tokens": Target(tokens=count) for count in self.tokens}
        return tokens | {f"{size} bytes": Target(max_bytes=size) for size in self.max_bytes}


@dataclass(frozen=True)
class Task:
    """All files of one picture by one codec."""

    run: Run
    picture: str
    codec: str


Made = list[tuple[Row, bytes | None]]


Progress = Callable[[int], AbstractContextManager[Callable[[int], None]]]
"""Number of steps -> a context whose value is called with how many more of them are done."""


def measure(run: Run, jobs: int, progress: Progress) -> tuple[Table, list[str]]:
    """The table of a run, `run.out`/results.csv, and lines about what is missing on this machine.

    Files go to `run.out`/files. What is in the table already is not measured again. jobs: processes.
    Raises OdpError if the folder holds another run, or a picture cannot be read.
    """
    known, missing = metrics.available(run.lpips)
    formats, lacking = codecs.available()
    written = {ODP, *(format.name for format in formats)}
    missing += [line for line in lacking if line.partition(":")[0] in run.codecs]
    tried = [name for name in run.codecs if name in written]
    try:
        import thumbhash as _  # noqa: F401
    except ImportError as error:
        missing.append(f"{THUMBHASH}: {error}")
    else:
        tried.append(THUMBHASH)
    run.out.mkdir(parents=True, exist_ok=True)
    _describe(run, {format.name: format.version for format in formats if format.name in tried})
    table = Table(run.out / "results.csv", [metric.name for metric in known])
    tasks = [Task(run, picture, codec) for picture in run.pictures for codec in tried]
    waiting = [task for task in tasks if not _expected(task) <= table.keys]
    with progress(len(waiting)) as advance:
        for made in _all(waiting, jobs):
            for row, data in made:
                _keep(run.out, row, data)
            table.add([row for row, _ in made])
            advance(1)
    return table, missing


def reopened(
    pictures: dict[str, Path], out: Path, model: str, device: str
) -> tuple[Run, list[Row]]:
    """A finished run, as far as decoding needs it, and its rows. Raises OdpError if there is none in the folder."""
    if not (out / "run.json").is_file():
        raise OdpError(f"{out} holds no results of odp bench rd")
    facts = json.loads((out / "run.json").read_text())
    protocol = Protocol(facts["protocol"])
    grain = facts.get("grain", 1.0)
    run = Run(pictures, CODECS, (), (), protocol, out, model, device, None, grain=grain)
    return run, read_rows(out / "results.csv")


def decoded(run: Run, row: Row) -> np.ndarray:
    """Pixels of a row's file, uint8 (H, W, 3), at the size of the original."""
    data = path_of(run.out, row).read_bytes()
    if row.codec == ODP:
        return _painted(run, data)
    if row.codec == THUMBHASH:
        return thumbhash.decode(data, row.width, row.height)
    return codecs.decoded(_format(row.codec), data, row.width, row.height)


def path_of(out: Path, row: Row) -> Path:
    """Where the file of a row is kept."""
    suffixes = {"jpeg": ".jpg"}
    codec = row.codec.removesuffix(codecs.NATIVE)
    folder = out / "files" / row.codec / row.setting.replace(" ", "-")
    return folder / (row.picture + suffixes.get(codec, f".{codec}"))


def _describe(run: Run, versions: dict[str, str]) -> None:
    """Write down what the table cannot tell; refuse to mix runs whose results cannot be compared."""
    path = run.out / "run.json"
    facts: dict[str, Any] = {
        "protocol": str(run.protocol),
        "model": find(run.model).fingerprint,
        "effort": run.effort,
        "grain": run.grain,
    }
    before = {"effort": 1, "grain": 1.0, **json.loads(path.read_text())} if path.exists() else {}
    for name, value in facts.items():
        if before.get(name, value) != value:
            raise OdpError(f"{run.out} holds a run with another {name}: use another folder")
    facts |= {"codecs": {**before.get("codecs", {}), **versions}}
    path.write_text(json.dumps(facts, indent=2) + "\n")


def _keep(out: Path, row: Row, data: bytes | None) -> None:
    if data is not None:
        path = path_of(out, row)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)


def _expected(task: Task) -> set[tuple[str, str, str]]:
    """Keys of the rows that a task makes."""
    if task.codec == THUMBHASH:
        return {(task.picture, THUMBHASH, FIXED)}
    names = [task.codec] if task.codec == ODP else [task.codec, task.codec + codecs.NATIVE]
    return {(task.picture, name, setting) for name in names for setting in task.run.targets()}


def _all(tasks: Sequence[Task], jobs: int) -> Iterator[Made]:
    """Results in the order in which they are ready."""
    if min(jobs, len(tasks)) < 2:
        yield from map(_do, tasks)
        return
    context = multiprocessing.get_context("spawn")
    pool = ProcessPoolExecutor(min(jobs, len(tasks)), context, _one_thread)
    try:
        for future in as_completed([pool.submit(_do, task) for task in tasks]):
            yield future.result()
    finally:
        pool.shutdown(cancel_futures=True)


def _one_thread() -> None:
    """Every process is to keep to one core."""
    os.environ["OMP_NUM_THREADS"] = "1"


def _do(task: Task) -> Made:
    run = task.run
    picture = read(run.pictures[task.picture], run.protocol)
    if task.codec == ODP:
        return list(_ours(task, picture))
    if task.codec == THUMBHASH:
        data = thumbhash.encode(picture.pixels)
        height, width = picture.pixels.shape[:2]
        pixels = thumbhash.decode(data, width, height)
        return [(_row(task, FIXED, picture, None, data, pixels), data)]
    return list(_conventional(task, picture))


def _ours(task: Task, picture: Picture) -> Iterator[tuple[Row, bytes | None]]:
    for setting, target in task.run.targets().items():
        data = _encoded(task.run, picture, target)
        decoded = None
        if data is not None:
            decoded = _painted(task.run, data)
        budget = target.max_bytes
        yield _row(task, setting, picture, budget, data, decoded), data


def _conventional(task: Task, picture: Picture) -> Iterator[tuple[Row, bytes | None]]:
    ladder = codecs.Ladder(_format(task.codec), picture.pixels)
    for setting, target in task.run.targets().items():
        budget = target.max_bytes
        if budget is None:
            ours = _encoded(task.run, picture, target)
            assert ours is not None  # every picture can be coded with so many tokens
            budget = len(ours)
        for native, ending in ((False, ""), (True, codecs.NATIVE)):
            coded = ladder.best(budget, native)
            name = task.codec + ending
            if coded is None:
                yield _row(task, setting, picture, budget, None, None, name), None
            else:
                made = (coded.data, coded.pixels, name, coded.how)
                yield _row(task, setting, picture, budget, *made), coded.data


@cache
def _format(codec: str) -> codecs.Format:
    name = codec.removesuffix(codecs.NATIVE)
    return next(format for format in codecs.available()[0] if format.name == name)


def _encoded(run: Run, picture: Picture, target: Target) -> bytes | None:
    try:
        return _codec(run).encode_pictures([picture], target)[0]
    except OdpError:
        if target.max_bytes is None:
            raise
        return None  # it cannot be made so small


def _row(
    task: Task,
    setting: str,
    picture: Picture,
    budget: int | None,
    data: bytes | None,
    pixels: np.ndarray | None,
    codec: str | None = None,
    how: str = "",
) -> Row:
    height, width = picture.pixels.shape[:2]
    scores = {}
    if pixels is not None:
        scores = {m.name: m.score(picture.pixels, pixels) for m in _metrics(task.run.lpips)}
    size = None if data is None else len(data)
    named = codec or task.codec
    return Row(task.picture, named, setting, budget, size, width, height, how, scores)


@cache
def _metrics(lpips: Path | None) -> list[metrics.Metric]:
    return metrics.available(lpips)[0]


def _painted(run: Run, data: bytes) -> np.ndarray:
    codec = _codec(run)
    return codec.decode_files([codec.parse(data)])[0].pixels


def _codec(run: Run) -> Codec:
    return _loaded(run.model, run.device, run.effort, run.grain)


@cache
def _loaded(model: str, device: str, effort: int, grain: float) -> Codec:
    return Codec(model, device, threads=1, effort=effort, grain=grain)
