"""WebDataset tar files: members that share a name up to its first dot are one sample."""

from __future__ import annotations

import io
import lzma
import re
import tarfile
import zlib
from collections import Counter
from collections.abc import Callable, Iterator
from typing import Any, BinaryIO, NamedTuple

from onedpiece.constants import MAX_FILE_BYTES
from onedpiece.datasets.places import open_file
from onedpiece.errors import LimitExceeded, OdpError

SUFFIXES = (".tar", ".tar.gz", ".tgz", ".tar.bz2", ".tar.xz")
LABELS = ("cls", "txt", "json")
"""Extensions of the members that are passed through unless the caller names others."""

MAX_LABEL = 16 << 20  # bytes of a member that is passed through
MAX_EXTENDED_HEADER = 1 << 20  # bytes; tarfile reads them at once
_EXTENDED = {*(tarfile.XHDTYPE, tarfile.XGLTYPE, tarfile.SOLARIS_XHDTYPE)} | {
    *(tarfile.GNUTYPE_LONGNAME, tarfile.GNUTYPE_LONGLINK)
}
_NAME = re.compile(r"((?:.*/|)[^./]+)[.]([^/]*)")  # key and extension, as WebDataset splits them
_OF_FORMAT = re.compile(r"__[^/]*__($|/)")  # names that WebDataset reserves
_ERRORS = (tarfile.TarError, EOFError, zlib.error, lzma.LZMAError, OSError, ValueError, LookupError)


class Found(NamedTuple):
    """A sample of a source: the bytes of its picture, or why there is none.

    data:    bytes, or the path of a file that is not read yet.
    columns: what is passed through, by name.
    """

    key: str
    data: bytes | str
    columns: dict[str, Any]
    error: str = ""

    @property
    def size(self) -> int:
        """About how many bytes of memory it takes."""
        return len(self.data) + _size(self.columns)


def read_samples(
    path: str,
    is_picture: Callable[[str], bool],
    labels: tuple[str, ...],
    left_out: Counter[str],
) -> Iterator[Found]:
    """The samples of a tar file, in its order; the last ones have errors if it is damaged.

    is_picture: whether a member is a picture, by name; the first one of a sample counts.
    labels:     extensions of the members to pass through: "cls" as an integer, others as text.
    left_out:   counts the extensions of all other members.
    """
    sample: _Sample | None = None
    try:
        with open_file(path) as file:
            for name, read in _members(file):
                match = _NAME.fullmatch(name)
                if match is None or _OF_FORMAT.match(name):
                    continue
                key, extension = unescape(match[1]), match[2].lower()
                if sample is None or sample.key != key:
                    if sample is not None:
                        yield sample.found()
                    sample = _Sample(key)
                if not sample.take(extension, is_picture(name), labels, read):
                    left_out[extension] += 1
            if sample is not None:
                yield sample.found()
    except (OdpError, *_ERRORS) as error:
        reason = f"the tar file is damaged or truncated: {error}"
        if sample is not None:
            yield Found(sample.key, b"", {}, f"perhaps not whole: {reason}")
        yield Found(path, b"", {}, reason)


class _Sample:
    """The members of a sample that have been read so far."""

    def __init__(self, key: str) -> None:
        self.key = key
        self._picture: bytes | None = None
        self._labels: dict[str, Any] = {}
        self._error = ""

    def take(
        self,
        extension: str,
        is_picture: bool,
        labels: tuple[str, ...],
        read: Callable[[int], bytes],
    ) -> bool:
        """Keep a member if it is wanted; whether it was."""
        try:
            if extension in labels and extension not in self._labels:
                self._labels[extension] = _label(extension, read(MAX_LABEL))
            elif is_picture and self._picture is None:
                self._picture = read(MAX_FILE_BYTES)
            else:
                return False
        except (LimitExceeded, ValueError) as error:
            self._error = self._error or f".{extension}: {error}"
        return True

    def found(self) -> Found:
        if self._picture is None and not self._error:
            self._error = "there is no picture among its members"
        return Found(self.key, self._picture or b"", self._labels, self._error)


def _label(extension: str, data: bytes) -> Any:
    text = data.decode("utf-8", "strict")
    if extension != "cls":
        return text
    number = int(text)
    if not -(1 << 63) <= number < 1 << 63:
        raise ValueError("the number is too large")
    return number


def _size(value: Any) -> int:
    if isinstance(value, bytes | str):
        return len(value)
    values = value.values() if isinstance(value, dict) else value
    return sum(map(_size, values)) if isinstance(value, dict | list) else 8


class _Info(tarfile.TarInfo):
    """Notes that the end of the archive was seen: tarfile takes a missing one for an end too."""

    @classmethod
    def fromtarfile(cls, tar: tarfile.TarFile) -> _Info:
        try:
            return super().fromtarfile(tar)
        except tarfile.EOFHeaderError:  # type: ignore[attr-defined]
            tar.is_whole = True  # type: ignore[attr-defined]
            raise

    @classmethod
    def frombuf(cls, buffer: bytes | bytearray, encoding: str, errors: str) -> _Info:
        info = super().frombuf(buffer, encoding, errors)
        if info.type in _EXTENDED and info.size > MAX_EXTENDED_HEADER:
            raise tarfile.ReadError("an extended header is too long")
        return info


def _members(file: BinaryIO) -> Iterator[tuple[str, Callable[[int], bytes]]]:
    """Name of each regular file, and a function that reads it before the next one is asked for.

    Raises one of _ERRORS for a file that is damaged or has no end.
    """
    with tarfile.open(fileobj=file, mode="r|*", tarinfo=_Info) as tar:
        while (info := tar.next()) is not None:
            tar.members.clear()  # type: ignore[attr-defined]  # else it remembers all of them
            if info.isreg():
                yield info.name, lambda limit, info=info: _read(tar, info, limit)  # type: ignore[misc]
        if not hasattr(tar, "is_whole"):
            raise tarfile.ReadError("it has no end")


def _read(tar: tarfile.TarFile, info: tarfile.TarInfo, limit: int) -> bytes:
    if info.size > limit:
        raise LimitExceeded(f"the file has more than {limit} bytes")
    file = tar.extractfile(info)
    assert file is not None
    return file.read()


def add_member(tar: tarfile.TarFile, key: str, extension: str, data: bytes) -> None:
    """Append a member of a sample to a tar file."""
    info = tarfile.TarInfo(f"{escape(key)}.{extension}")
    info.size = len(data)
    tar.addfile(info, io.BytesIO(data))


def escape(key: str) -> str:
    """The key as a name: WebDataset ends a key at the first dot after the last slash."""
    folder, slash, name = key.rpartition("/")
    return folder + slash + name.replace("%", "%25").replace(".", "%2E")


def unescape(name: str) -> str:
    """The key that `escape` made a name of."""
    folder, slash, name = name.rpartition("/")
    return folder + slash + name.replace("%2E", ".").replace("%25", "%")
