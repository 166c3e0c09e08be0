"""Write the model directory of a published model with its transformers' matrices in int8.

ONNX Runtime quantises: weights have a scale for each column, and activations are measured at run
time ("dynamic quantisation"), so that no calibration images are needed.
"""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
from onnx import ModelProto, numpy_helper
from onnx.external_data_helper import load_external_data_for_model
from onnxruntime.quantization import QuantType, quantize_dynamic
from safetensors.numpy import save_file

from onedpiece.export.graphs import point_at_weights, quiet
from onedpiece.export.model_directory import write_manifest
from onedpiece.models.registry import Model
from onedpiece.runtime.onnx import CPU
from onedpiece.tokenizer.weights import HALF_FROM

GRAPHS = ("encoder", "decoder")


def export_int8(model: Model, folder: Path, name: str, **facts: Any) -> str:
    """Write the model directory `folder` for an installed model; returns the fingerprint.

    model: of precision float32 or float16, without a spectral start.
    facts: more entries of the manifest.
    """
    widths = {model.config["encoder"]["width"], model.config["decoder"]["width"]}
    graphs = {graph: _quantised(model.path / f"{graph}.onnx", widths) for graph in GRAPHS}
    weights = folder / "weights.safetensors"
    save_file(_large_tensors(graphs), weights)
    weights.chmod(0o644)  # safetensors writes for the owner alone
    for graph, proto in graphs.items():
        point_at_weights(proto, weights, f"{graph}.{{}}".format)
        (folder / f"{graph}.onnx").write_bytes(proto.SerializeToString())
    entries = {"name": name, "blank": list(model.blank), "config": model.config}
    return write_manifest(folder, {**entries, "precision": "int8", **facts})


def _large_tensors(graphs: dict[str, ModelProto]) -> dict[str, np.ndarray]:
    """What the weights file holds of the graphs' initializers; small ones stay in the graphs."""
    return {
        f"{graph}.{tensor.name}": _stored(numpy_helper.to_array(tensor))
        for graph, proto in graphs.items()
        for tensor in proto.graph.initializer
        if np.prod(tensor.dims) >= HALF_FROM
    }


def _quantised(graph: Path, widths: set[int]) -> ModelProto:
    """An installed graph with integer products and all weights inside."""
    with tempfile.TemporaryDirectory() as temporary:
        folded, quantised = Path(temporary, "folded.onnx"), Path(temporary, "int8.onnx")
        # Graphs transpose their weights when they are loaded; the quantiser needs that to be done.
        options = onnxruntime.SessionOptions()
        options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_ENABLE_BASIC
        options.optimized_model_filepath = str(folded)
        options.log_severity_level = 4
        onnxruntime.InferenceSession(graph, options, providers=[CPU])
        proto = onnx.load(folded, load_external_data=False)
        load_external_data_for_model(proto, str(graph.parent))
        with quiet():  # the quantiser recommends the folding that has been done
            quantize_dynamic(
                proto,
                quantised,
                nodes_to_quantize=_transformer_products(proto, widths),
                per_channel=True,
                reduce_range=True,  # CPUs without VNNI add 8-bit products in 16 bits, and saturate
                weight_type=QuantType.QInt8,
            )
        return onnx.load(quantised)


def _transformer_products(proto: ModelProto, widths: set[int]) -> list[str]:
    """Names of the products with a matrix both of whose sides are multiples of a width."""
    shapes = {tensor.name: list(tensor.dims) for tensor in proto.graph.initializer}
    return [
        node.name
        for node in proto.graph.node
        if node.op_type == "MatMul"
        and any(
            all(side % width == 0 for side in shapes.get(node.input[1], [1])) for width in widths
        )
    ]


def _stored(value: np.ndarray) -> np.ndarray:
    is_matrix = value.dtype == np.float32 and value.ndim > 1
    return np.ascontiguousarray(value.astype(np.float16) if is_matrix else value)
