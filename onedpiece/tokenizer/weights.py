"""The weights file of a model directory: safetensors, large parameters as float16 unless asked otherwise."""

from __future__ import annotations

from pathlib import Path

from safetensors.torch import load_file, save_file
from torch import Tensor

from onedpiece.tokenizer.config import Config
from onedpiece.tokenizer.onedpiece import OneDPiece, build

HALF_FROM = 1024  # smaller parameters stay float32: nothing to gain


def save(model: OneDPiece, path: Path, half: bool = True) -> None:
    """Write all parameters and tables of a model; half: large ones as float16."""
    state = model.state_dict()
    save_file({key: _stored(value, half) for key, value in state.items()}, path)


def load(config: Config, path: Path) -> OneDPiece:
    """The module of a configuration with the weights of a file, float32, in evaluation mode."""
    model = build(config)
    stored = load_file(path)
    model.load_state_dict(
        {key: stored[key].to(value.dtype) for key, value in model.state_dict().items()}
    )
    return model.eval()


def _stored(value: Tensor, half: bool) -> Tensor:
    half = half and value.is_floating_point() and value.numel() >= HALF_FROM
    return (value.half() if half else value).contiguous()
