"""The model directory of a published model with the transformers' matrices in int8, by ONNX Runtime's quantiser.

Weights have a scale for each column; activations are measured as they come ("dynamic quantisation"), so that no
pictures are needed to calibrate.
"""

from __future__ import annotations

import json
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
from onnx import ModelProto, numpy_helper
from onnxruntime.quantization import QuantType, quantize_dynamic
from safetensors.numpy import save_file

from onedpiece.export.model_directory import export, point_at_weights, quiet, write_manifest
from onedpiece.runtime.onnx import CPU
from onedpiece.tokenizer.onedpiece import OneDPiece
from onedpiece.tokenizer.weights import HALF_FROM

GRAPHS = ("encoder", "decoder")


def export_int8(
    model: OneDPiece, folder: Path, name: str, precision: str = "int8", **facts: Any
) -> str:
    """Like `onedpiece.export.model_directory.export`."""
    widths = {model.config.encoder.width, model.config.decoder.width}
    with tempfile.TemporaryDirectory() as place:
        work = Path(place)
        export(model, work, name, "float32")
        graphs = {graph: _quantised(work, graph, widths) for graph in GRAPHS}
        manifest = json.loads((work / "model.json").read_text())
    del manifest["fingerprint"]
    weights = folder / "weights.safetensors"
    save_file(
        {
            f"{graph}.{tensor.name}": _stored(numpy_helper.to_array(tensor))
            for graph, proto in graphs.items()
            for tensor in proto.graph.initializer
            if np.prod(tensor.dims) >= HALF_FROM
        },
        weights,
    )
    weights.chmod(0o644)
    for graph, proto in graphs.items():
        point_at_weights(proto, weights, f"{graph}.{{}}".format)
        (folder / f"{graph}.onnx").write_bytes(proto.SerializeToString())
    return write_manifest(folder, {**manifest, "precision": precision, **facts})


def _quantised(work: Path, graph: str, widths: set[int]) -> ModelProto:
    """The graph of a float32 model directory with integer products, all weights inside."""
    folded, quantised = work / f"{graph}-folded.onnx", work / f"{graph}-int8.onnx"
    # The exporter leaves the transposition of weights to be folded when the graph is loaded, which is done here.
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_ENABLE_BASIC
    options.optimized_model_filepath = str(folded)
    options.log_severity_level = 4
    onnxruntime.InferenceSession(work / f"{graph}.onnx", options, providers=[CPU])
    chosen = _transformer_products(onnx.load(folded, load_external_data=False), widths)
    with quiet():  # the quantiser recommends what was just done
        quantize_dynamic(
            folded,
            quantised,
            nodes_to_quantize=chosen,
            per_channel=True,
            reduce_range=True,  # processors without VNNI add products of 8 bits in 16, and saturate
            weight_type=QuantType.QInt8,
        )
    return onnx.load(quantised)


def _transformer_products(proto: ModelProto, widths: set[int]) -> list[str]:
    """Names of the products with a matrix both of whose sides are multiples of a transformer's width."""
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
