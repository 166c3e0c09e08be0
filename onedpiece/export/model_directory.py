"""Write a model directory (`onedpiece.models.manifest` says what is in it).

    encoder.onnx       pixels uint8 (B, 256, 256, 3) -> tokens int32 (B, 256)
    decoder-NAME.onnx  tokens int32 (B, K) -> pixels float32 (B, 256, 256, 3) in 0..255
    int8-NAME.onnx     the same with products of 8-bit integers, for some decoders
    search.onnx        `Proposals.forward`; only for models with a spectral start

Graphs hold no weights: they refer into the files of token set, encoder and decoder.
"""

from __future__ import annotations

import shutil
from collections.abc import Collection, Sequence
from dataclasses import replace
from datetime import date
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.export import Dim

from onedpiece.constants import MAX_TOKENS, TILE
from onedpiece.errors import ModelError, OutputError
from onedpiece.export.dense_int8 import quantise_natural
from onedpiece.export.equalise import equalise
from onedpiece.export.graphs import write_graph
from onedpiece.export.rounding import round_weights
from onedpiece.export.static_int8 import quantise_activations
from onedpiece.export.tracing import trace
from onedpiece.models.manifest import (
    ENCODER,
    ENCODER_WEIGHTS,
    SEARCH,
    TOKEN_SET,
    DecoderInfo,
    Model,
    TokenSet,
    sha256,
    write_manifest,
)
from onedpiece.models.names import check_name
from onedpiece.tokenizer.natural import NaturalOneDPiece
from onedpiece.tokenizer.onedpiece import OneDPiece, SpectralOneDPiece
from onedpiece.tokenizer.proposals import Proposals
from onedpiece.tokenizer.weights import (
    has_token_set,
    load,
    load_installed,
    save_decoder,
    save_encoder,
    save_token_set,
)

GREY = (128, 128, 128)
EXAMPLES = 2  # images in the example inputs of the exporter, which treats 1 as a constant
EXAMPLE_TOKENS = 5
CALIBRATION_LENGTHS = (256, 192, 128, 96, 64, 48, 32, 16)
BATCH, COUNT = Dim("batch", max=4096), Dim("count", max=MAX_TOKENS)


class _Encoder(nn.Module):
    def __init__(self, model: OneDPiece) -> None:
        super().__init__()
        self.model = model

    def forward(self, pixels: Tensor) -> Tensor:
        return self.model.encode(pixels.permute(0, 3, 1, 2).float() / 255).int()


class _Decoder(nn.Module):
    def __init__(self, model: OneDPiece) -> None:
        super().__init__()
        self.model = model

    def forward(self, tokens: Tensor) -> Tensor:
        decoded = self.model.decode(tokens.long())
        return decoded.clamp(0, 1).permute(0, 2, 3, 1) * 255


def export(
    model: OneDPiece,
    folder: Path,
    name: str,
    decoder: DecoderInfo,
    *,
    precision: str = "float16",
    token_set: TokenSet | None = None,
    keep: Collection[str] = (),
    source: dict[str, str] | None = None,
    calibration: NDArray[np.integer] | None = None,
) -> Model:
    """Write the model directory `folder`.

    decoder:     name, version and date of the decoder.
    precision:   how large parameters are stored, "float16" or "float32".
    token_set:   gives the name and the aliases of the token set; by default, it is called `name`.
    keep:        names of files that are in the folder already and stay as they are: TOKEN_SET,
                 ENCODER (with its weights).
    source:      where a published model comes from.
    calibration: tokens of some pictures, (N, 256). The decoder then has a second graph, with
                 products of 8-bit integers, in ranges measured on these pictures. The channels of
                 a natural decoder are scaled, in place, which does not change its pictures, and
                 its weights rounded, which changes them little.
    """
    folder.mkdir(parents=True, exist_ok=True)
    half = precision == "float16"
    if TOKEN_SET not in keep:
        save_token_set(model, folder / TOKEN_SET)
    if ENCODER not in keep:
        save_encoder(model, folder / ENCODER_WEIGHTS, half)
    calibration = calibration if half else None  # there are no integers in float32
    _save_decoder(model, folder / decoder.weights, half, calibration)
    encoder_weights = [name for name in (ENCODER_WEIGHTS,) if (folder / name).exists()]
    weights = [TOKEN_SET, *encoder_weights, decoder.weights]
    model = load(model.config, *(folder / name for name in weights))
    if ENCODER not in keep:
        _write_encoder(model, folder / ENCODER, [TOKEN_SET, *encoder_weights])
    _write_decoder(model, folder, decoder, calibration)
    if isinstance(model, SpectralOneDPiece):
        _write_search(model, folder / SEARCH, [TOKEN_SET, decoder.weights])
    named = replace(token_set or TokenSet(name, ""), fingerprint=sha256(folder / TOKEN_SET))
    return write_manifest(
        Model(
            path=folder,
            name=name,
            token_set=named,
            blank=_blank(model),
            config=model.config.to_dict(),
            decoder=decoder,
            decoders=(decoder,),
            files={},
            precision=precision,
            source=source or {},
        )
    )


def add_decoder(
    module: OneDPiece,
    model: Model,
    decoder: DecoderInfo,
    calibration: NDArray[np.integer] | None = None,
) -> Model:
    """Add a decoder to a model directory; of the files there, only the manifest changes.

    calibration: as in `export`.

    Raises ModelError if the module has another token set, the directory is of version 0.1 or lacks
    the decoder that `faithful` names, and OutputError if it has a decoder of this name.
    """
    if decoder.faithful not in {"", *(known.name for known in model.decoders)}:
        raise ModelError(f"{model.path} has no decoder {decoder.faithful}")
    if decoder.name.casefold() in {known.name.casefold() for known in model.decoders}:
        raise OutputError(f"{model.path} has a decoder {decoder.name}: decoders never change")
    if model.is_old or not has_token_set(module, model.token_set_file):
        raise ModelError(f"{model.path} has another token set, which never changes")
    config = module.config.to_dict()
    decoder = replace(decoder, config=None if config == model.config else config)
    half = model.precision == "float16"
    calibration = calibration if half else None  # there are no integers in float32
    _save_decoder(module, model.path / decoder.weights, half, calibration)
    weights = [*model.weights[:-1], model.path / decoder.weights]
    _write_decoder(load(module.config, *weights), model.path, decoder, calibration)
    return write_manifest(replace(model, decoders=(*model.decoders, decoder)))


def copy_token_set(model: Model, folder: Path) -> TokenSet:
    """Put the token set of a model into `folder`, as it is; what it is called.

    From a directory of version 0.1, whose token set has no file of its own, it is written; files
    name it by the fingerprint of all weights, which becomes an alias.

    Raises ModelError like `load_installed`.
    """
    if not model.is_old:
        shutil.copyfile(model.token_set_file, folder / TOKEN_SET)
        return model.token_set
    save_token_set(load_installed(model), folder / TOKEN_SET)
    fingerprint = sha256(folder / TOKEN_SET)
    return replace(model.token_set, fingerprint=fingerprint, aliases=(model.fingerprint,))


def new_decoder(name: str, version: int = 1) -> DecoderInfo:
    """A decoder that is released today. Raises ValueError for a name that is not valid."""
    return DecoderInfo(check_name(name), version, date.today().isoformat())


def _write_encoder(model: OneDPiece, path: Path, weights: Sequence[str]) -> None:
    graph = _Encoder(model)
    inputs = {"pixels": torch.zeros(EXAMPLES, TILE, TILE, 3, dtype=torch.uint8)}
    write_graph(graph, inputs, ({0: BATCH},), ["tokens"], path, _entries(graph), weights)


def _save_decoder(
    model: OneDPiece, path: Path, half: bool, calibration: NDArray[np.integer] | None
) -> None:
    scales = None
    if calibration is not None and isinstance(model, NaturalOneDPiece):
        equalise(model, _prefixes(calibration))
        scales = round_weights(model, _prefixes(calibration))
    save_decoder(model, path, half, scales)


def _write_decoder(
    model: OneDPiece, folder: Path, decoder: DecoderInfo, calibration: NDArray[np.integer] | None
) -> None:
    graph = _Decoder(model)
    inputs = {"tokens": torch.zeros(EXAMPLES, EXAMPLE_TOKENS, dtype=torch.int32)}
    dynamic = ({0: BATCH, 1: COUNT},)
    weights = [TOKEN_SET, decoder.weights]
    path = folder / decoder.graph
    write_graph(graph, inputs, dynamic, ["pixels"], path, _entries(graph), weights)
    if calibration is not None:
        natural = isinstance(model, NaturalOneDPiece)
        quantise = quantise_natural if natural else quantise_activations
        quantise(path, folder / decoder.int8_graph, _prefixes(calibration))


def _prefixes(tokens: NDArray[np.integer]) -> list[NDArray[np.integer]]:
    """Batches of the first K tokens of pictures, with each K that matters; all have pictures."""
    step = len(CALIBRATION_LENGTHS)
    starts = [range(i, max(len(tokens), step), step) for i in range(step)]
    return [
        tokens[np.array(rows) % len(tokens), :count]
        for rows, count in zip(starts, CALIBRATION_LENGTHS, strict=True)
    ]


def _write_search(model: SpectralOneDPiece, path: Path, weights: Sequence[str]) -> None:
    inputs = {
        "pixels": torch.zeros(EXAMPLES, TILE, TILE, 3, dtype=torch.uint8),
        "tokens": torch.zeros(EXAMPLES, MAX_TOKENS, dtype=torch.int32),
        # Installed graphs have these names for num_tokens and valid_size.
        "keep": torch.full((EXAMPLES,), MAX_TOKENS).int(),
        "shown": torch.full((EXAMPLES, 2), TILE).int(),
    }
    graph, names = trace(Proposals(model), tuple(inputs.values()))
    entries = {name: entry.removeprefix("model.") for name, entry in names.items()}
    outputs = ["cost", "codes", "gains"]
    dynamic: tuple[dict[int, Any], ...] = ({0: BATCH},) * len(inputs)
    write_graph(graph, inputs, dynamic, outputs, path, entries, weights)


def _entries(graph: nn.Module) -> dict[str, str]:
    """Entries of the files of weights for a module that wraps the model."""
    return {name: name.removeprefix("model.") for name in graph.state_dict()}


def _blank(model: OneDPiece) -> tuple[int, int, int]:
    """Mean colour of the training images, RGB 0..255, where the model knows it; else grey."""
    if not isinstance(model, SpectralOneDPiece):
        return GREY
    mean = model.quantize.class_mean.mean(0, keepdim=True)
    colour = model.quantize.synthesise(mean, model.quantize.basis).mean((0, 2, 3))
    red, green, blue = (round(255 * value) for value in colour.tolist())
    return red, green, blue
