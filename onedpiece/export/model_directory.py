"""Write a model directory: one weights file, the ONNX graphs that refer to it, and a manifest.

    weights.safetensors   every table and parameter once, large ones as float16 or float32
    encoder.onnx          pixels uint8 (B, 256, 256, 3) -> tokens int32 (B, 256)
    decoder.onnx          tokens int32 (B, K) -> pixels float32 (B, 256, 256, 3) in 0..255; models
                          with grain have a second input, grain float32 (1,), 1 as learned
    search.onnx           `Proposals.forward`; only for models with a spectral start
    model.json            name, fingerprint, configuration

The fingerprint is the SHA-256 of the weights file.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.export import Dim

from onedpiece.constants import MAX_TOKENS, TILE
from onedpiece.export.graphs import write_graph
from onedpiece.export.tracing import trace
from onedpiece.models.registry import sha256
from onedpiece.tokenizer.onedpiece import OneDPiece, SpectralOneDPiece
from onedpiece.tokenizer.proposals import Proposals
from onedpiece.tokenizer.weights import load, save

GREY = [128, 128, 128]
EXAMPLES = 2  # images in the example inputs of the exporter, which treats 1 as a constant
EXAMPLE_TOKENS = 5
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

    def forward(self, tokens: Tensor, grain: Tensor | None = None) -> Tensor:
        options = {} if grain is None else {"grain": grain}
        decoded = self.model.decode(tokens.long(), **options)
        return decoded.clamp(0, 1).permute(0, 2, 3, 1) * 255


def export(
    model: OneDPiece,
    folder: Path,
    name: str,
    precision: str = "float16",
    **facts: Any,
) -> str:
    """Write the model directory `folder`; returns the fingerprint (64 hexadecimal digits).

    precision: how large parameters are stored, "float16" or "float32". The arithmetic is float32.
    facts:     more entries of the manifest. With a `fingerprint` among them, this is another
               precision of the model with that fingerprint: files of either decode with both.
    """
    folder.mkdir(parents=True, exist_ok=True)
    weights = folder / "weights.safetensors"
    save(model, weights, precision == "float16")
    weights.chmod(0o644)  # safetensors writes for the owner alone
    model = load(model.config, weights)
    _write_encoder(model, folder)
    _write_decoder(model, folder)
    if isinstance(model, SpectralOneDPiece):
        _write_search(model, folder)
    entries = {
        "name": name,
        "blank": _blank(model),
        "config": model.config.to_dict(),
        "precision": precision,
    }
    return write_manifest(folder, {**entries, **facts})


def write_manifest(folder: Path, entries: dict[str, Any]) -> str:
    """Write model.json beside the weights; returns the fingerprint.

    The fingerprint is that of the weights unless `entries` has one; the weights then have a
    `checksum`.
    """
    checksum = sha256(folder / "weights.safetensors")
    manifest = {"fingerprint": checksum, **entries}
    if manifest["fingerprint"] != checksum:
        manifest["checksum"] = checksum
    (folder / "model.json").write_text(json.dumps(manifest, indent=1) + "\n")
    return str(manifest["fingerprint"])


def _write_encoder(model: OneDPiece, folder: Path) -> None:
    graph = _Encoder(model)
    inputs = {"pixels": torch.zeros(EXAMPLES, TILE, TILE, 3, dtype=torch.uint8)}
    path = folder / "encoder.onnx"
    write_graph(graph, inputs, ({0: BATCH},), ["tokens"], path, _entries(graph))


def _write_decoder(model: OneDPiece, folder: Path) -> None:
    graph = _Decoder(model)
    inputs = {"tokens": torch.zeros(EXAMPLES, EXAMPLE_TOKENS, dtype=torch.int32)}
    dynamic: tuple[dict[int, Any], ...] = ({0: BATCH, 1: COUNT},)
    if model.config.grain:
        inputs["grain"] = torch.ones(1)
        dynamic += ({},)
    write_graph(graph, inputs, dynamic, ["pixels"], folder / "decoder.onnx", _entries(graph))


def _write_search(model: SpectralOneDPiece, folder: Path) -> None:
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
    write_graph(graph, inputs, dynamic, outputs, folder / "search.onnx", entries)


def _entries(graph: nn.Module) -> dict[str, str]:
    """Entries of the weights file for a module that wraps the model."""
    return {name: name.removeprefix("model.") for name in graph.state_dict()}


def _blank(model: OneDPiece) -> list[int]:
    """Mean colour of the training images, RGB 0..255, where the model knows it; else grey."""
    if not isinstance(model, SpectralOneDPiece):
        return GREY
    mean = model.quantize.class_mean.mean(0, keepdim=True)
    colour = model.quantize.synthesise(mean, model.quantize.basis).mean((0, 2, 3))
    return [round(255 * value) for value in colour.tolist()]
