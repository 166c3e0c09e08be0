"""Published models, and their download from the Hugging Face hub with `huggingface_hub`.

Its environment variables apply: HF_ENDPOINT sets a mirror, HF_HUB_OFFLINE forbids the network, and
HF_HOME and HF_HUB_CACHE set the folder of the cache.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

from onedpiece.errors import DownloadError, missing_extra
from onedpiece.models.manifest import sha256


@dataclass(frozen=True)
class Published:
    """Where a model is published: a file of a repository of the hub, at a commit or branch.

    The authors publish no tags, and a branch can move. A commit is pinned where a public source
    names the one that it used. A branch is resolved to a commit, which the manifest of the
    installed model keeps.

    sha256: SHA-256 of the file at `revision`, hexadecimal; empty if it is not known.
    """

    repository: str
    revision: str = "main"
    file: str = "pytorch_model.bin"
    sha256: str = ""


PUBLISHED = {
    "one-d-piece-s-256": Published(
        "turing-motors/One-D-Piece-S-256", "250e95dcb0b29fcfeef4396d1788a9dbd18ca455"
    ),
    "one-d-piece-b-256": Published("turing-motors/One-D-Piece-B-256"),
    "one-d-piece-l-256": Published("turing-motors/One-D-Piece-L-256"),
}


@dataclass(frozen=True)
class Download:
    """A downloaded file of the hub.

    commit: the commit to which the revision was resolved, 40 hexadecimal digits.
    """

    path: Path
    repository: str
    revision: str
    commit: str

    def facts(self) -> dict[str, str]:
        """What the manifest of an installed model keeps about its source."""
        return {
            "repository": self.repository,
            "revision": self.revision,
            "commit": self.commit,
        }


def download(name: str, revision: str | None = None) -> Download:
    """Download the state dict of a published model, or take it from the cache.

    A download that breaks off is resumed; `huggingface_hub` gives up after five attempts in a row
    that bring nothing.

    revision: a commit or branch; that of `PUBLISHED` if None. Only that one has a known SHA-256.

    Raises DownloadError if the name or revision is unknown, if the hub cannot be reached, and if
    the file is damaged or not the pinned one.
    """
    if name not in PUBLISHED:
        raise DownloadError(f"no published model '{name}': there are {', '.join(PUBLISHED)}")
    published = PUBLISHED[name]
    path = _fetch(published, revision or published.revision)
    checksum = _check_damage(path)
    if not revision and published.sha256 and checksum != published.sha256:
        raise DownloadError(
            f"{published.file} of {published.repository} is not the file that this version of odp "
            f"knows: its SHA-256 is {checksum} instead of {published.sha256} "
            f"(--revision {published.revision} installs it nevertheless)"
        )
    return Download(path, published.repository, revision or published.revision, path.parent.name)


def _fetch(published: Published, revision: str) -> Path:
    """The file in the cache. Raises DownloadError."""
    try:
        from huggingface_hub import constants, hf_hub_download
        from huggingface_hub.errors import (
            HfHubHTTPError,
            HFValidationError,
            LocalEntryNotFoundError,
            RepositoryNotFoundError,
        )
    except ImportError as error:
        raise missing_extra("downloading", error) from error
    repository, file = published.repository, published.file
    endpoint = constants.ENDPOINT
    manually = f"get {file} of {repository} in another way and run `odp models import {file}`"
    try:
        return Path(hf_hub_download(repository, file, revision=revision))
    except LocalEntryNotFoundError as error:
        reason = (
            "HF_HUB_OFFLINE is set"
            if constants.HF_HUB_OFFLINE
            else f"{endpoint} cannot be reached ({_first_line(error.__cause__ or error)})"
        )
        raise DownloadError(
            f"{reason}, and {repository} is not in the cache at revision {revision}: try again "
            f"online, set HF_ENDPOINT to a mirror, or {manually}"
        ) from error
    except RepositoryNotFoundError as error:
        raise DownloadError(
            f"{endpoint} has no public repository {repository}: it may have been renamed or "
            f"removed; {manually}"
        ) from error
    except (HfHubHTTPError, HFValidationError) as error:
        newest = "" if revision == "main" else " (--revision main is the newest)"
        raise DownloadError(
            f"{endpoint} does not have {file} of {repository} at revision {revision}: "
            f"{_first_line(error)}{newest}"
        ) from error
    except Exception as error:  # of the disk, and of any HTTP library that is used
        raise DownloadError(
            f"the download of {repository} failed: {_first_line(error)}; try again, or {manually}"
        ) from error


def _check_damage(path: Path) -> str:
    """The SHA-256 of a file in the cache, which is removed if it is damaged.

    The hub names large files by their SHA-256, which `huggingface_hub` does not check.

    Raises DownloadError if it is damaged.
    """
    blob = path.resolve()
    checksum = sha256(blob)
    if re.fullmatch("[0-9a-f]{64}", blob.name) and checksum != blob.name:
        blob.unlink(missing_ok=True)
        path.unlink(missing_ok=True)
        raise DownloadError(f"{path.name} is damaged and was removed from the cache: pull it again")
    return checksum


def _first_line(error: BaseException) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0]
