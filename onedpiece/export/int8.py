"""Write the model directory of a published model with its transformers' matrices in int8.

ONNX Runtime quantises: weights have a scale for each column, and activations are measured at run
time ("dynamic quantisation"), so that no calibration images are needed.
"""

from __future__ import annotations

import tempfile
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
from onnx import ModelProto, numpy_helper
from onnx.external_data_helper import load_external_data_for_model
from onnxruntime.quantization import QuantType, quantize_dynamic
from safetensors.numpy import save_file

from onedpiece.export.graphs import point_at_weights, quiet
from onedpiece.export.model_directory import copy_token_set
from onedpiece.models.manifest import ENCODER, ENCODER_WEIGHTS, Model, write_manifest
from onedpiece.runtime.onnx import CPU
from onedpiece.tokenizer.weights import HALF_FROM


def export_int8(model: Model, folder: Path, name: str) -> Model:
    """Write the model directory `folder` for an installed model, with all its decoders.

    model: of precision float32 or float16, without a spectral start.
    """
    widths = {model.config["encoder"]["width"], model.config["decoder"]["width"]}
    token_set = copy_token_set(model, folder)
    decoders = tuple(replace(one, graph="", weights="") for one in model.decoders)
    _write_graph(model.path / ENCODER, folder / ENCODER, ENCODER_WEIGHTS, widths)
    for old, new in zip(model.decoders, decoders, strict=True):
        _write_graph(model.path / old.graph, folder / new.graph, new.weights, widths)
    return write_manifest(
        replace(
            model,
            path=folder,
            name=name,
            token_set=token_set,
            decoders=decoders,
            precision="int8",
        )
    )


def _write_graph(source: Path, path: Path, weights: str, widths: set[int]) -> None:
    """Quantise the installed graph `source`; its large tensors go into the file `weights`."""
    proto, file = _quantised(source, widths), path.parent / weights
    # Small tensors stay in the graph.
    large = [tensor for tensor in proto.graph.initializer if np.prod(tensor.dims) >= HALF_FROM]
    save_file({tensor.name: _stored(numpy_helper.to_array(tensor)) for tensor in large}, file)
    file.chmod(0o644)  # safetensors writes for the owner alone
    point_at_weights(proto, [file], lambda name: name)
    path.write_bytes(proto.SerializeToString())


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
