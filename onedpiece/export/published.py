"""State dicts that others published: One-D-Piece S/B/L-256, and TiTok, whose architecture is the same."""

from __future__ import annotations

from pathlib import Path

from torch import Tensor

from onedpiece.constants import MAX_TOKENS
from onedpiece.errors import ModelError
from onedpiece.export.model_directory import export
from onedpiece.models.folder import check_free, complete
from onedpiece.models.registry import Model, read_model, sha256
from onedpiece.tokenizer.config import CONFIGS, Config
from onedpiece.tokenizer.onedpiece import OneDPiece
from onedpiece.tokenizer.state_dict import check_entries, read_state
from onedpiece.tokenizer.weights import empty

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
    model = empty(config)
    model.load_state_dict(
        {ours: state[_theirs(ours)].float() for ours in model.state_dict()}, assign=True
    )
    return model.eval()


def shapes(config: Config) -> dict[str, tuple[int, ...]]:
    """Name and shape of every entry of the published state dict of a configuration."""
    state = empty(config).state_dict()
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
    if module.config.tokens != MAX_TOKENS:
        raise ModelError(
            f"{path} is {module.config.name}, whose tokens have no prefixes, so that files cannot hold "
            "them: onedpiece.export.published.load_published reads it in Python"
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
