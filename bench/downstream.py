"""What other networks make of decoded pictures, beside what they make of the originals (Miwa et al., section 4.4).

A network is a function of pixels, float32 (1, 3, H, W) in 0..1, whose result is what torchvision, timm and transformers
give for its kind. `load` makes one of a model that is on the machine; nothing is downloaded.
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
from onedpiece.bench.rate_distortion import Progress, Run, decoded
from onedpiece.bench.table import Row
from onedpiece.errors import OdpError

Network = Callable[[Tensor], Any]
CONFIDENT = 0.5  # score from which on a detection counts
SAME_PLACE = 0.5  # intersection over union from which on two boxes are of the same thing
CLOSE = 1.25  # ratio up to which two depths are alike


def classification(original: Any, made: Any) -> float:
    """1 if both have the same class on top, else 0. Logits (1, C), or an object that has them as `logits`."""
    first, second = (_tensor(output, "logits").argmax(-1) for output in (original, made))
    return float((first == second).float().mean())


def segmentation(original: Any, made: Any) -> float:
    """Mean intersection over union of the classes in the original. Logits (1, C, H, W): `logits`, ["out"] or plain."""
    first, second = (_tensor(output, "logits", "out").argmax(1) for output in (original, made))
    scores = []
    for label in first.unique():
        one, other = first == label, second == label
        scores.append(float((one & other).sum() / (one | other).sum()))
    return float(np.mean(scores))


def depth(original: Any, made: Any) -> float:
    """Share of pixels whose depths differ by less than a quarter, scales made equal. (1, H, W), or `predicted_depth`."""
    first, second = (_tensor(output, "predicted_depth").float() for output in (original, made))
    second = second * (first.median() / second.median())
    ratio = torch.maximum(first / second, second / first)
    return float((ratio < CLOSE).float().mean())


def embedding(original: Any, made: Any) -> float:
    """Cosine of the angle between embeddings (1, D), or `image_embeds`, `pooler_output`."""
    names = ("image_embeds", "pooler_output")
    first, second = (_tensor(output, *names).flatten() for output in (original, made))
    return float(torch.nn.functional.cosine_similarity(first, second, dim=0))


def detection(original: Any, made: Any) -> float:
    """F1 of detections against those in the original: same label, boxes that overlap by half; 1 if neither has any.

    [{"boxes": (N, 4) as x1 y1 x2 y2, "labels": (N,), "scores": (N,)}], as torchvision's detectors give.
    """
    wanted, found = _confident(original), _confident(made)
    if not wanted and not found:
        return 1.0
    matched: set[int] = set()
    for box, label in found:
        overlaps = [
            _overlap(box, other) if label == name and index not in matched else 0.0
            for index, (other, name) in enumerate(wanted)
        ]
        if overlaps and max(overlaps) >= SAME_PLACE:
            matched.add(int(np.argmax(overlaps)))
    return 2 * len(matched) / (len(wanted) + len(found))


KINDS: dict[str, Callable[[Any, Any], float]] = {
    score.__name__: score for score in (classification, detection, segmentation, depth, embedding)
}


def downstream(
    run: Run, rows: list[Row], networks: dict[str, Network], progress: Progress
) -> list[tuple[str, str, str, float, int]]:
    """Means over pictures: network, codec, setting, score, number of pictures. Writes `run.out`/downstream.csv.

    networks: "kind=source" -> network. rows: of a finished `odp bench rd`, whose files are decoded again.
    """
    scores: dict[tuple[str, str, str], list[float]] = {}
    with progress(len(run.pictures)) as advance, torch.inference_mode():
        for name, path in run.pictures.items():
            pixels = _pixels(read(path, run.protocol).pixels)
            originals = {key: network(pixels) for key, network in networks.items()}
            for row in rows:
                if row.picture != name or row.bytes is None:
                    continue
                made = _pixels(decoded(run, row))
                for key, network in networks.items():
                    score = KINDS[key.partition("=")[0]](originals[key], network(made))
                    scores.setdefault((key, row.codec, row.setting), []).append(score)
            advance(1)
    means = [(*key, float(np.mean(values)), len(values)) for key, values in scores.items()]
    with (run.out / "downstream.csv").open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(("network", "codec", "setting", "score", "pictures"))
        writer.writerows((*mean[:3], f"{mean[3]:.4f}", mean[4]) for mean in means)
    return means


def load(source: str, kind: str) -> Network:
    """A network by name: torchvision:NAME, timm:NAME, transformers:NAME, or MODULE:FUNCTION, which is called for one.

    Raises OdpError if it, or its weights, are not on this machine.
    """
    # Hugging Face's libraries download what is missing unless told not to, before they are imported.
    os.environ["HF_HUB_OFFLINE"] = "1"
    library, _, name = source.partition(":")
    makers = {"torchvision": _torchvision, "timm": _timm, "transformers": _transformers}
    try:
        if library in makers:
            return makers[library](name, kind)
        return getattr(importlib.import_module(library), name)()
    except OdpError:
        raise
    except Exception as error:  # whatever these libraries raise for what is not there
        raise OdpError(f"{source} cannot be loaded: {str(error).splitlines()[0]}") from error


def _torchvision(name: str, kind: str) -> Network:
    from torchvision.models import get_model, get_model_weights

    weights = get_model_weights(name).DEFAULT
    file = Path(torch.hub.get_dir()) / "checkpoints" / Path(weights.url).name
    if not file.is_file():
        raise OdpError(f"the weights of torchvision's {name} are not on this machine: {file}")
    model, transform = get_model(name, weights=weights).eval(), weights.transforms()
    if kind == "detection":
        return lambda pixels: model([transform(pixels[0])])
    return lambda pixels: model(transform(pixels))


def _timm(name: str, kind: str) -> Network:
    import timm
    from torchvision.transforms.functional import normalize, resize

    # Without classes, a model gives its embedding.
    classes: dict[str, int] = {"num_classes": 0} if kind == "embedding" else {}
    model = timm.create_model(name, pretrained=True, **classes).eval()
    config = timm.data.resolve_model_data_config(model)
    size, mean, std = config["input_size"][1:], config["mean"], config["std"]
    return lambda pixels: model(normalize(resize(pixels, size, antialias=True), mean, std))


def _transformers(name: str, kind: str) -> Network:
    import transformers

    classes = {
        "classification": "AutoModelForImageClassification",
        "segmentation": "AutoModelForSemanticSegmentation",
        "depth": "AutoModelForDepthEstimation",
        "embedding": "CLIPVisionModelWithProjection",
    }
    if kind not in classes:
        raise OdpError(f"{kind} with transformers is not known: use torchvision, or a function")
    processor = transformers.AutoImageProcessor.from_pretrained(name)
    model = getattr(transformers, classes[kind]).from_pretrained(name).eval()

    def network(pixels: Tensor) -> Any:
        return model(**processor(pixels, return_tensors="pt", do_rescale=False))

    return network


def _pixels(pixels: np.ndarray) -> Tensor:
    return torch.from_numpy(pixels.astype(np.float32) / 255).permute(2, 0, 1)[None]


def _tensor(output: Any, *names: str) -> Tensor:
    """A tensor as it is, or the one that an output holds under one of these names."""
    for name in names:
        if isinstance(output, dict) and name in output:
            return output[name]
        if getattr(output, name, None) is not None:
            return getattr(output, name)
    return output


def _confident(output: Any) -> list[tuple[list[float], int]]:
    """Boxes and labels, the most certain first."""
    (found,) = output
    order = found["scores"].argsort(descending=True).tolist()
    return [
        (found["boxes"][index].tolist(), int(found["labels"][index]))
        for index in order
        if found["scores"][index] >= CONFIDENT
    ]


def _overlap(one: list[float], other: list[float]) -> float:
    """Intersection over union of two boxes x1 y1 x2 y2."""
    width = min(one[2], other[2]) - max(one[0], other[0])
    height = min(one[3], other[3]) - max(one[1], other[1])
    common = max(0.0, width) * max(0.0, height)
    areas = [(box[2] - box[0]) * (box[3] - box[1]) for box in (one, other)]
    return common / (sum(areas) - common) if common else 0.0
