"""The table of results: a CSV file to which a later run adds rows."""

from __future__ import annotations

import csv
import io
import math
import os
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

from onedpiece.errors import OdpError

# `how` holds Row.options; the name is that of tables that exist already.
COLUMNS = ("picture", "codec", "setting", "budget", "bytes", "bpp", "width", "height", "how")


@dataclass(frozen=True)
class Row:
    """The file of one picture by one codec at one setting, or that no file is small enough.

    setting: size that was requested: "64 tokens", "200 bytes", or "fixed" for a codec that offers
             one size only.
    budget:  largest size allowed, in bytes; None without a limit.
    bytes:   size of the whole file; None if no file is small enough.
    width, height: of the picture, in pixels.
    options: encoder options of the file.
    scores:  metric -> value; NaN where the metric is undefined.
    """

    picture: str
    codec: str
    setting: str
    budget: int | None
    bytes: int | None
    width: int
    height: int
    options: str = ""
    scores: dict[str, float] = field(default_factory=dict)

    @property
    def key(self) -> tuple[str, str, str]:
        """Picture, codec and setting: unique within a table."""
        return self.picture, self.codec, self.setting

    @property
    def bpp(self) -> float:
        """Bits per pixel of the original; NaN if there is no file."""
        return math.nan if self.bytes is None else 8 * self.bytes / (self.width * self.height)


class Table:
    """Rows in a CSV file, written as they arrive; each picture, codec and setting occurs once."""

    def __init__(self, path: Path, metrics: Iterable[str]) -> None:
        """Open a table, or begin one. Raises OdpError if the file holds anything else."""
        self._path, self._metrics = path, tuple(metrics)
        self.rows = read_rows(path, self._metrics) if path.exists() else []
        self.keys = {row.key for row in self.rows}
        # Rewrite the file, because an interrupted run may have left an incomplete last line.
        partial = path.with_name(path.name + ".part")
        with partial.open("w", newline="", encoding="utf-8") as file:
            csv.writer(file).writerow((*COLUMNS, *self._metrics))
            csv.writer(file).writerows(_cells(row, self._metrics) for row in self.rows)
        os.replace(partial, path)

    def add(self, rows: list[Row]) -> None:
        """Append those rows that the table does not hold yet."""
        new = [row for row in rows if row.key not in self.keys]
        if not new:
            return
        with self._path.open("a", newline="", encoding="utf-8") as file:
            csv.writer(file).writerows(_cells(row, self._metrics) for row in new)
        self.rows += new
        self.keys |= {row.key for row in new}


def read_rows(path: Path, metrics: tuple[str, ...] | None = None) -> list[Row]:
    """The rows of a table. Raises OdpError if the file is no table, or has other metrics."""
    text = path.read_text(encoding="utf-8")
    complete = text[: text.rfind("\n") + 1]  # an interrupted run leaves a line without its end
    reader = csv.DictReader(io.StringIO(complete))
    columns = tuple(reader.fieldnames or (*COLUMNS, *(metrics or ())))
    stored_metrics = columns[len(COLUMNS) :]
    if columns[: len(COLUMNS)] != COLUMNS or metrics not in (None, stored_metrics):
        raise OdpError(f"{path} has other columns than this run: use another folder")
    try:
        return [_row(cells, stored_metrics) for cells in reader]
    except (TypeError, ValueError, AttributeError) as error:
        raise OdpError(f"{path}: line {reader.line_num} is no result") from error


def _cells(row: Row, metrics: tuple[str, ...]) -> list[object]:
    budget = "" if row.budget is None else row.budget
    rate: list[object] = ["", ""] if row.bytes is None else [row.bytes, f"{row.bpp:.6f}"]
    scores = [f"{row.scores[name]:.6f}" if name in row.scores else "" for name in metrics]
    size = [row.width, row.height]
    return [row.picture, row.codec, row.setting, budget, *rate, *size, row.options, *scores]


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
