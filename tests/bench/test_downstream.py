"""`odp bench downstream`: scores per task, with tiny networks of the same interfaces."""

from __future__ import annotations

import csv
import os
from types import SimpleNamespace

import pytest

torch = pytest.importorskip("torch", reason="needs the torch extra")

from onedpiece.bench import downstream as tasks  # noqa: E402  (which needs torch)
from onedpiece.errors import OdpError  # noqa: E402

NETWORKS = """
import torch
from torch import nn
from types import SimpleNamespace

def classifier():
    torch.manual_seed(0)
    return nn.Sequential(nn.AdaptiveAvgPool2d(4), nn.Flatten(), nn.Linear(48, 10)).eval()

def segmenter():
    torch.manual_seed(0)
    layer = nn.Conv2d(3, 4, 3)
    return lambda pixels: {"out": layer(pixels)}

def depths():
    return lambda pixels: SimpleNamespace(predicted_depth=1 + pixels.mean(1))

def clip():
    torch.manual_seed(0)
    layer = nn.Sequential(nn.AdaptiveAvgPool2d(8), nn.Flatten(), nn.Linear(192, 16))
    return lambda pixels: SimpleNamespace(image_embeds=layer(pixels))

def detector():
    def detect(pixels):
        level = float(pixels.mean())
        boxes = torch.tensor([[0, 0, 100 * level, 100 * level]])
        return [{"boxes": boxes, "labels": torch.tensor([1]), "scores": torch.tensor([0.9])}]
    return detect
"""


def boxes(*detections):
    """Detections, each (x1, y1, x2, y2, class, score)."""
    table = torch.tensor(detections, dtype=torch.float32).reshape(-1, 6)
    return [{"boxes": table[:, :4], "labels": table[:, 4].int(), "scores": table[:, 5]}]


class TestScores:
    def test_classification_compares_the_top_class(self):
        one = torch.tensor([[1.0, 5.0, 2.0]])
        assert tasks.classification(one, torch.tensor([[0.0, 0.2, 0.1]])) == 1
        assert tasks.classification(one, SimpleNamespace(logits=torch.tensor([[9.0, 1, 1]]))) == 0

    def test_segmentation_is_the_mean_iou_of_classes(self):
        left = torch.zeros(1, 2, 4, 4)
        left[:, 1, :, :2] = 1  # class 1 on the left half
        quarter = torch.zeros(1, 2, 4, 4)
        quarter[:, 1, :, :1] = 1
        assert tasks.segmentation(left, {"out": left}) == 1
        # Class 1: 4 of 8 pixels; class 0: 8 of 12.
        assert tasks.segmentation(left, quarter) == pytest.approx((4 / 8 + 8 / 12) / 2)

    def test_depth_ignores_the_scale(self):
        first = torch.rand(1, 8, 8, generator=torch.Generator().manual_seed(0)) + 1
        assert tasks.depth(first, SimpleNamespace(predicted_depth=3 * first)) == 1
        far = first.clone()
        far[:, :2] *= 9
        assert tasks.depth(first, far) < 1

    def test_embeddings_are_compared_by_angle(self):
        one = torch.tensor([[1.0, 0.0]])
        assert tasks.embedding(one, 5 * one) == pytest.approx(1)
        assert tasks.embedding(one, torch.tensor([[1.0, 1.0]])) == pytest.approx(0.5**0.5)

    def test_detection_matches_boxes_of_the_same_class(self):
        original = boxes((0, 0, 10, 10, 1, 0.9), (50, 50, 60, 60, 2, 0.8))
        assert tasks.detection(original, original) == 1
        near = boxes((0, 0, 10, 9, 1, 0.7), (50, 50, 60, 60, 3, 0.8))
        assert tasks.detection(original, near) == pytest.approx(0.5)
        assert tasks.detection(original, boxes()) == 0

    def test_detections_with_low_confidence_do_not_count(self):
        assert tasks.detection(boxes((0, 0, 9, 9, 1, 0.2)), boxes()) == 1


def test_all_tasks_over_the_files_of_a_run(odp, make_picture, tmp_path, monkeypatch):
    monkeypatch.setattr(os, "cpu_count", lambda: 1)  # in this process
    pictures = tmp_path / "pictures"
    pictures.mkdir()
    make_picture().save(pictures / "a.png")
    (tmp_path / "tiny_networks.py").write_text(NETWORKS)
    monkeypatch.syspath_prepend(tmp_path)
    out = tmp_path / "out"
    odp("bench", "rd", pictures, "--out", out, "--tokens", "4,128", "--codecs", "odp")
    names = ("classification=tiny_networks:classifier", "segmentation=tiny_networks:segmenter")
    names += ("depth=tiny_networks:depths", "embedding=tiny_networks:clip")
    names += ("detection=tiny_networks:detector",)
    options = [option for name in names for option in ("--network", name)]
    result = odp("bench", "downstream", pictures, "--out", out, *options)
    assert result.code == 0, result.stderr
    with (out / "downstream.csv").open() as file:
        rows = [row for row in csv.DictReader(file) if row["codec"] == "odp"]
    scores = {(row["network"], row["setting"]): float(row["score"]) for row in rows}
    assert {name for name, _ in scores} == set(names)
    assert all(0 <= score <= 1 for score in scores.values())
    clip = "embedding=tiny_networks:clip"
    assert scores[clip, "128 tokens"] > scores[clip, "4 tokens"]


@pytest.mark.parametrize("source", ["torchvision:resnet18", "no_such_module:x", "json:x"])
def test_a_network_that_is_not_on_the_machine_is_an_error(source, monkeypatch, tmp_path):
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    with pytest.raises(OdpError, match=r"cannot be loaded|not on this machine"):
        tasks.load(source, "classification")


def test_a_folder_without_a_run_is_an_error(odp, make_picture, tmp_path):
    make_picture().save(tmp_path / "a.png")
    options = ("--out", tmp_path, "--network", "depth=builtins:dict")
    result = odp("bench", "downstream", tmp_path / "a.png", *options)
    assert result.code == 1
    assert "holds no results" in result.stderr


def test_models_of_transformers_in_a_folder(tmp_path):
    transformers = pytest.importorskip("transformers", reason="transformers is not installed")
    shape = {
        "hidden_size": 16,
        "intermediate_size": 32,
        "num_hidden_layers": 1,
        "num_attention_heads": 2,
        "image_size": 32,
        "patch_size": 8,
    }
    clip = transformers.CLIPVisionConfig(**shape, projection_dim=8)
    vit = transformers.ViTConfig(**shape, num_labels=5)
    crop = {"size": {"shortest_edge": 32}, "crop_size": {"height": 32, "width": 32}}
    square = {"size": {"height": 32, "width": 32}}
    models = {
        "embedding": (
            transformers.CLIPVisionModelWithProjection(clip),
            transformers.CLIPImageProcessor(**crop),
        ),
        "classification": (
            transformers.ViTForImageClassification(vit),
            transformers.ViTImageProcessor(**square),
        ),
    }
    pixels = torch.rand(1, 3, 256, 256)
    for task, parts in models.items():
        for part in parts:
            part.save_pretrained(tmp_path / task)
        network = tasks.load(f"transformers:{tmp_path / task}", task)
        assert tasks.TASKS[task](network(pixels), network(pixels)) == pytest.approx(1)


@pytest.fixture
def torchvision():
    try:
        import torchvision
    except (ImportError, RuntimeError) as error:  # RuntimeError: one made for another PyTorch
        pytest.skip(f"torchvision does not load: {error}")
    return torchvision


@pytest.mark.parametrize(
    ("task", "name"),
    [
        ("classification", "squeezenet1_1"),
        ("segmentation", "lraspp_mobilenet_v3_large"),
        ("detection", "ssdlite320_mobilenet_v3_large"),
    ],
)
def test_models_of_torchvision_with_weights_on_this_machine(
    torchvision, task, name, monkeypatch, tmp_path
):
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    models = torchvision.models
    options = {} if task == "classification" else {"weights_backbone": None}
    model = models.get_model(name, weights=None, **options)
    file = models.get_model_weights(name).DEFAULT.url.rpartition("/")[2]
    (tmp_path / "hub" / "checkpoints").mkdir(parents=True)
    torch.save(model.state_dict(), tmp_path / "hub" / "checkpoints" / file)
    network = tasks.load(f"torchvision:{name}", task)
    pixels = torch.rand(1, 3, 256, 256)
    with torch.inference_mode():
        assert tasks.TASKS[task](network(pixels), network(pixels)) == pytest.approx(1)


@pytest.mark.parametrize("task", ["classification", "embedding"])
def test_models_of_timm_in_a_folder(torchvision, task, tmp_path):
    timm = pytest.importorskip("timm", reason="timm is not installed")
    from timm.models import save_for_hf

    save_for_hf(timm.create_model("test_resnet"), tmp_path)
    network = tasks.load(f"timm:local-dir:{tmp_path}", task)
    pixels = torch.rand(1, 3, 256, 256)
    with torch.inference_mode():
        assert network(pixels).shape[1] == (1000 if task == "classification" else 96)
        assert tasks.TASKS[task](network(pixels), network(pixels)) == pytest.approx(1)
