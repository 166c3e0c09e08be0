"""Read, process and write many files: threads read and write while the networks compute.

Nothing here depends on the library of the command line: failures are reported and counted.
"""

from __future__ import annotations

import contextlib
import sys
import warnings
from collections import Counter, deque
from collections.abc import Callable, Iterable, Iterator, Set
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Generic, TypeVar

from onedpiece.cli import files
from onedpiece.cli.inputs import Inputs, Job, check_not_folder, list_sources
from onedpiece.cli.report import Outcome, Report, progress
from onedpiece.errors import (
    DeviceError,
    ModelError,
    OdpError,
    OutputError,
    TruncatedFileWarning,
)

if TYPE_CHECKING:
    from concurrent.futures import Future, ThreadPoolExecutor

Loaded = TypeVar("Loaded")
Result = TypeVar("Result")

THREADS = 4
GROUP = 8  # files to process together, so that their tiles can share batches
READ_AHEAD = 8  # inputs to read beyond one group
PIXELS_IN_MEMORY = 64 << 20  # of all pictures together, unless a single one has more


@dataclass(frozen=True)
class Work(Generic[Loaded, Result]):
    """The steps of a verb. Each raises OdpError. `read` and `write` run in threads.

    count_pixels: job -> number of pixels, from the beginning of the file.
    read:         job -> what `process` needs.
    process:      what `read` returned for several jobs -> their results, in the same order.
    write:        job, what `read` returned, result -> what to report.
    """

    count_pixels: Callable[[Job], int]
    read: Callable[[Job], Loaded]
    process: Callable[[list[Loaded]], list[Result]]
    write: Callable[[Job, Loaded, Result], Outcome]


def survey(
    inputs: Inputs,
    inspect: Callable[[Path], None],
    report: Report,
    suffixes: Set[str] = frozenset({".odp"}),
) -> int:
    """Inspect files without writing any, and return the number of failures.

    inspect:  prints a report on a file; raises OdpError.
    suffixes: of the files in a folder that are inputs, in lower case.

    Raises UsageError if there are no inputs.
    """
    failures = 0
    for source, _ in list_sources(inputs, suffixes):
        try:
            check_not_folder(source, inputs)
            with warnings.catch_warnings(record=True) as caught:
                warnings.simplefilter("always", TruncatedFileWarning)
                inspect(source)
            for warning in caught:
                print(f"odp: {source}: {warning.message}", file=sys.stderr)
        except BrokenPipeError:
            raise  # the reader has closed our stdout
        except files.ERRORS as error:
            failures += 1
            report.failed(source, error)
    return failures


def run(
    inputs: Inputs, jobs: list[Job], work: Work[Loaded, Result], report: Report, force: bool
) -> int:
    """Do all jobs, also after one has failed, and return the number of failures.

    Raises DeviceError and ModelError, since they would stop every job.
    """
    from concurrent.futures import ThreadPoolExecutor

    pending = not_skipped(jobs, inputs.skip)
    with_bar = report.wants_bar(len(pending))
    with (
        ThreadPoolExecutor(THREADS) as pool,
        progress(len(pending) if with_bar else 0, "files") as advance,
    ):
        batch = _Batch(inputs, work, report, force, pool, with_bar)
        for group in _groups(batch.submit_read, _with_pixels(pending, work.count_pixels)):
            batch.process(group)
            batch.finish_writing(all_but=len(group))
            advance(len(group))
        batch.finish_writing()
    if len(jobs) > 1 or (report.json and inputs.out_dir is not None):
        report.summary(len(pending) - batch.failures, len(jobs) - len(pending), batch.failures)
    return batch.failures


class _Batch(Generic[Loaded, Result]):
    """The state of one `run`: outputs in use, outputs being written, failures so far."""

    def __init__(
        self,
        inputs: Inputs,
        work: Work[Loaded, Result],
        report: Report,
        force: bool,
        pool: ThreadPoolExecutor,
        with_bar: bool,
    ) -> None:
        self.failures = 0
        self._inputs, self._work, self._report = inputs, work, report
        self._force, self._pool, self._with_bar = force, pool, with_bar
        self._targets: set[Path] = set()
        self._writing: deque[tuple[Job, Future[Outcome]]] = deque()

    def submit_read(self, job: Job) -> Future[Loaded]:
        return self._pool.submit(self._read, job)

    def process(self, group: list[tuple[Job, Future[Loaded]]]) -> None:
        """Process the jobs whose inputs could be read, and submit their results for writing."""
        for job, loaded, result in _process(list(self._readable(group)), self._work):
            if isinstance(result, Exception):
                self._fail(job, result)
            else:
                self._writing.append((job, self._pool.submit(self._write, job, loaded, result)))

    def finish_writing(self, all_but: int = 0) -> None:
        """Wait for outputs and report them, the oldest first, until `all_but` are left."""
        while len(self._writing) > all_but:
            job, future = self._writing.popleft()
            try:
                self._report.succeeded(job, future.result(), self._with_bar)
            except BrokenPipeError:
                raise  # the reader has closed our stdout
            except files.ERRORS as error:
                self._fail(job, error)

    def _readable(self, group: list[tuple[Job, Future[Loaded]]]) -> Iterator[tuple[Job, Loaded]]:
        for job, future in group:
            try:
                if job.target in self._targets:
                    raise OutputError(f"{job.target} is the output of another input too")
                loaded = future.result()
            except files.ERRORS as error:
                self._fail(job, error)
            else:
                self._targets.add(job.target)
                yield job, loaded

    def _read(self, job: Job) -> Loaded:
        check_not_folder(job.source, self._inputs)
        files.check_free(job.target, self._force)
        return self._work.read(job)

    def _write(self, job: Job, loaded: Loaded, result: Result) -> Outcome:
        if self._inputs.out_dir is not None:
            files.make_folder(job.target.parent)
        return self._work.write(job, loaded, result)

    def _fail(self, job: Job, error: Exception) -> None:
        self.failures += 1
        self._report.failed(job.source, error)


def not_skipped(jobs: list[Job], skip_existing: bool) -> list[Job]:
    """The jobs that are not skipped.

    An output that several inputs share may be that of another one, so these are never skipped.
    """
    inputs_of = Counter(job.target for job in jobs)
    return [
        job
        for job in jobs
        if not (skip_existing and inputs_of[job.target] == 1 and _exists(job.target))
    ]


def _exists(path: Path) -> bool:
    try:
        return path.exists()
    except OSError:
        return False  # an impossible name fails when it is written


def _process(
    loaded_jobs: list[tuple[Job, Loaded]], work: Work[Loaded, Result]
) -> Iterator[tuple[Job, Loaded, Result | Exception]]:
    """Yield the results of a group; if it fails as a whole, process its members one by one."""
    if not loaded_jobs:
        return
    results: list[Any]
    try:
        results = work.process([loaded for _, loaded in loaded_jobs])
    except (DeviceError, ModelError):
        raise  # would stop every job
    except (OdpError, MemoryError) as error:
        if len(loaded_jobs) > 1:
            for loaded_job in loaded_jobs:
                yield from _process([loaded_job], work)
            return
        results = [error]
    for (job, loaded), result in zip(loaded_jobs, results, strict=True):
        yield job, loaded, result


def _with_pixels(
    jobs: Iterable[Job], count_pixels: Callable[[Job], int]
) -> Iterator[tuple[Job, int]]:
    for job in jobs:
        pixels = 0
        with contextlib.suppress(*files.ERRORS):  # it fails again, and is reported, in `read`
            if files.is_regular(job.source):  # a pipe cannot be read twice
                pixels = count_pixels(job)
        yield job, pixels


def _groups(
    submit_read: Callable[[Job], Future[Loaded]], jobs: Iterator[tuple[Job, int]]
) -> Iterator[list[tuple[Job, Future[Loaded]]]]:
    """Yield groups of jobs, while the inputs of later groups are read.

    All pictures in memory together have at most PIXELS_IN_MEMORY, unless there is only one.
    """
    reading: deque[tuple[Job, int, Future[Loaded]]] = deque()
    pixels_in_memory, following = 0, next(jobs, None)
    while following or reading:
        while following and len(reading) < GROUP + READ_AHEAD:
            job, pixels = following
            if reading and pixels_in_memory + pixels > PIXELS_IN_MEMORY:
                break
            reading.append((job, pixels, submit_read(job)))
            pixels_in_memory, following = pixels_in_memory + pixels, next(jobs, None)
        group = [reading.popleft() for _ in range(min(GROUP, len(reading)))]
        yield [(job, future) for job, _, future in group]
        pixels_in_memory -= sum(pixels for _, pixels, _ in group)
