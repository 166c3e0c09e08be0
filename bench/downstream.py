"""Outputs of other networks for decoded pictures, compared with those for the originals.

This is the evaluation by downstream tasks of Miwa et al. (arXiv 2501.10064, section 4.4). A network
is a function of pixels, float32 (1, 3, H, W) in 0..1, whose output has the form that torchvision,
timm and transformers use for its task. `load` makes one from a model that is on this machine;
nothing is downloaded.
"""

from __future__ import annotations

import csv
import importlib
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from onedpiece.bench.protocol import read
from onedpiece.bench.rd import Progress, Run, decode
from onedpiece.bench.table import Row
from onedpiece.errors import OdpError

Network = Callable[[Tensor], Any]
MIN_CONFIDENCE = 0.5  # detections with a lower score do not count
MIN_IOU = 0.5  # intersection over union of two boxes that match
MAX_DEPTH_RATIO = 1.25  # of two depths that count as equal


def classification(original: Any, decoded: Any) -> float:
    """1 if both have the same top class, else 0. Logits (1, C), or an object with `logits`."""
    first, second = (_tensor(output, "logits").argmax(-1) for output in (original, decoded))
    return float((first == second).float().mean())


def segmentation(original: Any, decoded: Any) -> float:
    """Mean intersection over union of the classes that the original has.

    Logits (1, C, H, W), or an object with `logits`, or a dictionary with "out".
    """
    first, second = (_tensor(output, "logits", "out").argmax(1) for output in (original, decoded))
    scores = []
    for class_id in first.unique():
        one, other = first == class_id, second == class_id
        scores.append(float((one & other).sum() / (one | other).sum()))
    return float(np.mean(scores))


def depth(original: Any, decoded: Any) -> float:
    """Share of pixels whose depths are within a factor of 1.25 after equalising the medians.

    Depths (1, H, W), or an object with `predicted_depth`.
    """
    first, second = (_tensor(output, "predicted_depth").float() for output in (original, decoded))
    second = second * (first.median() / second.median())
    ratio = torch.maximum(first / second, second / first)
    return float((ratio < MAX_DEPTH_RATIO).float().mean())


def embedding(original: Any, decoded: Any) -> float:
    """Cosine similarity of embeddings (1, D), or objects with `image_embeds` or `pooler_output`."""
    names = ("image_embeds", "pooler_output")
    first, second = (_tensor(output, *names).flatten() for output in (original, decoded))
    return float(torch.nn.functional.cosine_similarity(first, second, dim=0))


def detection(original: Any, decoded: Any) -> float:
    """F1 score of the detections, with those in the original as the truth; 1 if neither has any.

    Boxes match if their classes are equal and their intersection over union is at least MIN_IOU.
    [{"boxes": (N, 4) as x1 y1 x2 y2, "labels": (N,), "scores": (N,)}], the form of torchvision.
    """
    expected, predicted = _confident(original), _confident(decoded)
    if not expected and not predicted:
        return 1.0
    matched: set[int] = set()
    for box, class_id in predicted:
        overlaps = [
            _iou(box, other) if class_id == other_class and index not in matched else 0.0
            for index, (other, other_class) in enumerate(expected)
        ]
        if overlaps and max(overlaps) >= MIN_IOU:
            matched.add(int(np.argmax(overlaps)))
    return 2 * len(matched) / (len(expected) + len(predicted))


TASKS: dict[str, Callable[[Any, Any], float]] = {
    score.__name__: score for score in (classification, detection, segmentation, depth, embedding)
}


def downstream(
    run: Run, rows: list[Row], networks: dict[str, Network], progress: Progress
) -> list[tuple[str, str, str, float, int]]:
    """Mean scores as (network, codec, setting, score, number of pictures).

    Also written to `run.out`/downstream.csv.
    rows:     of a finished `odp bench rd`, whose files are decoded again.
    networks: "task=source" -> network.
    """
    scores: dict[tuple[str, str, str], list[float]] = {}
    with progress(len(run.pictures)) as advance, torch.inference_mode():
        for name, path in run.pictures.items():
            pixels = _pixels(read(path, run.protocol).pixels)
            originals = {key: network(pixels) for key, network in networks.items()}
            for row in rows:
                if row.picture != name or row.bytes is None:
                    continue
                decoded = _pixels(decode(run, row))
                for key, network in networks.items():
                    score = TASKS[key.partition("=")[0]](originals[key], network(decoded))
                    scores.setdefault((key, row.codec, row.setting), []).append(score)
            advance(1)
    means = [(*key, float(np.mean(values)), len(values)) for key, values in scores.items()]
    with (run.out / "downstream.csv").open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(("network", "codec", "setting", "score", "pictures"))
        writer.writerows((*mean[:3], f"{mean[3]:.4f}", mean[4]) for mean in means)
    return means


def load(source: str, task: str) -> Network:
    """A network by torchvision:NAME, timm:NAME, transformers:NAME, or MODULE:FUNCTION.

    The function is called without arguments and returns the network.
    Raises OdpError if the network or its weights are not on this machine.
    """
    # Hugging Face's libraries read this when they are imported; without it they download weights.
    os.environ["HF_HUB_OFFLINE"] = "1"
    library, _, name = source.partition(":")
    loaders = {"torchvision": _torchvision, "timm": _timm, "transformers": _transformers}
    try:
        if library in loaders:
            return loaders[library](name, task)
        return getattr(importlib.import_module(library), name)()
    except OdpError:
        raise
    except Exception as error:  # these libraries raise many kinds for missing models
        raise OdpError(f"{source} cannot be loaded: {str(error).splitlines()[0]}") from error


def _torchvision(name: str, task: str) -> Network:
    from torchvision.models import get_model, get_model_weights

    weights = get_model_weights(name).DEFAULT
    file = Path(torch.hub.get_dir()) / "checkpoints" / Path(weights.url).name
    if not file.is_file():
        raise OdpError(f"the weights of torchvision's {name} are not on this machine: {file}")
    model, transform = get_model(name, weights=weights).eval(), weights.transforms()
    if task == "detection":
        return lambda pixels: model([transform(pixels[0])])
    return lambda pixels: model(transform(pixels))


def _timm(name: str, task: str) -> Network:
    import timm
    from torchvision.transforms.functional import normalize, resize

    # Without classes, the output of a model is its embedding.
    classes: dict[str, int] = {"num_classes": 0} if task == "embedding" else {}
    model = timm.create_model(name, pretrained=True, **classes).eval()
    config = timm.data.resolve_model_data_config(model)
    size, mean, std = config["input_size"][1:], config["mean"], config["std"]
    return lambda pixels: model(normalize(resize(pixels, size, antialias=True), mean, std))


def _transformers(name: str, task: str) -> Network:
    import transformers

    classes = {
        "classification": "AutoModelForImageClassification",
        "segmentation": "AutoModelForSemanticSegmentation",
        "depth": "AutoModelForDepthEstimation",
        "embedding": "CLIPVisionModelWithProjection",
    }
    if task not in classes:
        raise OdpError(f"transformers has no loader for {task}: use torchvision, or a function")
    processor = transformers.AutoImageProcessor.from_pretrained(name)
    model = getattr(transformers, classes[task]).from_pretrained(name).eval()

    def network(pixels: Tensor) -> Any:
        return model(**processor(pixels, return_tensors="pt", do_rescale=False))

    return network


def _pixels(pixels: np.ndarray) -> Tensor:
    """uint8 (H, W, 3) -> float32 (1, 3, H, W) in 0..1."""
    return torch.from_numpy(pixels.astype(np.float32) / 255).permute(2, 0, 1)[None]


def _tensor(output: Any, *names: str) -> Tensor:
    """The tensor that an output holds under one of these names, or else the output itself."""
    for name in names:
        if isinstance(output, dict) and name in output:
            return output[name]
        if getattr(output, name, None) is not None:
            return getattr(output, name)
    return output


def _confident(output: Any) -> list[tuple[list[float], int]]:
    """Boxes and classes of the detections that count, by falling confidence."""
    (detections,) = output
    order = detections["scores"].argsort(descending=True).tolist()
    return [
        (detections["boxes"][index].tolist(), int(detections["labels"][index]))
        for index in order
        if detections["scores"][index] >= MIN_CONFIDENCE
    ]


def _iou(one: list[float], other: list[float]) -> float:
    """Intersection over union of two boxes x1 y1 x2 y2."""
    width = min(one[2], other[2]) - max(one[0], other[0])
    height = min(one[3], other[3]) - max(one[1], other[1])
    common = max(0.0, width) * max(0.0, height)
    areas = [(box[2] - box[0]) * (box[3] - box[1]) for box in (one, other)]
    return common / (sum(areas) - common) if common else 0.0
