"""Parquet files of pictures, as Hugging Face datasets are: a column of bytes, and others."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from onedpiece.datasets.arrow import import_pyarrow
from onedpiece.datasets.places import open_file
from onedpiece.datasets.tars import Found
from onedpiece.errors import OdpError

PICTURE_NAMES = ("image", "img", "picture", "jpg", "jpeg", "png", "webp", "bytes", "odp")
KEY_NAMES = ("key", "__key__")
ROWS = 8  # read at once


@dataclass(frozen=True)
class Layout:
    """Which columns of a Parquet file are what.

    key:    None if rows are named by their number.
    passed: columns that are passed through, with their Arrow types.
    """

    picture: str
    key: str | None
    passed: dict[str, Any]


def find_layout(
    path: str,
    picture: str | None = None,
    key: str | None = None,
    columns: tuple[str, ...] | None = None,
) -> Layout:
    """The layout of a file.

    picture: name of the column of pictures; by default the first one that looks like it.
    key:     name of the column of keys; by default "key" or "__key__" if it is text.
    columns: what to pass through; by default all other columns.

    Raises OdpError if the file cannot be read or lacks a column.
    """
    with _open(path) as file:
        schema = file.schema_arrow
    picture = picture or _picture_column(schema)
    if key is None:
        key = next((name for name in KEY_NAMES if _is_text(schema, name)), None)
    if columns is None:
        columns = tuple(name for name in schema.names if name not in {picture, key})
    missing = [name for name in (picture, key, *columns) if name and name not in schema.names]
    if picture is None or missing:
        wanted = f"no column '{missing[0]}'" if missing else "no column of pictures"
        raise OdpError(f"{path} has {wanted}: it has {', '.join(schema.names)}")
    return Layout(picture, key, {name: _plain_type(schema.field(name).type) for name in columns})


def read_samples(path: str, name: str, layout: Layout, all_columns: bool) -> Iterator[Found]:
    """The rows of a file, in its order; the last one has an error if the file is damaged.

    name:        what keys begin with if there is no column of them.
    layout:      that of the first file of the input. Files with other columns are errors.
    all_columns: whether all columns are passed through, so that a new one is an error.
    """
    number = 0
    try:
        columns = None if all_columns else tuple(layout.passed)
        if find_layout(path, layout.picture, layout.key, columns) != layout:
            raise OdpError("its columns are not those of the first file")
        names = [layout.picture, *([layout.key] if layout.key else []), *layout.passed]
        with _open(path) as file:
            for batch in file.iter_batches(ROWS, columns=names):
                for row in batch.to_pylist():
                    yield _found(row, f"{name}/{number:07d}", layout)
                    number += 1
    except Exception as error:  # pyarrow raises many types for broken files
        yield Found(path, b"", {}, f"lost from row {number} on: {error}")


def _found(row: dict[str, Any], numbered: str, layout: Layout) -> Found:
    key = row[layout.key] if layout.key else numbered
    picture, columns = row[layout.picture], {name: row[name] for name in layout.passed}
    if isinstance(picture, dict):
        if picture.get("bytes") is None and picture.get("path"):
            error = f"there are no bytes, only the path {picture['path']}"
            return Found(str(key or numbered), b"", columns, error)
        picture = picture.get("bytes")
    if picture is None or key is None:
        what = "key" if key is None else "picture"
        return Found(str(key or numbered), b"", columns, f"the {what} is null")
    if not isinstance(picture, bytes):  # text would be taken for a path
        error = f"the picture is not bytes but {type(picture).__name__}"
        return Found(str(key), b"", columns, error)
    return Found(str(key), picture, columns)


def _open(path: str) -> Any:
    """A file, of which little is in memory at once. Raises OdpError."""
    pyarrow, parquet = import_pyarrow()
    file = open_file(path)
    try:
        return parquet.ParquetFile(file, buffer_size=1 << 20, pre_buffer=False)
    except (pyarrow.ArrowException, OSError, ValueError) as error:
        file.close()
        raise OdpError(f"{path} is no Parquet file: {error}") from error


def _picture_column(schema: Any) -> str | None:
    pyarrow, _ = import_pyarrow()
    types = pyarrow.types

    def is_bytes(kind: Any) -> bool:
        return bool(types.is_binary(kind) or types.is_large_binary(kind))

    for field in schema:
        if types.is_struct(field.type):
            index = field.type.get_field_index("bytes")
            if index >= 0 and is_bytes(field.type.field(index).type):
                return str(field.name)
    for field in schema:
        if is_bytes(field.type) and field.name.lower() in PICTURE_NAMES:
            return str(field.name)
    return None


def _is_text(schema: Any, name: str) -> bool:
    types = import_pyarrow()[0].types
    if name not in schema.names:
        return False
    kind = schema.field(name).type
    return bool(types.is_string(kind) or types.is_large_string(kind))


def _plain_type(kind: Any) -> Any:
    """The type of the values of a dictionary or of an extension type."""
    pyarrow, _ = import_pyarrow()
    if isinstance(kind, pyarrow.BaseExtensionType):
        return kind.storage_type
    return kind.value_type if pyarrow.types.is_dictionary(kind) else kind
