"""Published state dicts: One-D-Piece S/B/L-256, and TiTok, whose architecture is the same."""

from __future__ import annotations

from pathlib import Path

from torch import Tensor

from onedpiece.errors import ModelError
from onedpiece.tokenizer.config import CONFIGS, Config
from onedpiece.tokenizer.onedpiece import OneDPiece
from onedpiece.tokenizer.state_dict import check_entries, read_state
from onedpiece.tokenizer.weights import empty

PUBLISHED_PREFIXES = {"head.ffn.": "decoder.ffn."}
"""Prefixes of parameter names: in `PaperOneDPiece` -> in published state dicts."""


def load_published(path: Path, config: Config | None = None) -> OneDPiece:
    """The module of a published state dict, float32, in evaluation mode on the CPU.

    path:   `pytorch_model.bin` (a state dict written by `torch.save`) or a safetensors file.
    config: configuration of the model; if None, it is recognised by the shape of latent_tokens.

    Raises ModelError if the file is not a state dict, or if any name or shape is wrong.
    """
    state = read_state(path)
    config = config or _recognise(state, path)
    check_entries(state, shapes(config), f"{path} is not {config.name}")
    model = empty(config)
    model.load_state_dict(
        {name: state[_published_name(name)].float() for name in model.state_dict()}, assign=True
    )
    return model.eval()


def shapes(config: Config) -> dict[str, tuple[int, ...]]:
    """Name and shape of every entry of the published state dict of a configuration."""
    state = empty(config).state_dict()
    return {_published_name(name): tuple(value.shape) for name, value in state.items()}


def _published_name(name: str) -> str:
    for prefix, published in PUBLISHED_PREFIXES.items():
        if name.startswith(prefix):
            return published + name.removeprefix(prefix)
    return name


def _recognise(state: dict[str, Tensor], path: Path) -> Config:
    """The configuration with the shape of the file's latent_tokens. Raises ModelError."""
    latents = state.get("latent_tokens")
    for config in CONFIGS.values():
        shape = (config.tokens, config.encoder.width)
        if config.spectral is None and latents is not None and tuple(latents.shape) == shape:
            return config
    raise ModelError(f"{path} is not a published model: latent_tokens has none of their shapes")
