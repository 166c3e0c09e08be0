"""State dicts that others published: One-D-Piece S/B/L-256, and TiTok, whose architecture is the same.

A file from outside is hostile until parsed. Before anything in it is believed, its size is bounded by the largest
model, a zip archive must store its entries as they are, and the pickle in it may make nothing but tensors.
"""

from __future__ import annotations

import pickle
import zipfile
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor

from onedpiece.errors import ModelError
from onedpiece.models.folder import check_free, complete
from onedpiece.models.registry import Model, read_model, sha256
from onedpiece.tokenizer.config import CONFIGS, TOKENS, Config
from onedpiece.tokenizer.export import export
from onedpiece.tokenizer.onedpiece import OneDPiece, build

MAX_BYTES = 4 << 30  # the largest model, L-256, takes 2.6 GB in float32
MAX_PICKLE_BYTES = 1 << 20  # the names and shapes of a model's tensors take a tenth of it
NAMED = 3  # entries that an error lists

# Ours is a part of the head, as all that follows the transformer is.
THEIR_NAMES = {"head.ffn.": "decoder.ffn."}


def load_published(path: Path, config: Config | None = None) -> OneDPiece:
    """The module of a published state dict, float32, in evaluation mode on the CPU.

    path:   `pytorch_model.bin` (a plain state dict that `torch.save` wrote) or a safetensors file.
    config: what it must be; found by its shapes if None.

    Raises ModelError if the file is no such thing, or if any name or shape is not as it must be.
    """
    state = read_state(path)
    config = config or _recognise(state, path)
    check_entries(state, shapes(config), f"{path} is not {config.name}")
    with torch.device("meta"):  # nothing to draw at random first
        model = build(config)
    model.load_state_dict(
        {ours: state[_theirs(ours)].float() for ours in model.state_dict()}, assign=True
    )
    return model.eval()


def check_entries(
    state: dict[str, Tensor], wanted: dict[str, tuple[int, ...]], failure: str
) -> None:
    """Raise ModelError unless names and shapes are exactly those wanted and all numbers are finite."""
    wrong = [f"{name} is missing" for name in wanted if name not in state]
    wrong += [f"{name} is unknown" for name in state if name not in wanted]
    wrong += [
        f"{name} is {tuple(state[name].shape)} instead of {shape}"
        for name, shape in wanted.items()
        if name in state and tuple(state[name].shape) != shape
    ]
    if not wrong:
        wrong = [
            f"{name} is not made of finite numbers"
            for name, value in state.items()
            if not (value.is_floating_point() and bool(torch.isfinite(value).all()))
        ]
    if wrong:
        more = f" and {len(wrong) - NAMED} more" if len(wrong) > NAMED else ""
        raise ModelError(f"{failure}: {'; '.join(wrong[:NAMED])}{more}")


def shapes(config: Config) -> dict[str, tuple[int, ...]]:
    """Name and shape of every entry of the published state dict of a configuration."""
    with torch.device("meta"):
        state = build(config).state_dict()
    return {_theirs(name): tuple(value.shape) for name, value in state.items()}


def install(
    path: Path,
    folder: Path,
    name: str | None = None,
    config: Config | None = None,
    force: bool = False,
    **source: str,
) -> Model:
    """Convert a published state dict to the model directory `folder`/`name`, which appears when it is complete.

    name:   that of its configuration if None.
    source: where it comes from, for the manifest.

    Raises ModelError, or OutputError if there is something already and not `force`.
    """
    module = load_published(path, config)
    if module.config.tokens != TOKENS:
        raise ModelError(
            f"{path} is {module.config.name}, whose tokens have no prefixes, so that files cannot hold "
            "them: onedpiece.tokenizer.official.load_published reads it in Python"
        )
    final = folder / (name or module.config.name)
    check_free(final, force)
    facts = {**source, "file": path.name, "sha256": sha256(path)}
    with complete(final) as partial:
        export(module, partial, final.name, "float32", source=facts)
    return read_model(final)


def _theirs(ours: str) -> str:
    for prefix, theirs in THEIR_NAMES.items():
        if ours.startswith(prefix):
            return theirs + ours.removeprefix(prefix)
    return ours


def _recognise(state: dict[str, Tensor], path: Path) -> Config:
    latents = state.get("latent_tokens")
    for config in CONFIGS.values():
        asked = (config.tokens, config.encoder.width)
        if config.spectral is None and latents is not None and tuple(latents.shape) == asked:
            return config
    raise ModelError(
        f"{path} is none of the published models: latent_tokens has no shape of theirs"
    )


def read_state(path: Path) -> dict[str, Tensor]:
    """The tensors of a file by name. Raises ModelError."""
    try:
        if path.stat().st_size > MAX_BYTES:
            raise ModelError(f"{path} is larger than any published model")
        if zipfile.is_zipfile(path):
            _check_archive(path)
            state = torch.load(path, map_location="cpu", weights_only=True, mmap=True)
        else:
            state = load_file(path)
    except pickle.UnpicklingError as error:
        raise ModelError(f"{path} is refused: it holds more than tensors") from error
    except OSError as error:
        raise ModelError(f"{path} cannot be read: {error.strerror or error}") from error
    except (SafetensorError, zipfile.BadZipFile, RuntimeError, ValueError, EOFError) as error:
        raise ModelError(
            f"{path} is no state dict: neither a whole file of torch.save nor of safetensors"
        ) from error
    return _plain(state, path)


def _check_archive(path: Path) -> None:
    """Refuse archives that unpack to more than they are."""
    with zipfile.ZipFile(path) as archive:
        for entry in archive.infolist():
            if entry.compress_type != zipfile.ZIP_STORED or entry.file_size != entry.compress_size:
                raise ModelError(f"{path} is refused: a state dict is not compressed")
            if entry.filename.endswith(".pkl") and entry.file_size > MAX_PICKLE_BYTES:
                raise ModelError(f"{path} is refused: its pickle is too large")


def _plain(state: Any, path: Path) -> dict[str, Tensor]:
    if not isinstance(state, dict) or not all(
        isinstance(name, str) and _is_plain(value) for name, value in state.items()
    ):
        raise ModelError(f"{path} is no plain state dict of tensors")
    return state


def _is_plain(value: Any) -> bool:
    return (
        isinstance(value, Tensor)
        and value.layout == torch.strided
        and value.device.type == "cpu"
        and not value.is_quantized
    )
