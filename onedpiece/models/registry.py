"""Find installed models: the bundled one, and those in the user's folders."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path

import platformdirs

from onedpiece.entropy import Tables
from onedpiece.errors import ModelError, UnknownDecoder, UnknownModel
from onedpiece.models.manifest import MANIFEST
from onedpiece.models.manifest import Model as Model
from onedpiece.models.manifest import read_model as read_model

BUNDLED = Path(__file__).parent
SEARCH_VARIABLE = "ODP_MODELS"
DEFAULT = "default"


def user_folders() -> list[Path]:
    """Folders of the user's models; new models are installed in the first.

    The environment variable ODP_MODELS lists them; without it, there is one folder in the
    platform's directory for user data.
    """
    listed = os.environ.get(SEARCH_VARIABLE, "").split(os.pathsep)
    return [Path(folder) for folder in listed if folder] or [
        platformdirs.user_data_path("onedpiece", appauthor=False) / "models"
    ]


def installed() -> list[Model]:
    """The bundled model, then the models in the user's folders.

    Incomplete and broken models are skipped.
    """
    folders = [BUNDLED, *user_folders()]
    manifests = [
        manifest for folder in folders for manifest in sorted(folder.glob(f"[!.]*/{MANIFEST}"))
    ]
    models = []
    for manifest in manifests:
        with contextlib.suppress(ModelError):
            models.append(read_model(manifest.parent))
    return models


def find(name: str | Path) -> Model:
    """The model of this name, or in this directory. Raises UnknownModel or ModelError."""
    for model in installed():
        if model.name == str(name):
            return model
    if Path(name).is_dir():
        return read_model(Path(name))
    raise UnknownModel(f"no model '{name}': `odp models` lists those installed")


def find_by_key(key: bytes, also: Model | None = None) -> Model:
    """A model whose token set a file identifies by 3 bytes: `also` or an installed one.

    Raises UnknownModel if there is none.
    """
    for model in _candidates(also):
        if model.token_set.has(key):
            return model
    raise UnknownModel(
        f"the file needs model {key.hex()}, which is not installed: ask its sender for the model's "
        f"directory and name it with --model, or put it into {user_folders()[0]}"
    )


def choose_decoder(key: bytes, also: Model | None = None, name: str | None = None) -> Model:
    """The model, and in it the decoder, that paints the tokens of a file.

    key:  the 3 bytes by which the file identifies its token set.
    also: a model to try before the installed ones. If it has the token set and is not the bundled
        model, its own decoders come first.
    name: name of the decoder; by default, the newest one.

    Among decoders of the same name, `also` comes first, and then the highest version. Raises
    UnknownModel if no model has the token set, UnknownDecoder if none of them has this decoder.
    """
    token_set = find_by_key(key, also).token_set
    models = [model for model in _candidates(also) if model.token_set.shares_codes(token_set)]
    choices = [model.with_decoder(decoder) for model in models for decoder in model.decoders]
    if name is not None:
        own = [choice for choice in choices if choice.decoder.name == name]
        if not own:
            raise UnknownDecoder(
                f"token set {token_set.name} has no decoder '{name}': there are "
                f"{', '.join(sorted({choice.decoder.name for choice in choices}))}"
            )
        preferred = [choice for choice in own if also and choice.path == also.path]
        return max(preferred or own, key=lambda choice: choice.decoder.version)
    explicit = also is not None and also.path.parent != BUNDLED and models[0].path == also.path
    return models[0] if explicit else max(choices, key=lambda choice: choice.decoder.age)


def installed_tables(key: bytes, also: Model | None = None) -> Tables | None:
    """Entropy tables of the token set that a file identifies by 3 bytes.

    None if it has none. Raises UnknownModel or ModelError.
    """
    return find_by_key(key, also).tables_for(key)


def _candidates(also: Model | None) -> Iterator[Model]:
    """`also`, then the installed models."""
    if also:
        yield also
    yield from installed()
