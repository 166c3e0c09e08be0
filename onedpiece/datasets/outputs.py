"""Files of the output: they appear under their name only when they are complete."""

from __future__ import annotations

import contextlib
import json
import os
import threading
from pathlib import Path

from onedpiece.errors import OdpError, OutputError


def file_of(folder: Path, key: str, suffix: str) -> Path:
    """The path of a key's file below a folder. Raises OdpError for a key that leads out of it."""
    names = [name for name in key.split("/") if name not in ("", ".")]
    foreign = os.name == "nt" and any(letter in key for letter in ':\\<>"|?*')
    if not names or ".." in names or "\0" in key or key.startswith("/") or foreign:
        raise OdpError("the key is no file name")
    return folder.joinpath(*names[:-1], names[-1] + suffix)


def write_file(path: Path, data: bytes, force: bool = False) -> None:
    """Write a file and the folders above it. Raises OutputError, also if it exists already."""
    partial = path.with_name(f".odp-{os.getpid()}-{threading.get_native_id()}.part")
    try:
        if path.exists() and not force:
            raise OutputError(f"{path} exists: use --force to overwrite it")
        path.parent.mkdir(parents=True, exist_ok=True)
        partial.write_bytes(data)
        rename(partial, path)
    except OSError as error:
        raise OutputError(f"{path} cannot be written: {error.strerror}") from error
    finally:
        with contextlib.suppress(OSError):  # there may be a file in the place of a folder
            partial.unlink(missing_ok=True)


def rename(partial: Path, path: Path, sync: bool = False) -> None:
    """Give a complete file its name; with `sync`, only once its contents are on the disk."""
    if sync:
        with partial.open("r+b") as file:
            os.fsync(file.fileno())
    os.replace(partial, path)


def write_failures(path: Path, failures: list[dict[str, str]]) -> None:
    """Write a side file, a line of JSON for each failure; remove an old one if there is none.

    Raises OutputError.
    """
    try:
        path.unlink(missing_ok=True)
    except OSError as error:
        raise OutputError(f"{path} cannot be removed: {error.strerror}") from error
    if failures:
        lines = "".join(f"{json.dumps(failure)}\n" for failure in failures)
        write_file(path, lines.encode())
