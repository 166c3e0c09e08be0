"""The table of all measurements: a CSV file that a later run goes on with."""

from __future__ import annotations

import csv
import io
import math
import os
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

from onedpiece.errors import OdpError

COLUMNS = ("picture", "codec", "setting", "budget", "bytes", "bpp", "width", "height", "how")


@dataclass(frozen=True)
class Row:
    """One file of one picture, or that there is none so small.

    setting: what was asked for: "64 tokens", "200 bytes", or "fixed" for a codec that has one size only.
    budget:  what no file may exceed, in bytes; None where there is no limit.
    bytes:   of the whole file; None if no file is small enough.
    how:     options that the file was made with.
    scores:  metric -> value; NaN where the metric is not defined.
    """

    picture: str
    codec: str
    setting: str
    budget: int | None
    bytes: int | None
    width: int
    height: int
    how: str = ""
    scores: dict[str, float] = field(default_factory=dict)

    @property
    def key(self) -> tuple[str, str, str]:
        """What no other row of a table shares."""
        return self.picture, self.codec, self.setting

    @property
    def bpp(self) -> float:
        """Bits for each pixel of the original; NaN if there is no file."""
        return math.nan if self.bytes is None else 8 * self.bytes / (self.width * self.height)


class Table:
    """Rows in a file, added as they are made; no two of the same picture, codec and setting."""

    def __init__(self, path: Path, metrics: Iterable[str]) -> None:
        """Opens a table, or begins one. Raises OdpError if there is something else in the file."""
        self._path, self._metrics = path, tuple(metrics)
        self.rows = read_rows(path, self._metrics) if path.exists() else []
        self.keys = {row.key for row in self.rows}
        # Again, without what an interruption left unfinished.
        partial = path.with_name(path.name + ".part")
        with partial.open("w", newline="") as file:
            csv.writer(file).writerow((*COLUMNS, *self._metrics))
            csv.writer(file).writerows(_cells(row, self._metrics) for row in self.rows)
        os.replace(partial, path)

    def add(self, rows: list[Row]) -> None:
        """Rows that are not there yet."""
        new = [row for row in rows if row.key not in self.keys]
        if not new:
            return
        with self._path.open("a", newline="") as file:
            csv.writer(file).writerows(_cells(row, self._metrics) for row in new)
        self.rows += new
        self.keys |= {row.key for row in new}


def read_rows(path: Path, metrics: tuple[str, ...] | None = None) -> list[Row]:
    """The rows of a table. Raises OdpError if it is none, or has other metrics than those expected."""
    text = path.read_text()
    complete = text[: text.rfind("\n") + 1]  # a last line without an end was cut by an interruption
    reader = csv.DictReader(io.StringIO(complete))
    titles = tuple(reader.fieldnames or (*COLUMNS, *(metrics or ())))
    found = titles[len(COLUMNS) :]
    if titles[: len(COLUMNS)] != COLUMNS or metrics not in (None, found):
        raise OdpError(f"{path} has other columns than this run: use another folder")
    try:
        return [_row(cells, found) for cells in reader]
    except (TypeError, ValueError, AttributeError) as error:
        raise OdpError(f"{path}: line {reader.line_num} is no result") from error


def _cells(row: Row, metrics: tuple[str, ...]) -> list[object]:
    if row.bytes is None:
        made: list[object] = ["", ""]
    else:
        made = [row.bytes, f"{row.bpp:.6f}"]
    scores = [f"{row.scores[name]:.6f}" if name in row.scores else "" for name in metrics]
    budget = "" if row.budget is None else row.budget
    size = [row.width, row.height]
    return [row.picture, row.codec, row.setting, budget, *made, *size, row.how, *scores]


def _row(cells: dict[str, str], metrics: tuple[str, ...]) -> Row:
    return Row(
        cells["picture"],
        cells["codec"],
        cells["setting"],
        int(cells["budget"]) if cells["budget"] else None,
        int(cells["bytes"]) if cells["bytes"] else None,
        int(cells["width"]),
        int(cells["height"]),
        cells["how"],
        {name: float(cells[name]) for name in metrics if cells[name]},
    )
