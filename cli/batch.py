"""Work on one file or on many: which input goes where, reading and writing beside the network, reports."""

from __future__ import annotations

import glob
import json
import os
import sys
import traceback
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any, Generic, TypeVar

import typer

from onedpiece.cli import files
from onedpiece.errors import DeviceError, ModelError, OdpError, OutputError

Loaded = TypeVar("Loaded")
Made = TypeVar("Made")

AHEAD = 8  # inputs read before they are needed, outputs not yet written
GROUP = 8  # files whose tiles share batches
FAILURES = (OdpError, OSError, MemoryError)  # of one file; the others go on


@dataclass(frozen=True)
class Job:
    """One input and where its output goes."""

    source: Path
    target: Path


@dataclass(frozen=True)
class Done:
    """What came of a job: facts for JSON, a line for people, and what they should know in any case."""

    facts: dict[str, Any]
    line: str
    warning: str | None = None


@dataclass(frozen=True)
class Report:
    """How to tell what was done: `quiet` (failures only), JSON lines on stdout, or a line each on stderr."""

    quiet: bool
    json: bool

    def wants_bar(self, jobs: int) -> bool:
        """Whether a progress bar stands in for the lines: a batch, on a terminal."""
        return jobs > 1 and sys.stderr.isatty() and not self.quiet and not self.json

    def done(self, job: Job, done: Done, with_bar: bool) -> None:
        if self.json:
            facts = {"input": str(job.source), "output": str(job.target), **done.facts}
            print(json.dumps(facts), flush=True)
        elif not self.quiet and not with_bar:
            print(f"{job.source} -> {job.target}  {done.line}", file=sys.stderr)
        if done.warning:
            print(f"odp: {job.source}: {done.warning}", file=sys.stderr)

    def failed(self, source: Path, error: Exception) -> None:
        if self.json:
            print(json.dumps({"input": str(source), "error": str(error)}), flush=True)
        if os.environ.get("ODP_DEBUG"):
            traceback.print_exception(error)
        print(f"odp: {source}: {error}", file=sys.stderr)


@dataclass(frozen=True)
class Work(Generic[Loaded, Made]):
    """The three steps of a verb. `read` and `write` run in threads, `process` in the main one.

    read:    job -> what the network needs; raises OdpError.
    process: several of them at once -> results in the same order; raises OdpError.
    write:   job, what `read` gave, result -> what to report; raises OdpError.
    """

    read: Callable[[Job], Loaded]
    process: Callable[[list[Loaded]], list[Made]]
    write: Callable[[Job, Loaded, Made], Done]


def plan(paths: list[Path], out_dir: Path | None, suffix: str, suffixes: set[str]) -> list[Job]:
    """IN OUT without --out-dir, else every input (files, folders, patterns) into that folder.

    suffix: of outputs in a folder; suffixes: what counts as an input inside a folder that is named as input.
    Raises typer.BadParameter for wrong usage and OutputError if the folder cannot be made.
    """
    if out_dir is None:
        if len(paths) != 2:
            raise typer.BadParameter("give IN and OUT, or --out-dir for several inputs")
        return [Job(paths[0], paths[1])]
    try:
        out_dir.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise OutputError(f"{out_dir} cannot be made: {error.strerror}") from error
    return [Job(source, out_dir / (source.stem + suffix)) for source in expand(paths, suffixes)]


def expand(paths: Iterable[Path], suffixes: set[str]) -> Iterator[Path]:
    """Files as they are, folders as the files in them, patterns as what they match."""
    for path in paths:
        if path.is_dir():
            yield from (
                sorted(p for p in path.iterdir() if p.suffix.lower() in suffixes and p.is_file())
                or [path]  # nothing in it: fails as a file
            )
        elif not path.exists() and glob.has_magic(str(path)):
            yield from map(Path, sorted(glob.glob(str(path))) or [str(path)])
        else:
            yield path


def run(jobs: list[Job], work: Work[Loaded, Made], report: Report, force: bool) -> None:
    """Do all jobs; a failed one does not stop the others. Raises typer.Exit(1) if any failed."""
    failures = 0
    claimed: set[Path] = set()
    with_bar = report.wants_bar(len(jobs))

    def load(job: Job) -> Loaded:
        files.check_free(job.target, force)
        return work.read(job)

    def finish(oldest: tuple[Job, Future[Done]]) -> None:
        nonlocal failures
        try:
            report.done(oldest[0], oldest[1].result(), with_bar)
        except BrokenPipeError:
            raise  # nobody reads our output any more
        except FAILURES as error:
            failures += 1
            report.failed(oldest[0].source, error)

    with ThreadPoolExecutor(4) as pool, _Progress(len(jobs) if with_bar else 0) as advance:
        writing: deque[tuple[Job, Future[Done]]] = deque()
        for group in _groups(_ahead(pool, load, jobs)):
            ready = []
            for job, future in group:
                try:
                    if job.target in claimed:
                        raise OutputError(f"{job.target} is the output of another input too")
                    ready.append((job, future.result()))
                    claimed.add(job.target)
                except FAILURES as error:
                    failures += 1
                    report.failed(job.source, error)
            for job, loaded, made in _process(ready, work):
                if isinstance(made, OdpError):
                    failures += 1
                    report.failed(job.source, made)
                else:
                    writing.append((job, pool.submit(work.write, job, loaded, made)))
            while len(writing) > AHEAD:
                finish(writing.popleft())
            advance(len(group))
        while writing:
            finish(writing.popleft())
    if failures:
        if len(jobs) > 1:
            print(f"odp: {failures} of {len(jobs)} files failed", file=sys.stderr)
        raise typer.Exit(1)


def _process(
    ready: list[tuple[Job, Loaded]], work: Work[Loaded, Made]
) -> Iterator[tuple[Job, Loaded, Made | OdpError]]:
    """Results of a group; if the group fails as a whole, of its members one by one."""
    if not ready:
        return
    try:
        made: list[Any] = work.process([loaded for _, loaded in ready])
    except (DeviceError, ModelError):
        raise  # would fail for every file
    except OdpError as error:
        if len(ready) == 1:
            made = [error]
        else:
            for one in ready:
                yield from _process([one], work)
            return
    for (job, loaded), result in zip(ready, made, strict=True):
        yield job, loaded, result


def _ahead(
    pool: ThreadPoolExecutor, load: Callable[[Job], Loaded], jobs: Iterable[Job]
) -> Iterator[tuple[Job, Future[Loaded]]]:
    """Jobs with their inputs being read, at most AHEAD of them at a time."""
    coming = iter(jobs)
    waiting = deque((job, pool.submit(load, job)) for job in islice(coming, AHEAD))
    while waiting:
        yield waiting.popleft()
        waiting.extend((job, pool.submit(load, job)) for job in islice(coming, 1))


def _groups(items: Iterator[Any]) -> Iterator[list[Any]]:
    while group := list(islice(items, GROUP)):
        yield group


class _Progress:
    """A progress bar on stderr, or nothing for a total of 0. Enters as a function to advance it."""

    def __init__(self, total: int) -> None:
        self._total = total
        self._bar: Any = None

    def __enter__(self) -> Callable[[int], None]:
        if not self._total:
            return lambda count: None
        from rich.console import Console
        from rich.progress import Progress

        self._bar = Progress(console=Console(stderr=True), transient=True, redirect_stdout=False)
        self._bar.start()
        task = self._bar.add_task("", total=self._total)
        return lambda count: self._bar.advance(task, count)

    def __exit__(self, *error: object) -> None:
        if self._bar:
            self._bar.stop()
