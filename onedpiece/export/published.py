"""Install a published state dict as a model directory."""

from __future__ import annotations

from pathlib import Path

from onedpiece.constants import MAX_TOKENS
from onedpiece.errors import ModelError
from onedpiece.export.model_directory import export
from onedpiece.models.folder import check_free, complete
from onedpiece.models.manifest import DecoderInfo, Model, TokenSet, read_model, sha256
from onedpiece.tokenizer.config import Config
from onedpiece.tokenizer.published import load_published

RELEASED = "2025-01-17"  # of the paper (arXiv 2501.10064): the authors publish no versions


def install(
    path: Path,
    folder: Path,
    name: str | None = None,
    config: Config | None = None,
    force: bool = False,
    **source: str,
) -> Model:
    """Convert a published state dict to the model directory `folder`/`name`, in float32.

    The directory appears when it is complete.

    path:   as in `load_published`.
    folder: folder of models, such as the first of `user_folders`.
    name:   name of the model; that of its configuration if None.
    config: as in `load_published`.
    force:  replace a model of this name.
    source: where the file comes from, for the manifest.

    Raises ModelError if the file is not a published model of 256 tokens, and OutputError if
    something has this name already and `force` is not set.
    """
    module = load_published(path, config)
    if module.config.tokens != MAX_TOKENS:
        raise ModelError(
            f"{path} is {module.config.name}, whose tokens have no prefixes, so .odp files cannot "
            "hold them (load_published in onedpiece.tokenizer.published reads it in Python)"
        )
    final = folder / (name or module.config.name)
    check_free(final, force)
    facts = {**source, "file": path.name, "sha256": sha256(path)}
    with complete(final) as partial:
        export(
            module,
            partial,
            final.name,
            DecoderInfo("published", 1, RELEASED),
            precision="float32",
            token_set=TokenSet(module.config.name, ""),
            source=facts,
        )
    return read_model(final)
