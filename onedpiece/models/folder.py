"""Write model directories completely, or not at all."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from onedpiece.errors import OutputError


def check_free(path: Path, force: bool) -> None:
    """Raise OutputError if `path` exists, unless it is a model and `force` is true."""
    if path.exists() and not force:
        raise OutputError(f"{path} exists, and is replaced only by force")
    if path.exists() and not (path / "model.json").is_file():
        raise OutputError(f"{path} exists and is not a model: it is not replaced")


@contextmanager
def complete(path: Path) -> Iterator[Path]:
    """A directory to write a model into, renamed to `path` at the end, or removed on failure.

    Raises OutputError if it cannot be written.
    """
    path = path.resolve()  # of a link, what it points to is replaced
    partial = path.with_name(f".{path.name}-{os.getpid()}.part")
    old = path.with_name(f".{path.name}-{os.getpid()}.old")
    try:
        partial.mkdir(parents=True)
        yield partial
        if path.exists():
            path.rename(old)
        try:
            partial.rename(path)
        except BaseException:
            if old.exists():
                old.rename(path)
            raise
    except OSError as error:
        raise OutputError(f"{path} cannot be written: {error.strerror or error}") from error
    finally:
        shutil.rmtree(partial, ignore_errors=True)
    shutil.rmtree(old, ignore_errors=True)
