"""Reading inputs and writing outputs: standard streams, atomic replacement, no silent overwriting."""

from __future__ import annotations

import contextlib
import os
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

from onedpiece.errors import LimitExceeded, OdpError, OutputError

STREAM = Path("-")
MAX_INPUT = 512 << 20  # bytes; far above the largest .odp file that the limits on pixels allow


def read(path: Path) -> bytes:
    """A whole file, or standard input for "-". Raises OdpError or LimitExceeded."""
    try:
        if path == STREAM:
            data = sys.stdin.buffer.read(MAX_INPUT + 1)
        else:
            with path.open("rb") as file:
                data = file.read(MAX_INPUT + 1)
    except OSError as error:
        raise OdpError(f"cannot be opened: {error.strerror}") from error
    if len(data) > MAX_INPUT:
        raise LimitExceeded(f"the file has more than {MAX_INPUT} bytes")
    return data


def beginning(path: Path) -> bytes:
    """Enough of a file for its header. Raises OdpError."""
    try:
        with path.open("rb") as file:
            return file.read(64)
    except OSError as error:
        raise OdpError(f"cannot be opened: {error.strerror}") from error


def is_regular(path: Path) -> bool:
    """Whether a path names a file that can be read more than once: no stream, no pipe."""
    return path != STREAM and path.is_file()


def make_folder(path: Path) -> None:
    """Make a folder and what is above it. Raises OutputError."""
    try:
        path.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise OutputError(f"{path} cannot be made: {error.strerror}") from error


def check_free(path: Path, force: bool) -> None:
    """Raise OutputError if writing to `path` would overwrite something unasked."""
    try:
        folder, file = path.is_dir(), path != STREAM and path.is_file()
    except OSError as error:
        raise OutputError(f"{path} cannot be written: {error.strerror}") from error
    if folder:
        raise OutputError(f"{path} is a directory: use --out-dir to write into it")
    if file and not force:
        raise OutputError(f"{path} exists: use --force to overwrite it")


def write(path: Path, data: bytes, force: bool) -> None:
    """Write to standard output for "-", else to a temporary file that is renamed when complete.

    Raises OutputError.
    """
    try:
        if path == STREAM:
            sys.stdout.buffer.write(data)
            sys.stdout.buffer.flush()
        elif path.exists() and not path.is_file():
            path.write_bytes(data)  # a device or a pipe is written to, never replaced
        else:
            _replace(Path(os.path.realpath(path)), data, force)
    except BrokenPipeError:
        raise  # nobody reads our output any more
    except OSError as error:
        raise OutputError(f"{path} cannot be written: {error.strerror}") from error


def _replace(path: Path, data: bytes, force: bool) -> None:
    partial = path.with_name(f".odp-{os.getpid()}-{threading.get_native_id()}.part")
    try:
        partial.write_bytes(data)
        check_free(path, force)
        os.replace(partial, path)
    finally:
        partial.unlink(missing_ok=True)


@contextlib.contextmanager
def silent_libraries() -> Iterator[None]:
    """Keep off stderr what libraries in C, such as libtiff, print there about broken pictures; Python's stays."""
    if os.environ.get("ODP_DEBUG"):
        yield
        return
    before, kept = sys.stderr, os.dup(2)
    with open(kept, "w", buffering=1, errors="backslashreplace") as ours:
        sys.stderr = ours
        with open(os.devnull, "wb") as nothing:
            os.dup2(nothing.fileno(), 2)
        try:
            yield
        finally:
            os.dup2(kept, 2)
            sys.stderr = before
