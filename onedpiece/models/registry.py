"""Find installed models: the bundled one, and those in the user's folders."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import re
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

import platformdirs

from onedpiece.entropy import Tables
from onedpiece.errors import ModelError, UnknownModel
from onedpiece.models.tensors import read_tensor

BUNDLED = Path(__file__).parent
SEARCH_VARIABLE = "ODP_MODELS"
DEFAULT = "default"
MAX_MANIFEST = 1 << 16  # characters


@dataclass(frozen=True)
class Model:
    """A model directory (`onedpiece.export.model_directory` writes them).

    fingerprint: SHA-256 of the weights file, hexadecimal. Files identify a model by the first 3
        bytes of it.
    blank: RGB colour, 0..255, of a tile without any token.
    precision: how the weights are stored. All precisions of a model have the same fingerprint; the
        `checksum` is the SHA-256 of the weights file in this precision.
    source: where a published model comes from; empty for other models.
    """

    path: Path
    name: str
    fingerprint: str
    blank: tuple[int, int, int]
    config: dict[str, Any]
    precision: str = "float16"
    checksum: str = ""
    source: dict[str, Any] = field(default_factory=dict)

    @property
    def key(self) -> bytes:
        """The 3 bytes that identify this model in .odp files."""
        return bytes.fromhex(self.fingerprint[:6])

    @property
    def size(self) -> int:
        """Total size in bytes of all files of the model."""
        return sum(file.stat().st_size for file in self.path.iterdir())

    @property
    def weights(self) -> Path:
        """The weights file."""
        return self.path / "weights.safetensors"

    @property
    def tables(self) -> Tables | None:
        """The entropy tables; None if it has none. Raises ModelError if they cannot be read."""
        return _tables(self.weights, self.fingerprint)

    @property
    def searchable(self) -> bool:
        """Whether it can search for better tokens (`onedpiece.search`)."""
        return (self.path / "search.onnx").is_file()

    def is_intact(self) -> bool:
        """Whether the SHA-256 of the weights file is the checksum, or else the fingerprint."""
        return sha256(self.weights) == (self.checksum or self.fingerprint)


def sha256(path: Path) -> str:
    """SHA-256 of a file, hexadecimal."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def read_model(path: Path) -> Model:
    """The model in a directory. Raises ModelError if there is none, or if it is incomplete."""
    try:
        with (path / "model.json").open(encoding="utf-8") as file:
            manifest = json.loads(file.read(MAX_MANIFEST))
        red, green, blue = manifest["blank"]
        model = Model(
            path=path,
            name=str(manifest["name"]),
            fingerprint=str(manifest["fingerprint"]),
            blank=(int(red), int(green), int(blue)),
            config=dict(manifest["config"]),
            precision=str(manifest.get("precision", "float16")),
            checksum=str(manifest.get("checksum", "")),
            source=dict(manifest.get("source", {})),
        )
        if not re.fullmatch("[0-9a-f]{64}", model.fingerprint):
            raise ValueError("a fingerprint is a SHA-256")
    except OSError:
        raise ModelError(f"no model in {path}") from None
    except (ValueError, KeyError, TypeError, OverflowError, RecursionError) as error:
        raise ModelError(f"{path / 'model.json'} is not a model's manifest") from error
    for name in ("encoder.onnx", "decoder.onnx", "weights.safetensors"):
        if not (path / name).is_file():
            raise ModelError(f"the model in {path} is incomplete: {name} is missing")
    return model


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
    manifests = [manifest for folder in folders for manifest in sorted(folder.glob("*/model.json"))]
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
    """The model that a file identifies by 3 bytes: `also` or an installed one.

    Raises UnknownModel if there is none.
    """
    for model in ([also] if also else []) + installed():
        if model.key == key:
            return model
    raise UnknownModel(
        f"the file needs model {key.hex()}, which is not installed: ask its sender for the model's "
        f"directory and name it with --model, or put it into {user_folders()[0]}"
    )


def installed_tables(key: bytes) -> Tables | None:
    """Entropy tables of the installed model that a file identifies by 3 bytes.

    None if it has none. Raises UnknownModel or ModelError.
    """
    return find_by_key(key).tables


@cache
def _tables(weights: Path, _fingerprint: str) -> Tables | None:
    """Cached, since preparing them takes milliseconds. The fingerprint detects a replaced model."""
    frequency = read_tensor(weights, "quantize.frequency")
    blocks = read_tensor(weights, "quantize.block_sizes")
    if frequency is None or blocks is None:
        return None
    try:
        return Tables(frequency, blocks)
    except ValueError as error:
        raise ModelError(f"the entropy tables in {weights} are damaged") from error
