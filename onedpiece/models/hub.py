"""Published models, and their download from the Hugging Face hub with `huggingface_hub`.

Its environment variables apply: HF_ENDPOINT is the address of a mirror, HF_HUB_OFFLINE disables the
network, and HF_HOME and HF_HUB_CACHE set the folder of the cache.
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
    """Where a model is published: repository on the hub, commit or branch, and file.

    The authors publish no tags, and a branch can move. The revision is a commit if that version of
    the model is known to have been run. A branch is resolved to a commit, which is stored in the
    manifest of the installed model.
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
    """A file downloaded from the hub.

    path: the file in the cache.
    repository, revision: its source, as in `Published`.
    commit: the commit to which the revision was resolved, 40 hexadecimal digits.
    """

    path: Path
    repository: str
    revision: str
    commit: str

    def facts(self) -> dict[str, str]:
        """The source of the model, for the manifest of the installed model."""
        return {
            "repository": self.repository,
            "revision": self.revision,
            "commit": self.commit,
        }


def download(name: str, revision: str | None = None) -> Download:
    """Fetch the state dict of a published model, or take it from the cache of `huggingface_hub`.

    revision: a commit or branch; the revision in `PUBLISHED` if None.

    Raises DownloadError if the name or revision is unknown, the network does not work or the file
    is damaged, and OdpError without the extra.
    """
    if name not in PUBLISHED:
        raise DownloadError(f"no published model '{name}': there are {', '.join(PUBLISHED)}")
    published = PUBLISHED[name]
    revision = revision or published.revision
    path = _fetch(published, revision)
    _check(path)
    return Download(path, published.repository, revision, path.parent.name)


def _fetch(published: Published, revision: str) -> Path:
    """The file in the cache. Raises DownloadError."""
    try:
        from huggingface_hub import constants, hf_hub_download
        from huggingface_hub.errors import (
            HfHubHTTPError,
            HFValidationError,
            LocalEntryNotFoundError,
        )
    except ImportError as error:
        raise missing_extra("downloading", error) from error
    repository, file = published.repository, published.file
    by_hand = f"or fetch {file} of {repository} elsewhere and `odp models import` it"
    try:
        return Path(hf_hub_download(repository, file, revision=revision))
    except LocalEntryNotFoundError as error:
        reason = (
            "HF_HUB_OFFLINE is set"
            if constants.HF_HUB_OFFLINE
            else f"{constants.ENDPOINT} does not answer ({_first_line(error.__cause__ or error)})"
        )
        raise DownloadError(
            f"{reason} and {repository} is not in the cache at revision {revision}: "
            f"try again with a network, {by_hand}"
        ) from error
    except (HfHubHTTPError, HFValidationError) as error:
        newest = "" if revision == "main" else " (--revision main is the newest)"
        raise DownloadError(
            f"{constants.ENDPOINT} does not have {file} of {repository} at revision "
            f"{revision}: {_first_line(error)}{newest}"
        ) from error
    except Exception as error:  # errors of the disk, and of any HTTP library
        raise DownloadError(
            f"the download of {repository} failed: {_first_line(error)}; try again, {by_hand}"
        ) from error


def _check(path: Path) -> None:
    """Remove a damaged file from the cache. Raises DownloadError.

    The hub names large files by their SHA-256, which `huggingface_hub` does not check.
    """
    blob = path.resolve()
    if not re.fullmatch(f"[0-9a-f]{{{hashlib.sha256().digest_size * 2}}}", blob.name):
        return
    if sha256(blob) != blob.name:
        blob.unlink(missing_ok=True)
        path.unlink(missing_ok=True)
        raise DownloadError(f"{path.name} is damaged and was removed from the cache: pull it again")


def _first_line(error: BaseException) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0]
