"""Work in processes of their own, with results in order and one that dies replaced."""

from __future__ import annotations

import multiprocessing
import os
import signal
import threading
import warnings
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ProcessPoolExecutor, ThreadPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from types import TracebackType
from typing import Any, Generic, NamedTuple, Self, TypeVar

from onedpiece.constants import TILE
from onedpiece.errors import DeviceError, ModelError, OdpError

Item = TypeVar("Item")
Loaded = TypeVar("Loaded")
Result = TypeVar("Result")

WAITING = 2  # chunks for each worker beyond the one that it works on
PIXELS_OF_GROUP = 8 * TILE * TILE  # pictures that are processed together: a batch of tiles
PIXELS_READ_AHEAD = 16 << 20  # while larger pictures are processed, none are read
MAX_DEATHS = 8  # one after the other, without a result in between


class Failure(NamedTuple):
    """Why there is no result for an item."""

    reason: str


Work = Callable[[list[Item]], list[Result | Failure]]
"""Works on a chunk of items, and gives as many results. Sent to each worker once."""


class Workers(Generic[Item, Result]):
    """Processes that do the same work on chunks of items; use it as a context manager.

    count: number of processes; 0 does all the work in this one. Raises ValueError below 0.

    At most `WAITING` chunks for each worker are in memory beside those that are worked on.
    """

    def __init__(self, work: Work[Item, Result], count: int) -> None:
        if count < 0:
            raise ValueError("the number of workers must be at least 0")
        self._work, self._count = work, count
        self._pool: ProcessPoolExecutor | None = None
        self._deaths = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._pool is not None:
            self._pool.shutdown(wait=error is None, cancel_futures=True)

    def map(self, chunks: Iterable[list[Item]]) -> Iterator[list[Result | Failure]]:
        """The results of each chunk, in order.

        A worker that dies, for example for lack of memory, is replaced, and what it worked on is
        tried again; an item that a worker dies of alone is a Failure. Raises what the work
        raises, and OdpError if workers die all the time.
        """
        if not self._count:
            yield from map(self._work, chunks)
            return
        remaining = iter(chunks)
        flight: deque[tuple[list[Item], Future[Any]]] = deque()
        while True:
            while len(flight) < self._count * (1 + WAITING):
                chunk = next(remaining, None)
                if chunk is None:
                    break
                flight.append((chunk, self._submit(chunk)))
            if not flight:
                return
            chunk, future = flight.popleft()
            try:
                results = future.result()
            except BrokenProcessPool:
                self._replace()
                results = [self._alone(item) for item in chunk]
                flight = deque((waiting, self._submit(waiting)) for waiting, _ in flight)
            else:
                self._deaths = 0
            yield results

    def _submit(self, chunk: list[Item]) -> Future[Any]:
        if self._pool is None:
            context = multiprocessing.get_context(
                "spawn"
            )  # threads of networks do not survive fork
            self._pool = ProcessPoolExecutor(self._count, context, _begin, (self._work,))
        try:
            return self._pool.submit(_do, chunk)
        except BrokenProcessPool as error:  # it broke while it was idle
            failed: Future[Any] = Future()
            failed.set_exception(error)
            return failed

    def _alone(self, item: Item) -> Any:
        """The result of one item, with which nothing else is in flight."""
        try:
            (result,) = self._submit([item]).result()
        except BrokenProcessPool:
            self._replace()
            return Failure("the worker process died of it")
        self._deaths = 0
        return result

    def _replace(self) -> None:
        self._deaths += 1
        if self._deaths > MAX_DEATHS:
            raise OdpError("the worker processes die one after the other: is there enough memory?")
        if self._pool is not None:
            self._pool.shutdown(wait=False, cancel_futures=True)
        self._pool = None


def failure(error: Exception) -> Failure:
    """The reason in words."""
    if isinstance(error, MemoryError):
        return Failure("there is not enough memory")
    return Failure(str(error) if isinstance(error, OdpError) else repr(error))


def in_groups(
    items: list[Item],
    read: Callable[[Item], Loaded],
    pixels_of: Callable[[Loaded], int],
    process: Callable[[list[Loaded]], Sequence[Result]],
) -> list[Result | Failure]:
    """The results of items that are processed together, so that their tiles share batches.

    A thread reads the next group while one is processed, which keeps a second core busy.

    pixels_of: of what was read. A group ends when it has PIXELS_OF_GROUP.

    An item that cannot be read or processed is a Failure. Raises DeviceError or ModelError, which
    would stop every item.
    """
    results: dict[int, Result | Failure] = {}
    remaining = iter(enumerate(items))

    def read_group() -> dict[int, Loaded]:
        group: dict[int, Loaded] = {}
        for index, item in remaining:
            try:
                group[index] = read(item)
            except Exception as error:
                results[index] = failure(error)
            if sum(map(pixels_of, group.values())) >= PIXELS_OF_GROUP:
                break
        return group

    with ThreadPoolExecutor(1) as thread:
        group = read_group()
        while group:
            is_large = sum(map(pixels_of, group.values())) > PIXELS_READ_AHEAD
            ahead = None if is_large else thread.submit(read_group)
            results.update(_together(group, process))
            group = ahead.result() if ahead else read_group()
    return [results[index] for index in range(len(items))]


def _together(
    loaded: dict[int, Loaded], process: Callable[[list[Loaded]], Sequence[Result]]
) -> dict[int, Result | Failure]:
    """Process items together; if that fails, one by one."""
    if not loaded:
        return {}
    try:
        return dict(zip(loaded, process([*loaded.values()]), strict=True))
    except (DeviceError, ModelError):
        raise
    except Exception as error:
        if len(loaded) == 1:
            return dict.fromkeys(loaded, failure(error))
    results: dict[int, Result | Failure] = {}
    for index, one in loaded.items():
        results.update(_together({index: one}, process))
    return results


_work: Any = None  # in a worker: what it does


def _begin(work: Any) -> None:
    """Prepare a worker process."""
    global _work
    _work = work
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the main process's to answer
    threading.Thread(target=_end_with_parent, daemon=True).start()
    warnings.filterwarnings("ignore", module="PIL")
    if not os.environ.get("ODP_DEBUG"):  # C libraries complain about broken pictures
        os.dup2(os.open(os.devnull, os.O_WRONLY), 2)


def _end_with_parent() -> None:
    """A worker whose parent was killed would wait for work for ever."""
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)


def _do(chunk: list[Any]) -> Any:
    return _work(chunk)
