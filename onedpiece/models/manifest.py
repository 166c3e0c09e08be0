"""What a model directory holds, and how it is read.

A model directory has one token set, one encoder and one or more decoders:

    token-set.safetensors     what tokens mean; never changes once files use it
    encoder.onnx              with encoder.safetensors, if it has parameters of its own
    decoder-NAME.onnx         with decoder-NAME.safetensors; one pair for each decoder
    search.onnx               only for models that can search for better tokens
    model.json                the manifest

`onedpiece.export` writes them. Directories of version 0.1 hold all weights in
`weights.safetensors` and one decoder in `decoder.onnx`; they can still be read.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass, field, replace
from functools import cache
from pathlib import Path
from typing import Any

from onedpiece.entropy import Tables
from onedpiece.errors import ModelError
from onedpiece.models.decoder_info import DecoderInfo as DecoderInfo
from onedpiece.models.names import NAME, check_name
from onedpiece.models.tensors import read_tensor

MANIFEST = "model.json"
TOKEN_SET = "token-set.safetensors"
ENCODER, ENCODER_WEIGHTS = "encoder.onnx", "encoder.safetensors"
SEARCH = "search.onnx"
OLD_DECODER, OLD_WEIGHTS = "decoder.onnx", "weights.safetensors"
SUFFIXES = {".onnx", ".safetensors"}
MAX_MANIFEST = 1 << 16  # characters

_SHA256 = re.compile("[0-9a-f]{64}")


@dataclass(frozen=True)
class TokenSet:
    """What tokens mean: transform, order, scales, codebooks, entropy tables.

    fingerprint: SHA-256 of its file, hexadecimal. Files identify it by the first 3 bytes.
    aliases:     fingerprints by which files of earlier versions name the same token set.
    uncoded:     fingerprints of the same codebook without entropy tables: files that name one of
        these have 12 bits a token.
    """

    name: str
    fingerprint: str
    aliases: tuple[str, ...] = ()
    uncoded: tuple[str, ...] = ()

    @property
    def key(self) -> bytes:
        """The 3 bytes that identify this token set in .odp files."""
        return _key(self.fingerprint)

    @property
    def fingerprints(self) -> set[str]:
        """All fingerprints by which files may name it."""
        return {self.fingerprint, *self.aliases, *self.uncoded}

    def has(self, key: bytes) -> bool:
        """Whether the 3 bytes identify this token set, by any of its fingerprints."""
        return key in map(_key, self.fingerprints)

    def shares_codes(self, other: TokenSet) -> bool:
        """Whether both mean the same by a token, so that decoders of one fit the other."""
        return not self.fingerprints.isdisjoint(other.fingerprints)

    @classmethod
    def from_dict(cls, entry: dict[str, Any]) -> TokenSet:
        """The inverse of `to_dict`. Raises KeyError, TypeError, ValueError or AttributeError."""
        fingerprints = (
            tuple(map(_checked_sha256, entry.get(name, []))) for name in ("aliases", "uncoded")
        )
        return cls(str(entry["name"]), _checked_sha256(entry["fingerprint"]), *fingerprints)

    def to_dict(self) -> dict[str, Any]:
        """The entry `token_set` of a manifest."""
        entry = {"name": self.name, "fingerprint": self.fingerprint, "aliases": [*self.aliases]}
        return {**entry, "uncoded": [*self.uncoded]} if self.uncoded else entry


@dataclass(frozen=True)
class Model:
    """A model directory, and which of its decoders is used.

    blank:     RGB colour, 0..255, of a tile without any token.
    decoder:   the decoder that is used: the newest, unless another was chosen.
    decoders:  all decoders in the directory.
    files:     SHA-256 of each file but the manifest, by name.
    precision: how the weights of encoder and decoders are stored. The token set is the same in
        all precisions of a model.
    source:    where a published model comes from; empty for other models.
    """

    path: Path
    name: str
    token_set: TokenSet
    blank: tuple[int, int, int]
    config: dict[str, Any]
    decoder: DecoderInfo
    decoders: tuple[DecoderInfo, ...]
    files: dict[str, str]
    precision: str = "float16"
    source: dict[str, Any] = field(default_factory=dict)

    @property
    def fingerprint(self) -> str:
        """The fingerprint of the token set."""
        return self.token_set.fingerprint

    @property
    def key(self) -> bytes:
        """The 3 bytes that identify the token set in .odp files."""
        return self.token_set.key

    @property
    def network(self) -> tuple[Path, str]:
        """What identifies its loaded networks: the directory and the decoder."""
        return self.path, self.decoder.name

    @property
    def size(self) -> int:
        """Total size in bytes of all files of the model."""
        return sum(file.stat().st_size for file in self.path.iterdir() if file.is_file())

    @property
    def is_old(self) -> bool:
        """Whether the directory is one of version 0.1."""
        return OLD_WEIGHTS in self.files

    @property
    def token_set_file(self) -> Path:
        """The file that holds the token set; in directories of version 0.1, all weights."""
        return self.path / (OLD_WEIGHTS if self.is_old else TOKEN_SET)

    @property
    def weights(self) -> list[Path]:
        """The files with the weights of token set, encoder and the decoder that is used."""
        if self.is_old:
            return [self.token_set_file]
        names = [TOKEN_SET, ENCODER_WEIGHTS, self.decoder.weights]
        return [self.path / name for name in names if name in self.files]

    @property
    def tables(self) -> Tables | None:
        """The entropy tables; None if it has none. Raises ModelError if they cannot be read."""
        return _tables(self.token_set_file, self.fingerprint)

    def tables_for(self, key: bytes) -> Tables | None:
        """`tables`, for a file that names the token set by 3 bytes.

        None if the name is that of the codebook without tables.
        """
        return None if key in map(_key, self.token_set.uncoded) else self.tables

    @property
    def searchable(self) -> bool:
        """Whether it can search for better tokens (`onedpiece.search`)."""
        return (self.path / SEARCH).is_file()

    @property
    def has_realism(self) -> bool:
        """Whether its decoder has pictures of every realism, not of the least error alone."""
        return bool(self.decoder.faithful)

    @property
    def faithful(self) -> Model:
        """The same model, using the decoder that gives its pictures of the least error."""
        decoders = {decoder.name: decoder for decoder in self.decoders}
        return self.with_decoder(decoders.get(self.decoder.faithful, self.decoder))

    def with_decoder(self, decoder: DecoderInfo) -> Model:
        """The same model, using another of its decoders."""
        return replace(self, decoder=decoder)

    def check_files(self) -> dict[str, bool]:
        """Whether the SHA-256 of each file is that of the manifest, by name."""
        return {name: sha256(self.path / name) == known for name, known in self.files.items()}

    def is_intact(self) -> bool:
        """Whether no file has changed since it was written."""
        return all(self.check_files().values())


def sha256(path: Path) -> str:
    """SHA-256 of a file, hexadecimal."""
    import hashlib  # takes milliseconds, and decoding does not need it

    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def write_manifest(model: Model) -> Model:
    """Write the manifest of a model directory, with the SHA-256 of its graphs and weights as found.

    Returns the model as it is read. Raises ModelError if it is incomplete.
    """
    names = sorted(path.name for path in model.path.iterdir() if path.suffix in SUFFIXES)
    manifest = {
        "name": model.name,
        "token_set": model.token_set.to_dict(),
        "blank": [*model.blank],
        "config": model.config,
        "precision": model.precision,
        "decoders": [decoder.to_dict() for decoder in model.decoders],
        "files": {name: sha256(model.path / name) for name in names if NAME.fullmatch(name)},
    }
    if model.source:
        manifest["source"] = model.source
    partial = model.path / f"{MANIFEST}.part"
    partial.write_text(json.dumps(manifest, indent=1) + "\n", encoding="utf-8")
    partial.replace(model.path / MANIFEST)
    return read_model(model.path)


def read_model(path: Path) -> Model:
    """The model in a directory. Raises ModelError if there is none, or if it is incomplete."""
    try:
        with (path / MANIFEST).open(encoding="utf-8") as file:
            manifest = json.loads(file.read(MAX_MANIFEST))
        model = _parse(path, manifest) if "token_set" in manifest else _parse_old(path, manifest)
    except OSError:
        raise ModelError(f"no model in {path}") from None
    except (
        ValueError,
        LookupError,
        TypeError,
        AttributeError,
        OverflowError,
        RecursionError,
    ) as error:
        raise ModelError(f"{path / MANIFEST} is not a model's manifest") from error
    for name in (ENCODER, model.decoder.graph, *model.files):
        if not (path / name).is_file():
            raise ModelError(f"the model in {path} is incomplete: {name} is missing")
    return model


def _parse(path: Path, manifest: dict[str, Any]) -> Model:
    """The model of a manifest. Raises what `read_model` catches."""
    check_name(manifest["name"])
    token_set = TokenSet.from_dict(manifest["token_set"])
    files = {check_name(name): _checked_sha256(known) for name, known in manifest["files"].items()}
    decoders = tuple(DecoderInfo.from_dict(decoder) for decoder in manifest["decoders"])
    # Some file systems ignore case.
    if len({decoder.name.casefold() for decoder in decoders}) != len(decoders) or not decoders:
        raise ValueError("a model has decoders with different names")
    if not {decoder.faithful for decoder in decoders} <= {"", *(one.name for one in decoders)}:
        raise ValueError("a decoder names one that the model does not have")
    needed = {name for decoder in decoders for name in (decoder.graph, decoder.weights)}
    if not {TOKEN_SET, ENCODER, *needed} <= set(files):
        raise ValueError("the manifest does not list all files")
    if files[TOKEN_SET] != token_set.fingerprint:
        raise ValueError("a fingerprint is the SHA-256 of the token set")
    return Model(
        token_set=token_set,
        decoder=max(decoders, key=lambda decoder: decoder.age),
        decoders=decoders,
        files=files,
        **_common_fields(path, manifest),
    )


def _parse_old(path: Path, manifest: dict[str, Any]) -> Model:
    """The model of a manifest of version 0.1, whose fingerprint is that of all weights."""
    fields = _common_fields(path, manifest)
    fingerprint = _checked_sha256(manifest["fingerprint"])
    name = fields["name"] if NAME.fullmatch(fields["name"]) else "decoder"
    decoder = DecoderInfo(name, graph=OLD_DECODER, weights=OLD_WEIGHTS)
    return Model(
        token_set=TokenSet(fields["name"], fingerprint),
        decoder=decoder,
        decoders=(decoder,),
        files={OLD_WEIGHTS: _checked_sha256(manifest.get("checksum", fingerprint))},
        **fields,
    )


def _common_fields(path: Path, manifest: dict[str, Any]) -> dict[str, Any]:
    """Fields that manifests have in every version."""
    red, green, blue = (int(level) for level in manifest["blank"])
    if not 0 <= min(red, green, blue) <= max(red, green, blue) <= 255:
        raise ValueError("blank is a colour")
    return {
        "path": path,
        "name": str(manifest["name"]),
        "blank": (red, green, blue),
        "config": dict(manifest["config"]),
        "precision": str(manifest.get("precision", "float16")),
        "source": dict(manifest.get("source", {})),
    }


def _checked_sha256(value: str) -> str:
    if not _SHA256.fullmatch(value):
        raise ValueError("a fingerprint is a SHA-256")
    return value


def _key(fingerprint: str) -> bytes:
    return bytes.fromhex(fingerprint[:6])


@cache
def _tables(weights: Path, _fingerprint: str) -> Tables | None:
    """Cached, since preparing them takes milliseconds. The fingerprint detects a replaced model."""
    frequency, blocks, order = (
        read_tensor(weights, f"quantize.{name}")
        for name in ("frequency", "block_sizes", "code_order")
    )
    if frequency is None or blocks is None:
        return None
    try:
        return Tables(frequency, blocks, order)
    except ValueError as error:
        raise ModelError(f"the entropy tables in {weights} are damaged") from error
