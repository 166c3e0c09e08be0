"""Write a model directory: one weights file, the ONNX graphs that read it, and a manifest.

    weights.safetensors   every table and parameter once, large ones as float16 unless float32 is asked for
    encoder.onnx          pixels uint8 (B, 256, 256, 3) -> tokens int32 (B, 256)
    decoder.onnx          tokens int32 (B, K) -> pixels float32 (B, 256, 256, 3) in 0..255; models with grain have
                          a second input, grain float32 (1,), how much of it is added, 1 as learned
    search.onnx           what `Proposals.forward` gives; models with a spectral start only
    model.json            name, fingerprint, configuration

The graphs hold no weights: their initializers are ONNX external data at offsets of the safetensors file, which
PyTorch reads too. The fingerprint is the SHA-256 of that file.
"""

from __future__ import annotations

import json
import logging
import struct
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import onnx
import torch
from onnx import TensorProto, helper
from onnxscript.optimizer import optimize_ir
from torch import Tensor, nn

from onedpiece.constants import MAX_TOKENS, TILE
from onedpiece.models.registry import sha256
from onedpiece.tokenizer.onedpiece import OneDPiece, SpectralOneDPiece
from onedpiece.tokenizer.proposals import Proposals, traced
from onedpiece.tokenizer.weights import load, save

OPSET = 20


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

    precision: how large parameters are stored, "float16" or "float32"; the arithmetic is float32 in both.
    facts:     further entries of the manifest. A `fingerprint` among them makes this another precision of the model
               that has it: files of either decode with both.
    """
    folder.mkdir(parents=True, exist_ok=True)
    weights = folder / "weights.safetensors"
    save(model, weights, precision == "float16")
    weights.chmod(0o644)  # safetensors writes for the owner alone
    model = load(model.config, weights)
    pixels = torch.zeros(2, TILE, TILE, 3, dtype=torch.uint8)
    tokens = torch.zeros(2, MAX_TOKENS, dtype=torch.int32)
    batch, count = torch.export.Dim("batch", max=4096), torch.export.Dim("count", max=MAX_TOKENS)
    graph: nn.Module = _Encoder(model)
    _write_graph(
        graph,
        _entries(graph),
        {"pixels": pixels},
        ({0: batch},),
        ["tokens"],
        folder / "encoder.onnx",
    )
    graph, some, dynamic = _Decoder(model), {"tokens": tokens[:, :5]}, [{0: batch, 1: count}]
    if model.config.grain:
        some["grain"] = torch.ones(1)
        dynamic.append({})
    path = folder / "decoder.onnx"
    _write_graph(graph, _entries(graph), some, tuple(dynamic), ["pixels"], path)
    if isinstance(model, SpectralOneDPiece):
        keep, shown = torch.full((2,), MAX_TOKENS).int(), torch.full((2, 2), TILE).int()
        inputs = {"pixels": pixels, "tokens": tokens, "keep": keep, "shown": shown}
        graph, names = traced(Proposals(model), tuple(inputs.values()))
        entries = {name: entry.removeprefix("model.") for name, entry in names.items()}
        results = ["cost", "codes", "gains"]
        _write_graph(graph, entries, inputs, ({0: batch},) * 4, results, folder / "search.onnx")
    return write_manifest(
        folder,
        {
            "name": name,
            "blank": _blank(model),
            "config": model.config.to_dict(),
            "precision": precision,
            **facts,
        },
    )


def write_manifest(folder: Path, entries: dict[str, Any]) -> str:
    """Write model.json beside the weights; returns the fingerprint, that of the weights unless the entries have one."""
    checksum = sha256(folder / "weights.safetensors")
    manifest = {"fingerprint": checksum, **entries}
    if manifest["fingerprint"] != checksum:
        manifest["checksum"] = checksum
    (folder / "model.json").write_text(json.dumps(manifest, indent=1) + "\n")
    return str(manifest["fingerprint"])


def _blank(model: OneDPiece) -> list[int]:
    """Mean colour of the training pictures, RGB 0..255, where the model knows it; else grey."""
    if not isinstance(model, SpectralOneDPiece):
        return [128, 128, 128]
    mean = model.quantize.class_mean.mean(0, keepdim=True)
    colour = model.quantize.synthesise(mean, model.quantize.basis).mean((0, 2, 3))
    return [round(255 * value) for value in colour.tolist()]


def _entries(module: nn.Module) -> dict[str, str]:
    """Parameter of a graph -> entry of the weights file, for a module that wraps the model."""
    names = module.state_dict().keys()
    return {name: name.removeprefix("model.") for name in names}


def _write_graph(
    module: nn.Module,
    entries: dict[str, str],
    inputs: dict[str, Tensor],
    dynamic: tuple[dict, ...],
    outputs: list[str],
    path: Path,
) -> None:
    """entries: which of the module's parameters and buffers is which entry of the weights file beside `path`."""
    with quiet():
        program = torch.onnx.export(
            module.eval(),
            tuple(inputs.values()),
            input_names=list(inputs),
            output_names=outputs,
            dynamic_shapes=dynamic,
            opset_version=OPSET,
            dynamo=True,
            optimize=False,
            verbose=False,
        )
        assert program is not None
        # Folding a parameter would put a second copy of it into the graph; ONNX Runtime folds when it loads.
        optimize_ir(
            program.model,
            should_fold=lambda node: None if _is_free(node, set(entries)) else False,
        )
    graph = program.model_proto
    point_at_weights(graph, path.parent / "weights.safetensors", lambda name: entries.get(name, ""))
    del graph.metadata_props[:]
    for node in graph.graph.node:
        del node.metadata_props[:]
        node.doc_string = ""
    path.write_bytes(graph.SerializeToString())


@contextmanager
def quiet() -> Iterator[None]:
    """Exporters warn of much that is as it should be."""
    logging.disable(logging.WARNING)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(logging.NOTSET)


def _is_free(node: Any, parameters: set[str]) -> bool:
    return not any(value is not None and value.name in parameters for value in node.inputs)


def point_at_weights(
    graph: onnx.ModelProto, weights: Path, stored_as: Callable[[str], str]
) -> None:
    """Replace initializers that are in the weights file by references into it, cast where stored as float16.

    stored_as: the file's name of an initializer.
    """
    with weights.open("rb") as file:
        length = struct.unpack("<Q", file.read(8))[0]
        entries = json.loads(file.read(length))
    casts = []
    for tensor in graph.graph.initializer:
        entry = entries.get(stored_as(tensor.name))
        if entry is None:
            continue
        if list(tensor.dims) != entry["shape"]:
            raise RuntimeError(f"the exporter changed the shape of {tensor.name}")
        name, kind = tensor.name, tensor.data_type
        if entry["dtype"] == "F16":
            tensor.name = name + ".stored"
            casts.append(helper.make_node("Cast", [tensor.name], [name], to=TensorProto.FLOAT))
            kind = TensorProto.FLOAT16
        start, end = entry["data_offsets"]
        _make_external(tensor, kind, weights.name, 8 + length + start, end - start)
    for position, cast in enumerate(casts):
        graph.graph.node.insert(position, cast)


def _make_external(tensor: TensorProto, kind: int, location: str, offset: int, length: int) -> None:
    name, dims = tensor.name, list(tensor.dims)
    tensor.Clear()
    tensor.name, tensor.data_type = name, kind
    tensor.dims.extend(dims)
    tensor.data_location = TensorProto.EXTERNAL
    for key, value in (("location", location), ("offset", str(offset)), ("length", str(length))):
        tensor.external_data.add(key=key, value=value)
