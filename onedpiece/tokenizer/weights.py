"""The weights of a model directory, in the safetensors format: token set, encoder, decoders.

The token set is the part of a module that gives tokens their meaning: everything whose name begins
with `quantize.`. Its bytes never depend on the precision of the rest.

Decoders of the spectral start store large matrices as 8-bit integers, with a scale for each row: a
quarter of the size for a small loss (docs/training.md).
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

from onedpiece.errors import ModelError
from onedpiece.models.manifest import Model
from onedpiece.tokenizer.config import Config
from onedpiece.tokenizer.onedpiece import OneDPiece, build

HALF_FROM = 1024
"""Number of elements from which a tensor may be stored as float16: smaller ones save nothing."""

SCALE = ".row_scale"
"""Ends the name of the scales, (rows, 1, ...), of a matrix stored as 8-bit integers."""

STEP = 0.15
"""Distance of these integers, in root mean squares of a row; larger in rows with outliers beyond 8
bits. Most rows use far fewer than 255 levels, and compress better for it (docs/training.md).
"""

TOKEN_SET = ("quantize.",)
ENCODER = ("encoder.", "latent_tokens")
"""Prefixes of names in a module; all other parameters are the decoder's."""


def save(model: OneDPiece, path: Path, half: bool = True) -> None:
    """Write all parameters and tables of a model into one file.

    half: store large tensors of floating-point numbers as float16.
    """
    _write(model.state_dict(), path, half)


def save_token_set(model: OneDPiece, path: Path) -> None:
    """Write the token set of a model; equal tables always give equal bytes.

    Large tables of the spectral start are float16; the codebook of a published model is float32,
    as it was published.
    """
    spectral = model.config.spectral
    metadata = None
    if spectral:
        shape = {name: getattr(spectral, name) for name in ("classes", "dim", "frequencies")}
        # One entry only: the library writes several in random order.
        text = json.dumps({**shape, "blocks": [*spectral.blocks]}, sort_keys=True)
        metadata = {"spectral": text}
    _write(_part(model, TOKEN_SET), path, half=spectral is not None, metadata=metadata)


def has_token_set(model: OneDPiece, path: Path) -> bool:
    """Whether a file holds the token set of a model, with or without entropy tables of its own."""
    half, stored = model.config.spectral is not None, load_file(path)
    part = {name: _stored(value, half) for name, value in _part(model, TOKEN_SET).items()}
    return all(name in stored and stored[name].equal(value) for name, value in part.items())


def save_encoder(model: OneDPiece, path: Path, half: bool = True) -> None:
    """Write the encoder's own parameters; no file if it has none. `half` as in `save`."""
    if state := _part(model, ENCODER):
        _write(state, path, half)


def save_decoder(
    model: OneDPiece, path: Path, half: bool = True, scales: Mapping[str, Tensor] | None = None
) -> None:
    """Write the decoder's parameters; `half` as in `save`, and matrices in 8 bits.

    scales: by name, those of the rows of matrices that are multiples of them already.
    """
    others = _part(model, TOKEN_SET + ENCODER)
    state = {name: value for name, value in model.state_dict().items() if name not in others}
    if half and model.config.spectral:
        state = _quantised(state, scales or {})
    _write(state, path, half)


def load(config: Config, *paths: Path) -> OneDPiece:
    """The module of a configuration with the weights of files, float32, in evaluation mode.

    Raises what safetensors and `load_state_dict` raise for other files.
    """
    model = empty(config)
    stored = {name: value for path in paths for name, value in load_file(path).items()}
    state = {key: _restored(stored, key).to(like.dtype) for key, like in model.state_dict().items()}
    model.load_state_dict(state, assign=config.spectral is None)
    return model.eval()


def load_installed(model: Model) -> OneDPiece:
    """`load` for an installed model, with the decoder that it uses.

    Raises ModelError if it is int8, or if the weights are not what the manifest says.
    """
    if model.precision == "int8":
        raise ModelError(f"{model.name} is int8, which PyTorch cannot run and nothing can undo")
    try:
        return load(Config.from_dict(model.decoder.config or model.config), *model.weights)
    except (SafetensorError, LookupError, TypeError, ValueError, RuntimeError, OSError) as error:
        raise ModelError(f"the weights in {model.path} are not those of its manifest") from error


def empty(config: Config) -> OneDPiece:
    """The module of a configuration, whose weights are still to be loaded."""
    if config.spectral:
        return build(config)  # it computes tables that are not stored
    # Drawing random weights of L-256 takes longer than reading a file of them.
    with torch.device("meta"):
        return build(config)


def _part(model: OneDPiece, prefixes: tuple[str, ...]) -> dict[str, Tensor]:
    """The entries of a module whose names begin with one of the prefixes."""
    return {name: value for name, value in model.state_dict().items() if name.startswith(prefixes)}


def _write(
    state: dict[str, Tensor], path: Path, half: bool, metadata: dict[str, str] | None = None
) -> None:
    stored = {name: _stored(value, half and SCALE not in name) for name, value in state.items()}
    save_file(stored, path, metadata)
    path.chmod(0o644)  # safetensors writes for the owner alone


def _stored(value: Tensor, half: bool) -> Tensor:
    half = half and value.is_floating_point() and value.numel() >= HALF_FROM
    return (value.half() if half else value).contiguous()


def is_rounded(value: Tensor) -> bool:
    """Whether a decoder's tensor is stored as 8-bit integers: large matrices and convolutions."""
    return value.is_floating_point() and value.ndim > 1 and value.numel() >= HALF_FROM


def row_scales(value: Tensor) -> Tensor:
    """The distance of the integers of each row of a matrix, (rows, 1, ...)."""
    row = tuple(range(1, value.ndim))
    step = STEP * value.square().mean(row, keepdim=True).sqrt()
    scale = torch.maximum(step, value.abs().amax(row, keepdim=True) / 127)
    return scale.clamp(min=torch.finfo(torch.float32).tiny)


def _quantised(state: dict[str, Tensor], scales: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The same entries, with large matrices and convolutions as 8-bit integers."""
    quantised = dict(state)
    for name, value in state.items():
        if is_rounded(value):
            scale = scales[name] if name in scales else row_scales(value)
            quantised[name] = (value / scale).round().to(torch.int8)
            quantised[name + SCALE] = scale
    return quantised


def _restored(stored: dict[str, Tensor], name: str) -> Tensor:
    """A tensor of a file of weights, as a number of its own type or as float32."""
    value = stored[name]
    return value * stored[name + SCALE] if value.dtype == torch.int8 else value
