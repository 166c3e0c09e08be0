"""Work on one file or on many: which input goes where, reading and writing beside the network, reports."""

from __future__ import annotations

import contextlib
import glob
import itertools
import json
import os
import stat
import sys
import traceback
from collections import Counter, deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Generic, TypeVar

import typer

from onedpiece.cli import files
from onedpiece.errors import DeviceError, ModelError, OdpError, OutputError

Loaded = TypeVar("Loaded")
Made = TypeVar("Made")

AHEAD = 8  # inputs read before they are needed, outputs not yet written
GROUP = 8  # files whose tiles share batches
PIXELS = 64 << 20  # of all pictures that are in memory, unless a single one has more
TILES_WITH_BAR = 50  # a picture of so many tiles has a progress bar of its own
PIXELS_PER_TILE = 1 << 16


FAILURES = (OdpError, OSError, MemoryError)  # of one file; the others go on


def counted(number: int, noun: str) -> str:
    """The number and the noun, which gets an s unless it is one."""
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"


@dataclass(frozen=True)
class Job:
    """One input and where its output goes."""

    source: Path
    target: Path


@dataclass(frozen=True)
class Inputs:
    """What the command line says about inputs and outputs.

    paths:      files, folders and patterns; IN OUT without out_dir and files_from.
    out_dir:    folder for the outputs.
    files_from: file with more inputs, one on each line; "-" is standard input.
    recursive:  take folders with everything below them.
    skip:       leave out inputs whose outputs exist.
    kind:       what inputs are, for messages.
    """

    paths: list[Path]
    out_dir: Path | None
    files_from: Path | None = None
    recursive: bool = False
    skip: bool = False
    kind: str = ".odp files"


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

    def summary(self, done: int, skipped: int, failed: int) -> None:
        """The end of a batch."""
        counts = {"done": done, "skipped": skipped, "failed": failed}
        if self.json:
            print(json.dumps({"summary": counts}), flush=True)
        elif not self.quiet or failed:
            told = ", ".join(f"{count} {name}" for name, count in counts.items())
            print(f"odp: {told}", file=sys.stderr)

    def failed(self, source: Path, error: Exception) -> None:
        if self.json:
            print(json.dumps({"input": str(source), "error": str(error)}), flush=True)
        if os.environ.get("ODP_DEBUG"):
            traceback.print_exception(error)
        print(f"odp: {source}: {error}", file=sys.stderr)


@dataclass(frozen=True)
class Work(Generic[Loaded, Made]):
    """The steps of a verb. `read` and `write` run in threads, the others in the main one.

    weigh:   job -> pixels of its picture, from the beginning of the file; raises OdpError.
    read:    job -> what the network needs; raises OdpError.
    process: several of them at once -> results in the same order; raises OdpError.
    write:   job, what `read` gave, result -> what to report; raises OdpError.
    group:   files to process at once; more than one if their tiles can share batches.
    """

    weigh: Callable[[Job], int]
    read: Callable[[Job], Loaded]
    process: Callable[[list[Loaded]], list[Made]]
    write: Callable[[Job, Loaded, Made], Done]
    group: int = GROUP


def plan(inputs: Inputs, suffix: str, suffixes: set[str]) -> list[Job]:
    """IN OUT without --out-dir, else every input into that folder.

    Below a folder that is named as input, and for relative names in a list, the tree is kept.
    suffix: of outputs in a folder; suffixes: what counts as an input inside a folder that is named as input.
    Raises typer.BadParameter for wrong usage and OdpError if the list cannot be read.
    """
    if inputs.out_dir is None:
        if len(inputs.paths) != 2 or inputs.files_from or inputs.recursive:
            raise typer.BadParameter("give IN and OUT, or --out-dir for several inputs")
        if inputs.paths[0].is_dir():
            raise typer.BadParameter(f"{inputs.paths[0]} is a folder: use --out-dir")
        return [Job(inputs.paths[0], inputs.paths[1])]
    return [
        Job(source, inputs.out_dir / name.with_name(name.stem + suffix))
        for source, name in _found(inputs, suffixes)
    ]


def survey(inputs: Inputs, look: Callable[[Path], None], report: Report) -> None:
    """Look at .odp files without making any; a failed one does not stop the others.

    look: path -> None; prints what is to be told, raises OdpError.
    Raises typer.BadParameter if there are no inputs, and typer.Exit(1) if any failed.
    """
    failed = False
    for source, _ in _found(inputs, {".odp"}):
        try:
            _check_no_folder(source, inputs)
            look(source)
        except BrokenPipeError:
            raise  # nobody reads our output any more
        except FAILURES as error:
            failed = True
            report.failed(source, error)
    if failed:
        raise typer.Exit(1)


def _found(inputs: Inputs, suffixes: set[str]) -> list[tuple[Path, Path]]:
    """All inputs, and names for their outputs."""
    found = list(expand(inputs.paths, suffixes, inputs.recursive))
    if inputs.files_from:
        found += [(path, _below(path)) for path in _listed(inputs.files_from)]
    if not found:
        raise typer.BadParameter("there are no inputs")
    return found


def _check_no_folder(source: Path, inputs: Inputs) -> None:
    """Raise OdpError for a folder that stands among the inputs itself, instead of what it holds."""
    try:
        if not source.is_dir():
            return
        os.listdir(source)
    except OSError as error:
        raise OdpError(f"cannot be opened: {error.strerror}") from error
    if source not in inputs.paths:
        raise OdpError("this is a folder")
    hint = "" if inputs.recursive else "; --recursive looks below it too"
    raise OdpError(f"the folder holds no {inputs.kind}{hint}")


def expand(
    paths: Iterable[Path], suffixes: set[str], recursive: bool
) -> Iterator[tuple[Path, Path]]:
    """Files as they are, folders as the files in them, patterns as what they match; and names for their outputs."""
    for path in paths:
        found = []
        with contextlib.suppress(OSError):
            if path.is_dir():
                found = _inside(path, suffixes, recursive)
            elif not path.exists() and glob.has_magic(str(path)):
                found = _matches(path)
        # What is not there, or a folder that holds nothing, fails when it is read, and is reported then.
        yield from found or [(path, Path(path.name or "folder"))]


def _inside(folder: Path, suffixes: set[str], recursive: bool) -> list[tuple[Path, Path]]:
    """Files, and folders that cannot be looked into, which fail when they are read."""
    closed: list[OSError] = []
    found = []
    for place, folders, names in os.walk(folder, onerror=closed.append):
        if not recursive:
            folders.clear()
        here = (Path(place, name) for name in names)
        found += [path for path in here if path.suffix.lower() in suffixes and _may_be_file(path)]
    found += [Path(error.filename) for error in closed if error.filename != str(folder)]
    return [(path, path.relative_to(folder)) for path in sorted(found)]


def _may_be_file(path: Path) -> bool:
    try:
        return stat.S_ISREG(path.stat().st_mode)
    except OSError:
        return True  # fails when it is read


def _matches(pattern: Path) -> list[tuple[Path, Path]]:
    root = Path(*itertools.takewhile(lambda part: not glob.has_magic(part), pattern.parts))
    matches = map(Path, sorted(glob.glob(str(pattern), recursive=True)))
    return [(match, match.relative_to(root)) for match in matches if not match.is_dir()]


def _listed(list_file: Path) -> Iterator[Path]:
    """Paths of a list whose lines end as those of `find` do, or in zeros as those of `find -print0` do."""
    try:
        data = files.read(list_file)
    except OdpError as error:
        raise type(error)(f"{list_file}: {error}") from error
    for line in data.split(b"\0" if b"\0" in data else b"\n"):
        path = Path(os.fsdecode(line.rstrip(b"\r")))
        if path == files.STREAM:
            raise OdpError(f"{list_file} names standard input")
        if path.name not in ("", ".."):  # find's "." is no file
            yield path


def _below(path: Path) -> Path:
    """Where the output of a path of a list goes: the same tree, but never out of the output folder."""
    return Path(*(part for part in path.parts if part not in (path.anchor, "..")))


def _taken(path: Path) -> bool:
    try:
        return path.exists()
    except OSError:
        return False  # such a name fails when it is written


@contextlib.contextmanager
def tile_bar(
    jobs: list[Job], weigh: Callable[[Job], int], silent: bool
) -> Iterator[Callable[[int], None]]:
    """A progress bar for the tiles of a single large picture, where there is a terminal to show it on."""
    tiles = 0
    if len(jobs) == 1 and not silent and sys.stderr.isatty():
        with contextlib.suppress(*FAILURES):  # will be reported when the picture is read
            tiles = weigh(jobs[0]) // PIXELS_PER_TILE if files.is_regular(jobs[0].source) else 0
    with progress(tiles if tiles >= TILES_WITH_BAR else 0) as advance:
        yield advance


def run(
    inputs: Inputs, jobs: list[Job], work: Work[Loaded, Made], report: Report, force: bool
) -> None:
    """Do all jobs; a failed one does not stop the others. Raises typer.Exit(1) if any failed."""
    failures = 0
    claimed: set[Path] = set()
    # An output that several inputs share says nothing about the others.
    shared = Counter(job.target for job in jobs)
    todo = [
        job for job in jobs if not (inputs.skip and shared[job.target] == 1 and _taken(job.target))
    ]
    with_bar = report.wants_bar(len(todo))

    def load(job: Job) -> Loaded:
        _check_no_folder(job.source, inputs)
        files.check_free(job.target, force)
        return work.read(job)

    def write(job: Job, loaded: Loaded, made: Made) -> Done:
        if inputs.out_dir is not None:
            files.make_folder(job.target.parent)
        return work.write(job, loaded, made)

    def finish(oldest: tuple[Job, Future[Done]]) -> None:
        nonlocal failures
        try:
            report.done(oldest[0], oldest[1].result(), with_bar)
        except BrokenPipeError:
            raise  # nobody reads our output any more
        except FAILURES as error:
            failures += 1
            report.failed(oldest[0].source, error)

    with ThreadPoolExecutor(4) as pool, progress(len(todo) if with_bar else 0) as advance:
        writing: deque[tuple[Job, Future[Done]]] = deque()
        for group in _groups(pool, load, _weighed(work, todo), work.group):
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
                if isinstance(made, Exception):
                    failures += 1
                    report.failed(job.source, made)
                else:
                    writing.append((job, pool.submit(write, job, loaded, made)))
            while len(writing) > len(group):  # outputs of groups before this one
                finish(writing.popleft())
            advance(len(group))
        while writing:
            finish(writing.popleft())
    if len(jobs) > 1 or (report.json and inputs.out_dir is not None):
        report.summary(len(todo) - failures, len(jobs) - len(todo), failures)
    if failures:
        raise typer.Exit(1)


def _process(
    ready: list[tuple[Job, Loaded]], work: Work[Loaded, Made]
) -> Iterator[tuple[Job, Loaded, Made | Exception]]:
    """Results of a group; if the group fails as a whole, of its members one by one."""
    if not ready:
        return
    try:
        made: list[Any] = work.process([loaded for _, loaded in ready])
    except (DeviceError, ModelError):
        raise  # would fail for every file
    except (OdpError, MemoryError) as error:
        if len(ready) == 1:
            made = [error]
        else:
            for one in ready:
                yield from _process([one], work)
            return
    for (job, loaded), result in zip(ready, made, strict=True):
        yield job, loaded, result


def _weighed(work: Work[Any, Any], jobs: Iterable[Job]) -> Iterator[tuple[Job, int]]:
    for job in jobs:
        pixels = 0
        with contextlib.suppress(*FAILURES):  # fails again, and is reported, when it is read
            if files.is_regular(job.source):  # a pipe must not be opened twice
                pixels = work.weigh(job)
        yield job, pixels


def _groups(
    pool: ThreadPoolExecutor,
    load: Callable[[Job], Loaded],
    jobs: Iterator[tuple[Job, int]],
    size: int,
) -> Iterator[list[tuple[Job, Future[Loaded]]]]:
    """Jobs to be done together, while the inputs of more are being read: at most PIXELS or one picture in all."""
    waiting: deque[tuple[Job, int, Future[Loaded]]] = deque()
    pixels, held = 0, next(jobs, None)
    while held or waiting:
        while held and len(waiting) < AHEAD + GROUP and (not waiting or pixels + held[1] <= PIXELS):
            job, weight = held
            waiting.append((job, weight, pool.submit(load, job)))
            pixels, held = pixels + weight, next(jobs, None)
        group = [waiting.popleft() for _ in range(min(size, len(waiting)))]
        yield [(job, future) for job, _, future in group]
        pixels -= sum(weight for _, weight, _ in group)


@contextlib.contextmanager
def progress(total: int) -> Iterator[Callable[[int], None]]:
    """A progress bar on stderr, as a function to advance it; nothing for a total of 0."""
    if not total:
        yield lambda count: None
        return
    from rich.console import Console
    from rich.progress import Progress

    with Progress(console=Console(stderr=True), transient=True, redirect_stdout=False) as bar:
        task = bar.add_task("", total=total)
        yield lambda count: bar.advance(task, count)
