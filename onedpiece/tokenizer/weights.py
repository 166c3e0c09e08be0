"""The weights file of a model directory, in the safetensors format."""

from __future__ import annotations

from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

from onedpiece.errors import ModelError
from onedpiece.models.registry import Model
from onedpiece.tokenizer.config import Config
from onedpiece.tokenizer.onedpiece import OneDPiece, build

HALF_FROM = 1024
"""Number of elements from which a tensor may be stored as float16: smaller ones save nothing."""


def save(model: OneDPiece, path: Path, half: bool = True) -> None:
    """Write all parameters and tables of a model.

    half: store large tensors of floating-point numbers as float16.
    """
    state = model.state_dict()
    save_file({key: _stored(value, half) for key, value in state.items()}, path)


def load(config: Config, path: Path) -> OneDPiece:
    """The module of a configuration with the weights of a file, float32, in evaluation mode.

    Raises what safetensors and `load_state_dict` raise for other files.
    """
    model, stored = empty(config), load_file(path)
    state = {key: stored[key].to(value.dtype) for key, value in model.state_dict().items()}
    model.load_state_dict(state, assign=config.spectral is None)
    return model.eval()


def load_installed(model: Model) -> OneDPiece:
    """`load` for an installed model.

    Raises ModelError if it is int8, or if the weights are not what the manifest says.
    """
    if model.precision == "int8":
        raise ModelError(f"{model.name} is int8, which PyTorch cannot run and nothing can undo")
    try:
        return load(Config.from_dict(model.config), model.weights)
    except (SafetensorError, LookupError, TypeError, ValueError, RuntimeError, OSError) as error:
        raise ModelError(f"the weights in {model.path} are not those of its manifest") from error


def empty(config: Config) -> OneDPiece:
    """The module of a configuration, whose weights are still to be loaded."""
    if config.spectral:
        return build(config)  # it computes tables that are not stored
    # Drawing random weights of L-256 takes longer than reading a file of them.
    with torch.device("meta"):
        return build(config)


def _stored(value: Tensor, half: bool) -> Tensor:
    half = half and value.is_floating_point() and value.numel() >= HALF_FROM
    return (value.half() if half else value).contiguous()
