"""Start a run from the weights of another model."""

from __future__ import annotations

from pathlib import Path

from onedpiece.tokenizer.onedpiece import OneDPiece
from onedpiece.training import checkpoint


def load_parent(path: Path) -> OneDPiece:
    """The model of a run (its averaged weights) or of an installed model directory."""
    if checkpoint.exists(path):
        return checkpoint.ema_model(path)
    from onedpiece.models.manifest import read_model
    from onedpiece.tokenizer.weights import load_installed  # needs safetensors; a run does not

    return load_installed(read_model(path).faithful)


def copy_matching(model: OneDPiece, parent: OneDPiece) -> None:
    """Copy every parameter and table that has the same name and shape in both models."""
    source, target = parent.state_dict(), model.state_dict()
    matching = {
        name for name in target if name in source and source[name].shape == target[name].shape
    }
    model.load_state_dict({**target, **{name: source[name] for name in matching}})
