"""The samples of the input in a fixed order, so that a run can be divided and resumed."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

from onedpiece.datasets import tables, tars
from onedpiece.datasets.arrow import import_pyarrow
from onedpiece.datasets.places import Place, find_files
from onedpiece.datasets.tars import Found
from onedpiece.errors import OdpError

Position = tuple[int, int]
"""Index of a file in the sorted input, and of a sample in the file."""

START: Position = (-1, -1)


class Sample(NamedTuple):
    """A sample and its place in the order of the input."""

    position: Position
    found: Found


class Columns(NamedTuple):
    """Which columns of Parquet files are what, and what is passed through.

    picture, key: names of columns, where they are not found by themselves.
    passed: columns of Parquet files, or extensions in tars ("cls", "txt"), to pass through; by
        default all columns, or `tars.LABELS`.
    """

    picture: str | None = None
    key: str | None = None
    passed: tuple[str, ...] | None = None


ALL_COLUMNS = Columns()


class Source:
    """All samples of some inputs; a shard has every N-th of the sorted files.

    inputs:   what `places.find_files` takes; all of one kind: pictures, tar or Parquet files.
    suffixes: extensions of pictures, such as ".png".

    Raises OdpError for inputs that are not there or are of several kinds.

    left_out: counts members of tar files that are not passed through, by extension.
    passed:   Arrow types of the columns that are passed through, by name.
    """

    def __init__(
        self,
        inputs: Sequence[str],
        suffixes: set[str],
        columns: Columns = ALL_COLUMNS,
    ) -> None:
        self._suffixes, self._columns = tuple(suffixes), columns
        known = (*self._suffixes, *tars.SUFFIXES, ".parquet")
        self.files = [
            place
            for given in inputs
            for place in find_files(given, lambda name: name.lower().endswith(known))
        ]
        kinds = {_kind(place.path) for place in self.files}
        if len(kinds) != 1:
            raise OdpError(f"the inputs are of several kinds ({', '.join(sorted(kinds))} files)")
        (self._kind,) = kinds
        self.left_out: Counter[str] = Counter()
        self._layout: tables.Layout | None = None
        self.passed: dict[str, Any] = {}
        if self._kind == "Parquet":
            self._layout = tables.find_layout(self.files[0].path, *columns)
            self.passed = self._layout.passed
        elif self._kind == "tar":
            pyarrow, _ = import_pyarrow()
            types = {"cls": pyarrow.int64()}
            labels = tars.LABELS if columns.passed is None else columns.passed
            self.passed = {name: types.get(name, pyarrow.string()) for name in labels}

    def samples(self, shard: int = 0, shards: int = 1, after: Position = START) -> Iterator[Sample]:
        """The samples of a shard that come after a position."""
        twice = self._keys_given_twice() if self._kind == "picture" else set()
        for number in range(shard, len(self.files), shards):
            if number < after[0]:
                continue
            for index, found in enumerate(self._read(self.files[number], number in twice)):
                if (number, index) > after:
                    yield Sample((number, index), found._replace(key=_valid(found.key)))

    def _read(self, place: Place, is_given_twice: bool) -> Iterator[Found]:
        if self._kind == "tar":
            labels = tuple(self.passed)
            yield from tars.read_samples(place.path, self._is_picture, labels, self.left_out)
        elif self._layout is not None:
            name = place.name.removesuffix(".parquet")
            is_all = self._columns.passed is None
            yield from tables.read_samples(place.path, name, self._layout, is_all)
        else:
            error = "another picture has this name too" if is_given_twice else ""
            yield Found(_key(place), place.path, {}, error)

    def _is_picture(self, name: str) -> bool:
        return name.lower().endswith(self._suffixes)

    def _keys_given_twice(self) -> set[int]:
        """Indices of files whose key is that of an earlier one: a.png after a.jpg."""
        seen: set[str] = set()
        twice = set()
        for number, place in enumerate(self.files):
            if (key := _key(place)) in seen:
                twice.add(number)
            seen.add(key)
        return twice


def _kind(path: str) -> str:
    name = path.lower()
    if name.endswith(".parquet"):
        return "Parquet"
    return "tar" if name.endswith(tars.SUFFIXES) else "picture"


def _key(place: Place) -> str:
    """The name without its extension."""
    folder, slash, name = place.name.rpartition("/")
    stem, dot, _ = name.rpartition(".")
    return folder + slash + (stem if dot and stem else name)


def _valid(key: str) -> str:
    """The key as valid Unicode, which names of files need not be."""
    return key.encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace")
