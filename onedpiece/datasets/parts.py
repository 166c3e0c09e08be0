"""The files of a token dataset: `part-SHARD-of-SHARDS-NUMBER.parquet` in one folder.

A part appears under its name only when it is complete, and says in its metadata up to where in
the input it reaches. So a killed run continues after its last part, and no key is there twice.
"""

from __future__ import annotations

import glob
import json
import re
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from onedpiece.datasets.arrow import import_pyarrow
from onedpiece.datasets.sources import START, Position
from onedpiece.errors import OdpError, OutputError

VERSION = 1
METADATA = b"onedpiece"
FAILURES = "failures"  # the folder of the side files
EMPTY = {"key": "", "front": b""}
NO_TOKENS = np.empty(0, np.uint16)
NAME = re.compile(r"part-(\d{5,})-of-(\d{5,})-(\d{5,})\.parquet")
COLUMNS = ("key", "width", "height", "grid_rows", "grid_columns", "tokens", "front", "odp")
"""Columns that are ours; a passed-through one of such a name is called source_NAME."""


@dataclass(frozen=True)
class About:
    """What the metadata of a part says.

    token_set, fingerprint: name and SHA-256 of what the tokens mean.
    shard, shards: which share of the input it is of.
    number:  place among the parts of its shard, from 0.
    end:     position of its last sample in the input.
    is_last: whether it is the last part of its shard.
    job:     changes with the inputs and with the options of the run.
    failed:  number of samples that are not in it because they failed.
    tokens:  number of tokens of all rows together.
    """

    token_set: str
    fingerprint: str
    shard: int
    shards: int
    number: int
    end: Position
    is_last: bool
    job: str
    failed: int = 0
    tokens: int = 0
    version: int = VERSION

    def to_json(self) -> str:
        """The entry of the metadata."""
        return json.dumps(asdict(self))

    @classmethod
    def from_json(cls, text: bytes) -> About:
        """The inverse of `to_json`. Raises ValueError or TypeError."""
        entry = json.loads(text)
        if not isinstance(entry, dict) or entry.get("version") != VERSION:
            raise ValueError("unknown version")
        first, second = entry.pop("end")
        return cls(**entry, end=(int(first), int(second)))


@dataclass(frozen=True)
class Part:
    """A file of a dataset."""

    path: Path

    @cached_property
    def about(self) -> About:
        """Raises OdpError if it is no part of a token dataset."""
        try:
            _check_columns(self.schema)
            return About.from_json(self.metadata.metadata[METADATA])
        except Exception as error:  # pyarrow raises many types for broken files
            raise OdpError(f"{self.path} is no part of a token dataset: {error}") from error

    @property
    def rows(self) -> int:
        """Number of rows."""
        return int(self.metadata.num_rows)

    @property
    def schema(self) -> Any:
        """Its Arrow schema."""
        return self.metadata.schema.to_arrow_schema()

    @property
    def rows_of_groups(self) -> list[int]:
        """Number of rows in each row group."""
        metadata = self.metadata
        return [metadata.row_group(i).num_rows for i in range(metadata.num_row_groups)]

    def read_group(self, index: int, columns: list[str] | None = None) -> Any:
        """A row group as an Arrow table. Raises OdpError if it is damaged."""
        try:
            with self.open() as file:
                table = file.read_row_group(index, columns=columns)
            table.validate(full=True)  # text may be no Unicode
            return table
        except Exception as error:  # pyarrow raises many types for broken files
            raise OdpError(f"{self.path} is damaged: {error}") from error

    def open(self) -> Any:
        """The file, as pyarrow sees it. Raises OdpError."""
        pyarrow, parquet = import_pyarrow()
        try:
            return parquet.ParquetFile(self.path, page_checksum_verification=True)
        except (pyarrow.ArrowException, OSError, ValueError) as error:
            raise OdpError(f"{self.path} cannot be read: {error}") from error

    @cached_property
    def metadata(self) -> Any:
        """The metadata of the Parquet file. Raises OdpError."""
        with self.open() as file:
            return file.metadata


def find_parts(path: str | Path) -> list[Part]:
    """The parts of a dataset, sorted: a folder, a file or a pattern. Raises OdpError."""
    path = Path(path)
    if path.is_dir():
        paths = sorted(path.glob("*.parquet"))
    else:
        paths = [path] if path.exists() else sorted(map(Path, glob.glob(str(path))))
    if not paths:
        raise OdpError(f"{path}: there is no token dataset")
    return [Part(one) for one in paths]


def finished(folder: Path, shard: int, shards: int) -> list[Part]:
    """The parts that a shard has already, in order.

    Raises OutputError if parts of another number of shards are there, or if one is missing.
    """
    own = []
    for path in sorted(folder.glob("*.parquet")):
        match = NAME.fullmatch(path.name)
        if match is None or int(match[2]) != shards:
            raise OutputError(f"{path} is not of this run: choose another folder")
        if int(match[1]) == shard:
            own.append(Part(path))
    own.sort(key=lambda part: part.about.number)
    if [part.about.number for part in own] != list(range(len(own))):
        raise OutputError(f"{folder}: a part of shard {shard} is missing")
    return own


def end_of(parts: list[Part], job: str) -> tuple[Position, bool]:
    """Up to where in the input the parts reach, and whether that is all of their shard.

    Raises OutputError if they were made from other inputs or with other options.
    """
    if not parts:
        return START, False
    if any(part.about.job != job for part in parts):
        raise OutputError(
            f"{parts[0].path.parent} was made from other inputs or with other options: "
            "choose another folder, or remove it"
        )
    return parts[-1].about.end, parts[-1].about.is_last


def rows_of(part: Part, columns: list[str] | None = None) -> Iterator[dict[str, Any]]:
    """The rows of a part as dicts; tokens are uint16 arrays.

    A key, tokens or a front that is null becomes an empty one: such a row fails where it is used.

    Raises OdpError if the part is damaged.
    """
    for group in range(len(part.rows_of_groups)):
        table = part.read_group(group, columns)
        tokens = None
        if "tokens" in table.column_names:
            tokens = table.column("tokens").combine_chunks()
            table = table.drop_columns(["tokens"])
        for number, row in enumerate(table.to_pylist()):
            if tokens is not None:
                values = tokens[number].values
                row["tokens"] = NO_TOKENS if values is None else np.asarray(values)
            for name, empty in EMPTY.items():
                if name in row and row[name] is None:
                    row[name] = empty
            yield row


def own_types(keep_files: bool = False) -> dict[str, Any]:
    """Arrow types of our columns, by name; with `keep_files`, also of that of whole files."""
    pyarrow, _ = import_pyarrow()
    return {
        "key": pyarrow.string(),
        **dict.fromkeys(("width", "height", "grid_rows", "grid_columns"), pyarrow.int32()),
        "tokens": pyarrow.list_(pyarrow.field("element", pyarrow.uint16())),
        "front": pyarrow.binary(),
        **({"odp": pyarrow.binary()} if keep_files else {}),
    }


def _check_columns(schema: Any) -> None:
    """Raise ValueError or KeyError unless our columns come first, each with its type."""
    for place, (name, kind) in enumerate(own_types().items()):
        if schema.names[place] != name or schema.field(name).type != kind:
            raise ValueError(f"column {name} is of another type")


def part_name(shard: int, shards: int, number: int) -> str:
    """The name of a part."""
    return f"part-{shard:05d}-of-{shards:05d}-{number:05d}.parquet"
