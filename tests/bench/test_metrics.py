"""Metrics: known values."""

from __future__ import annotations

import numpy as np
import pytest

from onedpiece.bench.frechet import OnnxFeatures, frechet
from onedpiece.bench.metrics import available
from onedpiece.errors import ModelError
from onedpiece.metrics import psnr


@pytest.fixture(scope="module")
def metrics():
    """Name -> score, for the metrics of this machine."""
    return {metric.name: metric.score for metric in available()[0]}


@pytest.fixture(scope="module")
def pictures(make_picture):
    """A picture, and the same with noise."""
    original = np.asarray(make_picture())
    noise = np.random.default_rng(0).normal(0, 12, original.shape)
    return original, (original + noise).round().clip(0, 255).astype(np.uint8)


def required(metrics, name):
    """A metric by name; skips the test if its library is missing."""
    if name not in metrics:
        pytest.skip(f"{name} needs the bench extra")
    return metrics[name]


@pytest.mark.parametrize(
    ("name", "perfect"),
    [
        ("psnr", np.inf),
        ("ssim", 1),
        ("ms_ssim", 1),
        ("ssimulacra2", 100),
        ("efficientnet_lite1", 1),
    ],
)
def test_equal_pictures_have_the_perfect_score(metrics, pictures, name, perfect):
    score = required(metrics, name)
    assert score(pictures[0], pictures[0]) == pytest.approx(perfect, abs=1e-5)
    assert score(*pictures) < perfect


def test_psnr_of_an_error_of_one_level_everywhere_is_48_13_db():
    picture = np.full((4, 4, 3), 7, np.uint8)
    assert psnr(picture, picture + 1) == pytest.approx(48.1308, abs=1e-4)


def test_psnr_does_not_wrap_around_at_zero():
    black, white = np.zeros((2, 2, 3), np.uint8), np.full((2, 2, 3), 255, np.uint8)
    assert psnr(black, white) == psnr(white, black) == pytest.approx(0)


def test_ssim_is_that_of_wang_et_al(metrics, pictures):
    """Compared with their formula, with a Gaussian window of 11x11 pixels inside the picture."""
    from scipy.ndimage import correlate1d

    score = required(metrics, "ssim")
    taps = np.exp(-(np.arange(-5, 6) ** 2) / (2 * 1.5**2))
    taps /= taps.sum()

    def mean(x):
        return correlate1d(correlate1d(x, taps, 0), taps, 1)[5:-5, 5:-5]

    a, b = (picture.astype(float) for picture in pictures)
    c1, c2 = (0.01 * 255) ** 2, (0.03 * 255) ** 2
    means = 2 * mean(a) * mean(b) + c1, mean(a) ** 2 + mean(b) ** 2 + c1
    spreads = (
        mean(a * b) - mean(a) * mean(b),
        mean(a * a) + mean(b * b) - mean(a) ** 2 - mean(b) ** 2,
    )
    expected = (means[0] * (2 * spreads[0] + c2)) / (means[1] * (spreads[1] + c2))
    assert score(*pictures) == pytest.approx(expected.mean(), abs=1e-4)


def test_small_pictures_have_no_ssim(metrics):
    tiny = np.zeros((8, 8, 3), np.uint8)
    assert np.isnan(required(metrics, "ssim")(tiny, tiny))
    assert np.isnan(required(metrics, "ms_ssim")(tiny, tiny))


def test_lpips_is_what_torchmetrics_publishes(shared):
    """0.1008 is the example, with seed 123, in the documentation of torchmetrics."""
    torch = pytest.importorskip("torch", reason="needs the torch extra")
    from onedpiece.tokenizer.lpips import Lpips

    torch.manual_seed(123)
    one, other = torch.rand(10, 3, 100, 100), torch.rand(10, 3, 100, 100)
    network = Lpips.load(shared / "perceptual")
    assert network(one, other).mean().item() == pytest.approx(0.1008, abs=5e-5)


def test_lpips_of_pictures_is_zero_for_equal_ones_and_grows_with_noise(shared, pictures):
    pytest.importorskip("torch", reason="needs the torch extra")
    metrics, _ = available(shared / "perceptual")
    (lpips,) = [metric for metric in metrics if metric.name == "lpips_squeeze"]
    assert not lpips.higher
    assert lpips.score(pictures[0], pictures[0]) == pytest.approx(0, abs=1e-6)
    assert lpips.score(*pictures) > 0.01


def test_without_weights_lpips_is_missing_with_a_reason(monkeypatch, tmp_path):
    pytest.importorskip("torch", reason="needs the torch extra")
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    metrics, missing = available()
    assert not any(metric.name.startswith("lpips") for metric in metrics)
    assert any(line.startswith("LPIPS: no weights") for line in missing)


def test_the_package_lpips_is_used_if_the_weights_of_alexnet_are_on_the_machine(
    pictures, monkeypatch, tmp_path
):
    torch = pytest.importorskip("torch", reason="needs the torch extra")
    try:
        from torchvision.models import alexnet
    except (ImportError, RuntimeError) as error:  # RuntimeError: one made for another PyTorch
        pytest.skip(f"torchvision does not load: {error}")
    pytest.importorskip("lpips", reason="lpips is not installed")
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    (tmp_path / "hub" / "checkpoints").mkdir(parents=True)
    torch.manual_seed(0)
    weights = alexnet(weights=None).state_dict()
    torch.save(weights, tmp_path / "hub" / "checkpoints" / "alexnet-owt-7be5be79.pth")
    metrics, _ = available()
    (lpips,) = [metric for metric in metrics if metric.name == "lpips_alex"]
    assert lpips.score(pictures[0], pictures[0]) == pytest.approx(0, abs=1e-6)
    assert lpips.score(*pictures) > 0.01


class TestFrechet:
    def test_of_equal_sets_is_zero(self):
        features = np.random.default_rng(0).normal(size=(50, 4))
        assert frechet(features, features) == pytest.approx(0, abs=1e-9)

    def test_of_shifted_sets_is_the_square_of_the_shift(self):
        features = np.random.default_rng(0).normal(size=(50, 4))
        assert frechet(features, features + np.array([3, 0, 4, 0])) == pytest.approx(25)

    def test_of_scaled_sets_is_the_square_of_the_difference_of_their_spreads(self):
        features = np.random.default_rng(0).normal(size=(50, 1))
        features = (features - features.mean()) / features.std(ddof=1)
        assert frechet(2 * features, 5 * features) == pytest.approx(9)

    def test_a_broken_network_is_an_error(self, tmp_path):
        (tmp_path / "x.onnx").write_bytes(b"nothing")
        with pytest.raises(ModelError, match=r"x\.onnx cannot be loaded"):
            OnnxFeatures(tmp_path / "x.onnx")
