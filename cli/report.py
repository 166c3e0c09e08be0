"""What a verb prints about its work: lines, JSON, and progress bars."""

from __future__ import annotations

import contextlib
import json
import os
import sys
import time
import traceback
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from onedpiece.cli import files
from onedpiece.cli.inputs import Job

MIN_TILES_WITH_BAR = 50  # a single picture of fewer tiles is done before a bar is of use
PIXELS_PER_TILE = 1 << 16  # a guess that is good enough for a progress bar


@dataclass(frozen=True)
class Outcome:
    """The result of a job: fields for JSON, a line of text, and a warning to print in any case."""

    fields: dict[str, Any]
    line: str
    warning: str | None = None


@dataclass(frozen=True)
class Report:
    """Prints results as one line each: JSON on stdout, or text on stderr unless `quiet`.

    Failures and warnings are always printed on stderr.
    """

    quiet: bool
    json: bool

    def wants_bar(self, jobs: int) -> bool:
        """Whether to show a progress bar instead of lines: for several jobs on a terminal."""
        return jobs > 1 and sys.stderr.isatty() and not self.quiet and not self.json

    def succeeded(self, job: Job, outcome: Outcome, with_bar: bool) -> None:
        """Print the result of a job. A progress bar takes the place of the line of text."""
        if self.json:
            fields = {"input": str(job.source), "output": str(job.target), **outcome.fields}
            print(json.dumps(fields), flush=True)
        elif not self.quiet and not with_bar:
            print(f"{job.source} -> {job.target}  {outcome.line}", file=sys.stderr)
        if outcome.warning:
            print(f"odp: {job.source}: {outcome.warning}", file=sys.stderr)

    def failed(self, source: Path, error: Exception) -> None:
        """Print why an input failed, after the traceback with `odp --debug`."""
        reason = str(error)
        if isinstance(error, MemoryError):  # Python gives none
            reason = "there is not enough memory"
        if self.json:
            print(json.dumps({"input": str(source), "error": reason}), flush=True)
        if os.environ.get("ODP_DEBUG"):
            traceback.print_exception(error)
        print(f"odp: {source}: {reason}", file=sys.stderr)

    def summary(self, done: int, skipped: int, failed: int) -> None:
        """Print the numbers of a batch at its end."""
        counts = {"done": done, "skipped": skipped, "failed": failed}
        if self.json:
            print(json.dumps({"summary": counts}), flush=True)
        elif not self.quiet or failed:
            line = ", ".join(f"{count} {name}" for name, count in counts.items())
            print(f"odp: {line}", file=sys.stderr)


def pluralise(count: int, noun: str) -> str:
    """The count and the noun, with an "s" unless the count is 1: "3 tokens"."""
    return f"{count} {noun}" if count == 1 else f"{count} {noun}s"


@contextlib.contextmanager
def progress(total: int, noun: str = "steps") -> Iterator[Callable[[int], None]]:
    """Show a progress bar on stderr, and yield a function that advances it by a count.

    noun: what is counted, for the number of them in a second.

    There is no bar for a total of 0.
    """
    if not total:
        yield lambda count: None
        return
    from rich.console import Console
    from rich.progress import Progress, TextColumn

    speed = TextColumn("{task.fields[speed]}")
    columns = (*Progress.get_default_columns(), speed)  # with the time that is left
    console = Console(stderr=True)
    start, done = time.monotonic(), 0

    def advance(count: int) -> None:
        nonlocal done
        done += count
        rate = done / max(time.monotonic() - start, 1e-3)
        # There are more tiles than expected if the encoder makes them finer.
        most = max(total, done)
        bar.update(task, advance=count, total=most, speed=f"{rate:.1f} {noun}/s")

    with Progress(*columns, console=console, transient=True, redirect_stdout=False) as bar:
        task = bar.add_task("", total=total, speed="")
        yield advance


@contextlib.contextmanager
def tile_progress(
    jobs: list[Job], count_pixels: Callable[[Job], int], report: Report
) -> Iterator[Callable[[int], None]]:
    """Like `progress`, for the tiles of a single large picture, if stderr is a terminal."""
    tiles = 0
    if len(jobs) == 1 and sys.stderr.isatty() and not report.quiet and not report.json:
        with contextlib.suppress(*files.ERRORS):  # it fails again, and is reported, when it is read
            if files.is_regular(jobs[0].source):
                tiles = count_pixels(jobs[0]) // PIXELS_PER_TILE
    with progress(tiles if tiles >= MIN_TILES_WITH_BAR else 0, "tiles") as advance:
        yield advance
