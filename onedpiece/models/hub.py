"""Published models and their download from the Hugging Face hub, by `huggingface_hub`.

Its environment variables hold here too: HF_ENDPOINT names a mirror, HF_HUB_OFFLINE forbids the network, HF_HOME and
HF_HUB_CACHE say where downloads are kept.
"""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass
from pathlib import Path

from onedpiece.errors import DownloadError, missing_extra
from onedpiece.models.registry import sha256


@dataclass(frozen=True)
class Published:
    """Where a model is published: a repository of the hub, a commit or branch of it, and the state dict in it.

    The authors publish no tags, and a branch can move. A commit is named here where one is known from somebody who
    ran the model of it; a branch is resolved to a commit, which the installed model's manifest keeps.
    """

    repository: str
    revision: str = "main"
    file: str = "pytorch_model.bin"


PUBLISHED = {
    "one-d-piece-s-256": Published(
        "turing-motors/One-D-Piece-S-256", "250e95dcb0b29fcfeef4396d1788a9dbd18ca455"
    ),
    "one-d-piece-b-256": Published("turing-motors/One-D-Piece-B-256"),
    "one-d-piece-l-256": Published("turing-motors/One-D-Piece-L-256"),
}


@dataclass(frozen=True)
class Download:
    """A file of the hub on this machine. commit: the 40 hexadecimal digits that the revision stood for."""

    path: Path
    repository: str
    revision: str
    commit: str

    def facts(self) -> dict[str, str]:
        """What a manifest keeps of it."""
        return {
            "repository": self.repository,
            "revision": self.revision,
            "commit": self.commit,
        }


def download(name: str, revision: str | None = None) -> Download:
    """Fetch the state dict of a published model, or find it in the cache of `huggingface_hub`.

    revision: a commit or branch, instead of the one in `PUBLISHED`.
    Raises DownloadError: unknown name or revision, no network, or not what the hub says the file is.
    """
    if name not in PUBLISHED:
        raise DownloadError(f"no published model '{name}': there are {', '.join(PUBLISHED)}")
    place = PUBLISHED[name]
    revision = revision or place.revision
    try:
        from huggingface_hub import constants, hf_hub_download
        from huggingface_hub.errors import (
            HfHubHTTPError,
            HFValidationError,
            LocalEntryNotFoundError,
        )
    except ImportError as error:
        raise missing_extra("downloading", error) from error
    by_hand = f"or fetch {place.file} of {place.repository} elsewhere and `odp models import` it"
    try:
        path = Path(hf_hub_download(place.repository, place.file, revision=revision))
    except LocalEntryNotFoundError as error:
        why = (
            "HF_HUB_OFFLINE is set"
            if constants.HF_HUB_OFFLINE
            else f"{constants.ENDPOINT} does not answer ({_first_line(error.__cause__ or error)})"
        )
        raise DownloadError(
            f"{why} and {place.repository} is not in the cache at revision {revision}: "
            f"try again with a network, {by_hand}"
        ) from error
    except (HfHubHTTPError, HFValidationError) as error:
        newest = "" if revision == "main" else " (--revision main is the newest that is there)"
        raise DownloadError(
            f"{constants.ENDPOINT} does not give {place.file} of {place.repository} at revision "
            f"{revision}: {_first_line(error)}{newest}"
        ) from error
    except Exception as error:  # of its HTTP library, which has changed before, and of the disk
        raise DownloadError(
            f"the download of {place.repository} failed: {_first_line(error)}; try again, {by_hand}"
        ) from error
    _check(path)
    return Download(path, place.repository, revision, path.parent.name)


def _check(path: Path) -> None:
    """Large files are kept under their SHA-256, which the download itself does not check. Raises DownloadError."""
    blob = path.resolve()
    if not re.fullmatch(f"[0-9a-f]{{{hashlib.sha256().digest_size * 2}}}", blob.name):
        return
    if sha256(blob) != blob.name:
        blob.unlink(missing_ok=True)
        path.unlink(missing_ok=True)
        raise DownloadError(f"{path.name} is damaged and was removed from the cache: pull it again")


def _first_line(error: BaseException) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0]
