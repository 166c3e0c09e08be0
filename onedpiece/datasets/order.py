"""The order in which rows are read: a function of seed, epoch and consumer, so that it resumes."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from onedpiece.datasets.arrow import import_pyarrow
from onedpiece.datasets.parts import Part, find_parts
from onedpiece.errors import OdpError

WINDOW = 16384  # rows that are in memory and shuffled together


class Consumer(NamedTuple):
    """One of those who share the rows: a worker of a rank."""

    rank: int = 0
    ranks: int = 1
    worker: int = 0
    workers: int = 1


class Group(NamedTuple):
    """A row group of a part."""

    part: Part
    number: int
    rows: int


class Span(NamedTuple):
    """Rows `start` to `stop` of a row group."""

    group: Group
    start: int
    stop: int


class Loaded(NamedTuple):
    """Rows in memory.

    tokens: uint16, those of all rows one after the other; row i has tokens[ends[i] : ends[i + 1]].
    columns: an Arrow table of other columns.
    """

    tokens: NDArray[np.uint16]
    ends: NDArray[np.int64]
    columns: Any


def find_groups(path: str) -> list[Group]:
    """The row groups of a dataset, in the order of the rows.

    Raises OdpError if there is none, or if parts have different token sets.
    """
    parts = find_parts(path)
    if len({part.about.fingerprint for part in parts}) > 1:
        raise OdpError(f"{path} has parts of different token sets")
    return [
        Group(part, number, rows)
        for part in parts
        for number, rows in enumerate(part.rows_of_groups)
        if rows
    ]


def share(rows: int, consumer: Consumer, equal: bool) -> range:
    """The places of a consumer's rows in the order of all rows.

    equal: all ranks get equally many, and up to ranks - 1 rows are left out.
    """
    if equal:
        each = rows // consumer.ranks
        of_rank = range(consumer.rank * each, (consumer.rank + 1) * each)
    else:
        of_rank = _piece(range(rows), consumer.rank, consumer.ranks)
    return _piece(of_rank, consumer.worker, consumer.workers)


def spans(groups: Sequence[Group], places: range) -> list[Span]:
    """Where the rows of a range of places are, if groups follow each other in this order."""
    found, first = [], 0
    for group in groups:
        start, stop = max(places.start - first, 0), min(places.stop - first, group.rows)
        if start < stop:
            found.append(Span(group, start, stop))
        first += group.rows
    return found


def shuffled(groups: Sequence[Group], seed: int, epoch: int) -> list[Group]:
    """The row groups in the order of an epoch."""
    random = np.random.default_rng([seed, epoch])
    return [groups[index] for index in random.permutation(len(groups))]


def windows(
    places: range, seed: int | None, epoch: int, position: int = 0
) -> Iterator[tuple[range, NDArray[np.int64]]]:
    """Ranges of places that are read together, and the order of the rows in each of them.

    seed:     None reads rows one after the other.
    position: number of rows that were read before.
    """
    done = position // WINDOW * WINDOW
    for start in range(places.start + done, places.stop, WINDOW):
        window = range(start, min(start + WINDOW, places.stop))
        order = np.arange(len(window))
        if seed is not None:
            order = np.random.default_rng([seed, epoch, start]).permutation(len(window))
        yield window, order[max(position - done, 0) :]
        position = done = 0


def load(found: Sequence[Span], columns: Sequence[str], limit: int | None) -> Loaded:
    """Read the rows of spans; `limit` is how many tokens of each are needed. Raises OdpError."""
    pyarrow, _ = import_pyarrow()
    tokens, lengths, tables = [np.zeros(0, np.uint16)], [np.zeros(0, np.int64)], []
    for span in found:
        table = span.group.part.read_group(span.group.number, ["tokens", *columns])
        table = table.slice(span.start, span.stop - span.start)
        lists = table.column("tokens").combine_chunks()
        values, starts = np.asarray(lists.flatten()), np.asarray(lists.value_lengths(), np.int64)
        kept = starts if limit is None else np.minimum(starts, limit)
        tokens.append(values[_prefixes(starts, kept)])
        lengths.append(kept)
        tables.append(table.drop_columns(["tokens"]))
    ends = np.concatenate([[0], np.concatenate(lengths).cumsum()])
    return Loaded(np.concatenate(tokens), ends, pyarrow.concat_tables(tables))


def _prefixes(lengths: NDArray[np.int64], kept: NDArray[np.int64]) -> NDArray[np.bool_]:
    """Which of the elements of lists, one after the other, are among the first of their list."""
    place = np.arange(lengths.sum()) - np.repeat(lengths.cumsum() - lengths, lengths)
    return place < np.repeat(kept, lengths)


def _piece(places: range, index: int, count: int) -> range:
    """One of `count` pieces of a range that differ in length by at most 1."""
    return places[len(places) * index // count : len(places) * (index + 1) // count]
