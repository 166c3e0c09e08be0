"""ONNX graphs without weights of their own: their initializers refer into safetensors files.

ONNX calls such weights external data: a file name, an offset and a length; the files must be in the
folder of the graph. They are those that PyTorch reads too, so that a model directory holds every
number once.
"""

from __future__ import annotations

import json
import logging
import struct
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import onnx
import onnx_ir
import torch
from onnx import TensorProto, helper
from onnx_ir.passes import common as passes
from onnxscript.optimizer import fold_constants_ir
from onnxscript.rewriter import RewritePass
from onnxscript.rewriter.rules import common as rules
from torch import Tensor, nn

from onedpiece.tokenizer.weights import SCALE

OPSET = 20
STORED = {"F16": TensorProto.FLOAT16, "I8": TensorProto.INT8}  # types that are cast to float32
ROUNDS = 2  # of simplification, since one step makes work for another
RULES = (
    rules.transpose_transpose_rule,
    rules.no_op_transpose_rule,
    rules.reshape_reshape_rule,
    rules.unsqueeze_unsqueeze_rule,
    rules.no_op_cast_rule,
    rules.no_op_expand_rule,
    rules.materialize_reshape_shape_rule,
    rules.min_max_rule,
    rules.max_min_rule,
)


def write_graph(
    module: nn.Module,
    inputs: dict[str, Tensor],
    dynamic: tuple[dict[int, Any], ...],
    outputs: list[str],
    path: Path,
    entries: dict[str, str],
    weights: Sequence[str],
) -> None:
    """Export a module to the ONNX file `path`.

    inputs:  example inputs by name, in the order of the module's arguments.
    dynamic: for each input, its axes of any length (see `torch.export`).
    outputs: names of the outputs.
    entries: for each of the module's parameters and buffers, its entry in a file of weights.
    weights: names of the files of weights, in the same folder.

    Raises RuntimeError if the exporter changed the shape of a parameter.
    """
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
        _simplify(program.model, entries)
        _detach_parameters(program.model, entries)
    graph = program.model_proto
    files = [path.parent / name for name in weights]
    point_at_weights(graph, files, lambda name: entries.get(name, ""))
    # ONNX Runtime infers the shapes itself, and they would be almost half of the file.
    del graph.metadata_props[:]
    del graph.graph.value_info[:]
    for node in graph.graph.node:
        del node.metadata_props[:]
        node.doc_string = ""
    path.write_bytes(graph.SerializeToString())


@contextmanager
def quiet() -> Iterator[None]:
    """Silence the log messages and warnings of exporters, which do not mean a failure."""
    logging.disable(logging.WARNING)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(logging.NOTSET)


def point_at_weights(
    graph: onnx.ModelProto, weights: Sequence[Path], entry_name: Callable[[str], str]
) -> None:
    """Replace initializers by references into files of weights.

    Where a file has float16, the graph casts to float32; where it has 8-bit integers, the graph
    multiplies them with their scales. Initializers that are in no file stay.

    entry_name: gives the entry of a file for the name of an initializer.

    Raises RuntimeError if an initializer does not have the shape of its entry.
    """
    entries = {name: entry for path in weights for name, entry in _stored_tensors(path)}
    nodes, scales = [], []
    for tensor in graph.graph.initializer:
        name = tensor.name
        entry = entries.get(entry_name(name))
        if entry is None:
            continue
        if list(tensor.dims) != entry["shape"]:
            raise RuntimeError(f"the exporter changed the shape of {tensor.name}")
        data_type = tensor.data_type
        scale_entry = entries.get(entry_name(name) + SCALE)
        if entry["dtype"] == "F16" or scale_entry:
            data_type = STORED[entry["dtype"]]
            tensor.name, cast = name + ".stored", name
            if scale_entry:
                scale, cast = TensorProto(name=name + SCALE), name + ".integers"
                scale.dims.extend(scale_entry["shape"])
                _make_external(scale, TensorProto.FLOAT, scale_entry)
                scales.append(scale)
                nodes.append(helper.make_node("Mul", [cast, scale.name], [name]))
            nodes.append(helper.make_node("Cast", [tensor.name], [cast], to=TensorProto.FLOAT))
        _make_external(tensor, data_type, entry)
    graph.graph.initializer.extend(scales)
    for node in nodes:  # a cast comes after its product here, and so before it in the graph
        graph.graph.node.insert(0, node)


def copy_graph(source: Path, path: Path, weights: Sequence[str]) -> None:
    """Copy a graph that refers to files of weights to `path`, beside files with the same tensors.

    weights: names of these files. In the new folder, they may have more tensors, and other offsets.
    """
    names = {
        (name, str(entry["offset"])): entry_name
        for name in weights
        for entry_name, entry in _stored_tensors(source.parent / name)
    }
    entries = {name: dict(_stored_tensors(path.parent / name)) for name in weights}
    graph = onnx.load(source, load_external_data=False)
    for tensor in graph.graph.initializer:
        place = {entry.key: entry for entry in tensor.external_data}
        file = place["location"].value if place else ""
        if file in entries:
            entry = entries[file][names[file, place["offset"].value]]
            place["offset"].value = str(entry["offset"])
    path.write_bytes(graph.SerializeToString())


def _stored_tensors(path: Path) -> Iterator[tuple[str, dict[str, Any]]]:
    """Name, type, shape and place of each tensor in a file of weights."""
    with path.open("rb") as file:
        length = struct.unpack("<Q", file.read(8))[0]
        index = json.loads(file.read(length))
    for name, entry in index.items():
        if name != "__metadata__":
            start, end = entry["data_offsets"]
            place = {"location": path.name, "offset": 8 + length + start, "length": end - start}
            yield name, {**entry, **place}


def _simplify(model: onnx_ir.Model, entries: dict[str, str]) -> None:
    """Fold constants and drop operations without effect, in place.

    ONNX Runtime does the rest when it loads the graph. `onnxscript.optimizer.optimize_ir` has the
    same steps, but tries so many rules that it takes a third of the time of an export.
    """
    for _ in range(ROUNDS):
        # Folding a parameter would put a copy of it into the graph.
        fold_constants_ir(
            model,
            onnx_shape_inference=True,
            should_fold=lambda node: False if _has_parameter(node, entries) else None,
        )
        RewritePass(RULES)(model)
        passes.RemoveUnusedNodesPass()(model)
    passes.LiftConstantsToInitializersPass(lift_all_constants=True, size_limit=0)(model)
    passes.DeduplicateInitializersPass()(model)
    passes.CommonSubexpressionEliminationPass()(model)


def _detach_parameters(model: onnx_ir.Model, entries: dict[str, str]) -> None:
    """Replace the values of parameters by references, so that serialising does not copy them.

    Reading and copying them takes 2.4 GB of memory for each graph of L-256. The references are
    placeholders: `point_at_weights` sets the offsets.
    """
    for name, value in model.graph.initializers.items():
        tensor = value.const_value
        if name in entries and tensor is not None:
            shape = onnx_ir.Shape(tensor.shape.numpy())
            value.const_value = onnx_ir.ExternalTensor(
                "placeholder", 0, tensor.nbytes, tensor.dtype, shape=shape, name=name
            )


def _has_parameter(node: Any, entries: dict[str, str]) -> bool:
    return any(value is not None and value.name in entries for value in node.inputs)


def _make_external(tensor: TensorProto, data_type: int, entry: dict[str, Any]) -> None:
    """Turn an initializer into a reference to the place of an entry of `_stored_tensors`."""
    name, dims = tensor.name, list(tensor.dims)
    tensor.Clear()
    tensor.name, tensor.data_type = name, data_type
    tensor.dims.extend(dims)
    tensor.data_location = TensorProto.EXTERNAL
    for key in ("location", "offset", "length"):
        tensor.external_data.add(key=key, value=str(entry[key]))
