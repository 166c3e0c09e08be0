"""Files of the input: local paths, and URLs such as s3://bucket/pictures.

URLs need fsspec and its library for the protocol, such as s3fs or gcsfs.
"""

from __future__ import annotations

import functools
import glob
import itertools
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple

from onedpiece.constants import MAX_FILE_BYTES
from onedpiece.errors import LimitExceeded, OdpError

HUB = "hf:"
CONVERTED = "@refs/convert/parquet"  # the branch on which the hub keeps its datasets as Parquet


class Place(NamedTuple):
    """A file: its name relative to the input that it belongs to, and what comes before that."""

    root: str
    name: str

    @property
    def path(self) -> str:
        """Path or URL of the file."""
        return self.root + self.name


def find_files(given: str, wanted: Callable[[str], bool]) -> list[Place]:
    """The files that an input stands for, sorted by name.

    given:  a file, a folder with everything below it, a pattern, a URL of one of these, or
        hf:OWNER/NAME[/CONFIG[/SPLIT]] for a dataset on the Hugging Face hub.
    wanted: which files of a folder or pattern are inputs, by name.

    Raises OdpError if there are none, or if the place cannot be listed.
    """
    path = _hub_url(given) if given.startswith(HUB) else given
    try:
        places = _find_remote(path, wanted) if is_url(path) else _find_local(path, wanted)
    except OSError as error:
        raise OdpError(f"{given} cannot be listed: {error.strerror or error}") from error
    if not places:
        raise OdpError(f"{given}: there are no inputs")
    return sorted(places, key=lambda place: (place.name, place.root))


def open_file(path: str) -> BinaryIO:
    """Open a file for reading. Raises OdpError."""
    try:
        if not is_url(path):
            return open(path, "rb")
        system, root = _file_system(path)
        file: BinaryIO = system.open(root, "rb")
        return file
    except OSError as error:
        raise OdpError(f"cannot be opened: {error.strerror or error}") from error


def read_file(path: str) -> bytes:
    """All bytes of a file. Raises OdpError, or LimitExceeded above MAX_FILE_BYTES."""
    with open_file(path) as file:
        try:
            data = file.read(MAX_FILE_BYTES + 1)
        except OSError as error:
            raise OdpError(f"cannot be read: {error.strerror or error}") from error
    if len(data) > MAX_FILE_BYTES:
        raise LimitExceeded(f"the file has more than {MAX_FILE_BYTES} bytes")
    return data


def is_url(path: str) -> bool:
    """Whether a path is a URL."""
    return "://" in path


def _find_local(path: str, wanted: Callable[[str], bool]) -> list[Place]:
    if os.path.isdir(path):
        return _files_below(path, wanted)
    if os.path.exists(path):
        return [_place(path, os.path.dirname(path))]
    if not glob.has_magic(path):
        raise OdpError(f"{path} does not exist")
    fixed = itertools.takewhile(lambda part: not glob.has_magic(part), Path(path).parts)
    root = str(Path(*fixed))
    matches = glob.iglob(path, recursive=True)
    return [_place(match, root) for match in matches if wanted(match) and not os.path.isdir(match)]


def _files_below(folder: str, wanted: Callable[[str], bool]) -> list[Place]:
    """Wanted files, and folders that cannot be listed, which fail and are reported when read."""
    errors: list[OSError] = []
    paths = [
        os.path.join(parent, name)
        for parent, _, names in os.walk(folder, onerror=errors.append)
        for name in names
        if wanted(name)
    ]
    paths += [str(error.filename) for error in errors]
    return [_place(path, folder) for path in paths]


def _place(path: str, root: str) -> Place:
    name = Path(os.path.relpath(path, root or ".")).as_posix()
    return Place(_with_slash(root), name)


@functools.lru_cache(maxsize=8)
def _with_slash(root: str) -> str:
    """The root as a prefix of paths: one string for all of its files."""
    return os.path.join(root, "") if root else ""


def _find_remote(url: str, wanted: Callable[[str], bool]) -> list[Place]:
    system, root = _file_system(url)
    if glob.has_magic(root):
        found = [path for path in system.glob(root) if wanted(path)]
        root = root[: min(root.find(letter) for letter in "*?[" if letter in root)]
        root = root.rpartition("/")[0]
    elif system.isdir(root):
        found = [path for path in system.find(root) if wanted(path)]
    else:
        root, found = root.rpartition("/")[0], [root]
    places = []
    for path in found:
        name = path.removeprefix(root).lstrip("/")
        places.append(Place(system.unstrip_protocol(path).removesuffix(name), name))
    return places


def _file_system(url: str) -> tuple[Any, str]:
    """fsspec's file system for a URL, and the path in it. Raises OdpError."""
    try:
        import fsspec

        system, root = fsspec.core.url_to_fs(url)
    except (ImportError, ValueError) as error:
        raise OdpError(f"{url} cannot be read: {error}") from error
    return system, root


def _hub_url(given: str) -> str:
    """The URL of a dataset on the Hugging Face hub, or a local path if there is one."""
    name = given.removeprefix(HUB)
    if os.path.exists(name):
        return name
    owner, _, rest = name.partition("/")
    name, _, rest = rest.partition("/")
    if not owner or not name:
        raise OdpError(f"{given}: write hf:OWNER/NAME, or hf: and the path of a folder")
    return f"hf://datasets/{owner}/{name}{CONVERTED}" + (f"/{rest}" if rest else "")
