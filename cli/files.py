"""Read inputs and write outputs: standard streams, atomic replacement, no silent overwriting."""

from __future__ import annotations

import contextlib
import os
import sys
import threading
import warnings
from collections.abc import Iterator
from pathlib import Path

from onedpiece.constants import MAX_FILE_BYTES, MAX_PIXELS
from onedpiece.errors import LimitExceeded, OdpError, OutputError

STREAM = Path("-")  # standard input or output
HEADER_BYTES = 64  # at least as long as any header
ERRORS = (OdpError, OSError, MemoryError)  # failures of one file, after which others go on


def read(path: Path) -> bytes:
    """Read a whole file, or standard input for "-". Raises OdpError or LimitExceeded."""
    try:
        if path == STREAM:
            data = sys.stdin.buffer.read(MAX_FILE_BYTES + 1)
        else:
            with path.open("rb") as file:
                data = file.read(MAX_FILE_BYTES + 1)
    except OSError as error:
        raise OdpError(f"cannot be opened: {error.strerror}") from error
    if len(data) > MAX_FILE_BYTES:
        raise LimitExceeded(f"the file has more than {MAX_FILE_BYTES} bytes")
    return data


def read_start(path: Path) -> bytes:
    """Read enough of a file to contain its header. Raises OdpError."""
    try:
        with path.open("rb") as file:
            return file.read(HEADER_BYTES)
    except OSError as error:
        raise OdpError(f"cannot be opened: {error.strerror}") from error


def is_regular(path: Path) -> bool:
    """Whether a path is a file that can be read twice, not a standard stream or a pipe."""
    return path != STREAM and path.is_file()


def make_folder(path: Path) -> None:
    """Create a folder and its missing parents. Raises OutputError."""
    try:
        path.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise OutputError(f"{path} cannot be created: {error.strerror}") from error


def check_free(path: Path, force: bool) -> None:
    """Raise OutputError if `path` is a folder, or a file that may not be overwritten."""
    try:
        is_folder, is_file = path.is_dir(), is_regular(path)
    except OSError as error:
        raise OutputError(f"{path} cannot be written: {error.strerror}") from error
    if is_folder:
        raise OutputError(f"{path} is a folder: use --out-dir to write into it")
    if is_file and not force:
        raise OutputError(f"{path} exists: use --force to overwrite it")


def write(path: Path, data: bytes, force: bool) -> None:
    """Write to standard output for "-", else to a temporary file that is renamed when complete.

    Raises OutputError, and BrokenPipeError if the reader of standard output has closed it.
    """
    try:
        if path == STREAM:
            sys.stdout.buffer.write(data)
            sys.stdout.buffer.flush()
        elif path.exists() and not path.is_file():
            path.write_bytes(data)  # a device or a pipe must not be replaced by a file
        else:
            _replace(Path(os.path.realpath(path)), data, force)
    except BrokenPipeError:
        raise
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


def quieten_pillow(max_pixels: int = MAX_PIXELS) -> None:
    """Let Pillow read a picture without warnings, or fail in one line."""
    from PIL import Image

    warnings.filterwarnings("ignore", module="PIL")
    Image.MAX_IMAGE_PIXELS = (max_pixels + 1) // 2  # Pillow raises an error above twice this number


@contextlib.contextmanager
def silence_c_libraries() -> Iterator[None]:
    """Discard what C libraries print on stderr, such as libtiff about broken pictures.

    What Python prints on stderr still appears. With `odp --debug`, so does everything else.
    """
    if os.environ.get("ODP_DEBUG"):
        yield
        return
    stderr, copy = sys.stderr, os.dup(2)
    with open(copy, "w", buffering=1, errors="backslashreplace") as stream:
        sys.stderr = stream
        with open(os.devnull, "wb") as null:
            os.dup2(null.fileno(), 2)
        try:
            yield
        finally:
            os.dup2(copy, 2)
            sys.stderr = stderr
