"""Networks of other packages as embeddings, with a small one in their place."""

import importlib.util
import sys

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="needs the torch extra")
onnx = pytest.importorskip("onnx", reason="needs the torch extra")

from onedpiece.bench import witnesses  # noqa: E402  (which needs both)
from onedpiece.bench.downstream import load  # noqa: E402
from onedpiece.errors import OdpError  # noqa: E402


@pytest.fixture
def detector(tmp_path, monkeypatch):
    """A package with eight convolutions where the one of text detection is looked for."""
    folder = tmp_path / "rapidocr_onnxruntime"
    (folder / "models").mkdir(parents=True)
    (folder / "__init__.py").touch()
    torch.manual_seed(0)
    convolutions = [torch.nn.Conv2d(3, 3, 3, padding=1) for _ in range(8)]
    network = torch.nn.Sequential(*convolutions).eval()
    torch.onnx.export(
        network,
        (torch.zeros(1, 3, 256, 256),),
        folder / "models" / "ch_PP-OCRv4_det_infer.onnx",
        dynamo=True,
        verbose=False,
    )
    monkeypatch.setattr(sys, "path", [str(tmp_path), *sys.path])
    return load("onedpiece.bench.witnesses:text_detector", "embedding")


def test_layers_count_alike_and_so_do_places(detector):
    embedding = detector(torch.rand(1, 3, 200, 300))
    assert embedding.shape == (1, witnesses.LAYERS * 3 * 256 * 256)
    for layer in embedding.reshape(witnesses.LAYERS, 3, 256, 256).numpy():
        lengths = np.square(layer).sum(0) * 256 * 256
        np.testing.assert_allclose(lengths, 1, rtol=1e-3)


def test_what_is_not_installed_is_said(monkeypatch):
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(OdpError, match="nudenet is not installed"):
        load("onedpiece.bench.witnesses:yolo", "embedding")
