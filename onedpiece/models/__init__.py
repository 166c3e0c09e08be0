"""Installed models: list, fetch, add and remove them.

`registry` finds models, `hub` downloads published ones, `folder` writes model directories.
"""

from __future__ import annotations

import builtins
from pathlib import Path
from typing import TYPE_CHECKING

from onedpiece.errors import ModelError, OutputError, UnknownModel, missing_extra
from onedpiece.models.names import check_name as check_name

if TYPE_CHECKING:
    from onedpiece.export.tables import Tuning
    from onedpiece.models.registry import Model


def list() -> builtins.list[Model]:
    """The installed models: the bundled one, then those in the user's folders."""
    from onedpiece.models.registry import installed

    return installed()


def pull(name: str, revision: str | None = None, *, force: bool = False) -> Model:
    """Download a published model, check it and install it; needs the extra `torch`.

    name:     name of a published model, such as "one-d-piece-s-256".
    revision: commit or branch of its repository; by default, the one set in this version.
    force:    replace an installed model of this name.

    Raises DownloadError, ModelError for a file that is not this model, OutputError if it is already
    installed, ValueError for an invalid name, and OdpError without the extra.
    """
    from onedpiece.models.folder import check_free
    from onedpiece.models.hub import download
    from onedpiece.models.registry import user_folders

    folder = user_folders()[0]
    check_free(folder / check_name(name), force)
    try:
        from onedpiece.export.published import install
        from onedpiece.tokenizer.config import CONFIGS
    except ImportError as error:
        raise missing_extra("converting", error) from error
    fetched = download(name, revision)
    return install(fetched.path, folder, name, CONFIGS[name], force, **fetched.facts())


def import_(file: str | Path, name: str | None = None, *, force: bool = False) -> Model:
    """Install a published model from its `pytorch_model.bin`, or from a safetensors file.

    Needs the extra `torch`.

    name:  name to install it under; the name of its configuration if None.
    force: replace an installed model of this name.

    Raises ModelError for a file that is not a published model; OutputError, ValueError and OdpError
    like `pull`.
    """
    from onedpiece.models.registry import user_folders

    try:
        from onedpiece.export.published import install
    except ImportError as error:
        raise missing_extra("converting", error) from error
    return install(Path(file), user_folders()[0], name and check_name(name), force=force)


def tune(name: str, pictures: builtins.list[Path]) -> Tuning:
    """Give an installed model that has no entropy tables some, so that its files become smaller.

    Needs the extra `torch`. Returns the model, how many pictures were used, the files that could
    not be read, and the bits of a token on pictures that were held out.

    name:     name or directory of the model; its directory is replaced.
    pictures: at least 64 pictures like those to be encoded, or folders of them.

    Files that were encoded earlier still decode. Raises UnknownModel, ModelError if it has tables
    or they would not save bits, PictureError for too few pictures, and OdpError without the extra.
    """
    from onedpiece.models.registry import find

    try:
        from onedpiece.export import tables
    except ImportError as error:
        raise missing_extra("measuring tables", error) from error
    return tables.tune(find(name), pictures)


def remove(name: str) -> Path:
    """Remove a model from the user's folders; returns the directory that was removed.

    Raises UnknownModel if it is not installed, ModelError for the bundled model, ValueError for an
    invalid name, and OutputError if it cannot be removed. Of a link, only the link is removed.
    """
    import shutil

    from onedpiece.models.registry import BUNDLED, installed

    paths = [model.path for model in installed() if model.name == check_name(name)]
    if not paths:
        raise UnknownModel(f"no model '{name}' is installed")
    if paths[0].parent == BUNDLED:
        raise ModelError(f"{name} comes with odp and cannot be removed")
    try:
        if paths[0].is_symlink():
            paths[0].unlink()
        else:
            shutil.rmtree(paths[0])
    except OSError as error:
        raise OutputError(f"{paths[0]} cannot be removed: {error.strerror or error}") from error
    return paths[0]
