"""Which files a verb works on, and where its outputs go."""

from __future__ import annotations

import contextlib
import glob
import itertools
import os
import stat
from collections.abc import Iterable, Iterator, Set
from dataclasses import dataclass
from pathlib import Path

from onedpiece.cli import files
from onedpiece.errors import OdpError

Source = tuple[Path, Path]  # an input, and its name relative to the output folder


class UsageError(ValueError):
    """The arguments do not fit together. Verbs exit with code 2 and show how they are used."""


@dataclass(frozen=True)
class Job:
    """One input and the path of its output."""

    source: Path
    target: Path


@dataclass(frozen=True)
class Inputs:
    """Inputs and outputs as given on the command line.

    paths:      files, folders and glob patterns; IN OUT without out_dir and files_from.
    out_dir:    folder for the outputs.
    files_from: file that lists more inputs, one per line; "-" is standard input.
    recursive:  search folders recursively.
    skip:       skip inputs whose output exists.
    noun:       what the inputs are called in messages.
    """

    paths: list[Path]
    out_dir: Path | None
    files_from: Path | None = None
    recursive: bool = False
    skip: bool = False
    noun: str = ".odp files"


def check_streams(inputs: Inputs, json: bool) -> None:
    """Raise UsageError if two outputs would share stdout, or if stdin would need a file name."""
    if inputs.out_dir is not None and files.STREAM in inputs.paths:
        raise UsageError("standard input has no file name to use in --out-dir")
    if inputs.out_dir is None and json and inputs.paths[-1:] == [files.STREAM]:
        raise UsageError("--json and the output cannot both go to standard output")


def plan(inputs: Inputs, suffix: str, suffixes: Set[str]) -> list[Job]:
    """Pair each input with its output: IN OUT without --out-dir, else a file in that folder.

    The tree below an input folder, and that of relative names in a list, is kept.

    suffix:   of outputs in a folder.
    suffixes: of the files in a folder that are inputs, in lower case.

    Raises UsageError for wrong usage, and OdpError if the list of inputs cannot be read.
    """
    if inputs.out_dir is None:
        if len(inputs.paths) != 2 or inputs.files_from or inputs.recursive:
            raise UsageError("give IN and OUT, or --out-dir for several inputs")
        if inputs.paths[0].is_dir():
            raise UsageError(f"{inputs.paths[0]} is a folder: use --out-dir")
        return [Job(inputs.paths[0], inputs.paths[1])]
    return [
        Job(source, inputs.out_dir / name.with_name(name.stem + suffix))
        for source, name in list_sources(inputs, suffixes)
    ]


def list_sources(inputs: Inputs, suffixes: Set[str]) -> list[Source]:
    """All inputs. Raises UsageError if there are none, OdpError if the list cannot be read."""
    sources = list(discover_inputs(inputs.paths, suffixes, inputs.recursive))
    if inputs.files_from:
        sources += [(path, _relative(path)) for path in _read_list(inputs.files_from)]
    if not sources:
        raise UsageError("there are no inputs")
    return sources


def discover_inputs(paths: Iterable[Path], suffixes: Set[str], recursive: bool) -> Iterator[Source]:
    """Yield the files that paths stand for.

    A folder stands for the files in it that have one of the suffixes, a glob pattern for what it
    matches, and any other path for itself. A missing file and a folder without inputs are yielded
    too: they fail when they are read, and are reported then.
    """
    for path in paths:
        sources: list[Source] = []
        with contextlib.suppress(OSError):
            if path.is_dir():
                sources = _files_in(path, suffixes, recursive)
            elif not path.exists() and glob.has_magic(str(path)):
                sources = _matches(path)
        yield from sources or [(path, Path(path.name or "folder"))]


def check_not_folder(source: Path, inputs: Inputs) -> None:
    """Raise OdpError for a folder: `discover_inputs` yields one only if it found no input in it."""
    try:
        if not source.is_dir():
            return
        os.listdir(source)
    except OSError as error:
        raise OdpError(f"cannot be opened: {error.strerror}") from error
    if source not in inputs.paths:
        raise OdpError("this is a folder")
    hint = "" if inputs.recursive else "; use --recursive to search the folders in it"
    raise OdpError(f"the folder holds no {inputs.noun}{hint}")


def _files_in(folder: Path, suffixes: Set[str], recursive: bool) -> list[Source]:
    """Files in a folder, and unreadable folders in it, which fail later and are reported then."""
    errors: list[OSError] = []
    paths = []
    for parent, folders, names in os.walk(folder, onerror=errors.append):
        if not recursive:
            folders.clear()
        children = (Path(parent, name) for name in names)
        paths += [path for path in children if path.suffix.lower() in suffixes and _is_file(path)]
    paths += [Path(error.filename) for error in errors if error.filename != str(folder)]
    return [(path, path.relative_to(folder)) for path in sorted(paths)]


def _is_file(path: Path) -> bool:
    try:
        return stat.S_ISREG(path.stat().st_mode)
    except OSError:
        return True  # it fails when it is read, and is reported then


def _matches(pattern: Path) -> list[Source]:
    root = Path(*itertools.takewhile(lambda part: not glob.has_magic(part), pattern.parts))
    matches = map(Path, sorted(glob.glob(str(pattern), recursive=True)))
    return [(match, match.relative_to(root)) for match in matches if not match.is_dir()]


def _read_list(list_file: Path) -> Iterator[Path]:
    """Yield the paths in a list with one per line, or separated by NUL as by `find -print0`."""
    try:
        data = files.read(list_file)
    except OdpError as error:
        raise type(error)(f"{list_file}: {error}") from error
    for line in data.split(b"\0" if b"\0" in data else b"\n"):
        path = Path(os.fsdecode(line.rstrip(b"\r")))
        if path == files.STREAM:
            raise OdpError(f"{list_file} names standard input")
        if path.name not in ("", ".."):  # `find` lists its folder too, as "." or ".."
            yield path


def _relative(path: Path) -> Path:
    """The path without root and "..", so that its output stays in the output folder."""
    return Path(*(part for part in path.parts if part not in (path.anchor, "..")))
