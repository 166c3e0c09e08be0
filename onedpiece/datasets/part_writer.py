"""Write the parts of a token dataset."""

from __future__ import annotations

import contextlib
import os
import secrets
from dataclasses import replace
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import numpy as np

from onedpiece.datasets.arrow import import_pyarrow
from onedpiece.datasets.outputs import rename, write_failures
from onedpiece.datasets.parts import COLUMNS, FAILURES, METADATA, About, own_types, part_name
from onedpiece.datasets.rows import Row
from onedpiece.datasets.sources import Sample
from onedpiece.datasets.tars import Found
from onedpiece.datasets.workers import Failure
from onedpiece.errors import OdpError, OutputError

ROWS_OF_GROUP = 1024
BYTES_OF_GROUP = 64 << 20  # about how much of passed-through columns is in memory
COMPRESSION_LEVEL = 3


class PartWriter:
    """Writes the parts of a shard, in the order of the input; use it as a context manager.

    about:  of the next part. Its number and its end are kept up to date.
    passed: Arrow types of the passed-through columns, by name.
    samples_per_part: samples of a part, those that failed included.
    keep_files: whether rows hold whole .odp files as well.

    A part is renamed when it is complete. One that is not is removed at the end, or, after a
    kill, by the next run of the shard. Should the earlier run still be alive, both write equal
    parts, and neither writes into a file of the other.
    """

    def __init__(
        self,
        folder: Path,
        about: About,
        passed: dict[str, Any],
        samples_per_part: int,
        keep_files: bool = False,
    ) -> None:
        self._folder, self._about, self._limit = folder, about, samples_per_part
        self._names = {name: f"source_{name}" if name in COLUMNS else name for name in passed}
        self._schema = _schema({self._names[name]: passed[name] for name in passed}, keep_files)
        self._file: Any = None
        self._rows: list[tuple[Found, Row]] = []
        self._failures: list[dict[str, str]] = []
        self._samples = self._bytes = self._tokens = 0
        self._own = f"{os.getpid()}-{secrets.token_hex(4)}"

    def __enter__(self) -> Self:
        stale = part_name(self._about.shard, self._about.shards, 0).removesuffix("00000.parquet")
        for path in self._folder.glob(f".{stale}*.part"):
            path.unlink(missing_ok=True)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._file is not None:
            with contextlib.suppress(OSError):  # what it still had to write is not wanted
                self._file.close()
            self._partial.unlink(missing_ok=True)

    def add(self, sample: Sample, result: Row | Failure) -> None:
        """Add a row, or note why there is none. Raises OutputError."""
        if self._samples == self._limit:
            self._finish_part(is_last=False)
        self._samples += 1
        self._about = replace(self._about, end=sample.position)
        if isinstance(result, Failure):
            failure = {"key": sample.found.key, "reason": result.reason}
            if isinstance(sample.found.data, str):  # keys have no extension
                failure["file"] = sample.found.data
            self._failures.append(failure)
            return
        found = sample.found._replace(data=b"")  # the picture need not stay in memory
        self._rows.append((found, result))
        self._tokens += len(result.tokens)
        self._bytes += found.size
        if len(self._rows) == ROWS_OF_GROUP or self._bytes > BYTES_OF_GROUP:
            self._write_group()

    def finish(self) -> None:
        """Write what is left as the last part of the shard. Raises OutputError."""
        self._finish_part(is_last=True)

    @property
    def _target(self) -> Path:
        about = self._about
        return self._folder / part_name(about.shard, about.shards, about.number)

    @property
    def _partial(self) -> Path:
        return self._target.with_name(f".{self._target.name}.{self._own}.part")

    def _write_group(self) -> None:
        """Write the rows at hand as a row group; opens the part with the first one."""
        pyarrow, parquet = import_pyarrow()
        try:
            if self._file is None:
                self._folder.mkdir(parents=True, exist_ok=True)
                self._file = parquet.ParquetWriter(
                    self._partial,
                    self._schema,
                    compression="zstd",
                    compression_level=COMPRESSION_LEVEL,
                    write_page_checksum=True,
                    use_dictionary=[name for name in self._schema.names if name != "tokens"],
                    column_encoding={"tokens.list.element": "BYTE_STREAM_SPLIT"},
                )
            self._file.write_table(self._table())
        except (pyarrow.ArrowException, OSError) as error:
            raise OutputError(f"{self._target} cannot be written: {error}") from error
        self._rows, self._bytes = [], 0

    def _table(self) -> Any:
        pyarrow, _ = import_pyarrow()
        rows = [row for _, row in self._rows]
        ends = np.cumsum([0, *(len(row.tokens) for row in rows)], dtype=np.int32)
        tokens = np.concatenate([np.zeros(0, np.uint16), *(row.tokens for row in rows)])
        columns: dict[str, Any] = {
            "key": [found.key for found, _ in self._rows],
            "tokens": pyarrow.ListArray.from_arrays(ends, pyarrow.array(tokens)),
        }
        for name in COLUMNS:
            if name in self._schema.names and name not in columns:
                columns[name] = [getattr(row, name) for row in rows]
        for name, ours in self._names.items():
            columns[ours] = [found.columns.get(name) for found, _ in self._rows]
        return pyarrow.table(columns, schema=self._schema)

    def _finish_part(self, is_last: bool) -> None:
        if self._rows or self._file is None:
            self._write_group()
        failed, tokens = len(self._failures), self._tokens
        about = replace(self._about, is_last=is_last, failed=failed, tokens=tokens)
        self._file.add_key_value_metadata({METADATA: about.to_json().encode()})
        try:
            self._file.close()
            side_file = self._folder / FAILURES / f"{self._target.stem}.jsonl"
            write_failures(side_file, self._failures)  # first: a part stands for both
            rename(self._partial, self._target, sync=True)
        except OSError as error:
            reason = error.strerror or error
            raise OutputError(f"{self._target} cannot be written: {reason}") from error
        self._file, self._failures = None, []
        self._samples = self._tokens = 0
        self._about = replace(self._about, number=self._about.number + 1)


def _schema(passed: dict[str, Any], keep_files: bool) -> Any:
    pyarrow, _ = import_pyarrow()
    fields = own_types(keep_files)
    twice = fields.keys() & passed.keys()
    if twice:
        raise OdpError(f"columns of these names cannot be passed through: {', '.join(twice)}")
    return pyarrow.schema(list({**fields, **passed}.items()))
