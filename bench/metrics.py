"""How far a decoded picture is from the original. Libraries that are not installed leave their metrics out."""

from __future__ import annotations

import io
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

Score = Callable[[np.ndarray, np.ndarray], float]

SSIM_WINDOW = 11  # pixels: a Gaussian of sigma 1.5, cut off as Wang et al. (2004) do
MS_SSIM_SMALLEST = 161  # pixels a side that five scales of that window need


@dataclass(frozen=True)
class Metric:
    """A score of two uint8 pictures (H, W, 3), original first; NaN where it is not defined.

    name:   column of the table.
    label:  title of an axis.
    higher: whether more is better.
    """

    name: str
    label: str
    score: Score
    higher: bool = True


def psnr(original: np.ndarray, decoded: np.ndarray) -> float:
    """Peak signal-to-noise ratio in dB of two uint8 pictures of the same shape; infinite if they are equal."""
    error = np.mean((original.astype(np.float64) - decoded.astype(np.float64)) ** 2)
    return float("inf") if error == 0 else float(10 * np.log10(255**2 / error))


PSNR = Metric("psnr", "PSNR, dB", psnr)


def available(lpips: Path | None = None) -> tuple[list[Metric], list[str]]:
    """The metrics that this machine has, and a line about each that it lacks.

    lpips: folder with the weights of LPIPS-squeeze, as `onedpiece.training.features.Lpips.load` takes it. Without it
    the package `lpips` is used, if the weights of its AlexNet are on the machine; nothing is downloaded.
    Raises FileNotFoundError if weights are missing in that folder.
    """
    metrics, missing = [PSNR], []
    for name, make in (("SSIM", _ssim), ("MS-SSIM", _ms_ssim), ("SSIMULACRA2", _ssimulacra2)):
        try:
            metrics.append(make())
        except ImportError as error:
            missing.append(f"{name}: {error}")
    try:
        metrics.append(_lpips_squeeze(lpips) if lpips else _lpips_alex())
    except (
        ImportError,
        RuntimeError,
    ) as error:  # RuntimeError: a torchvision made for another PyTorch
        missing.append(f"LPIPS: {error}")
    return metrics, missing


def _ssim() -> Metric:
    """Wang et al. (2004), mean of the three channels."""
    from skimage.metrics import structural_similarity

    def score(original: np.ndarray, decoded: np.ndarray) -> float:
        if min(original.shape[:2]) < SSIM_WINDOW:
            return float("nan")
        options: dict[str, Any] = {"gaussian_weights": True, "sigma": 1.5}
        options |= {"use_sample_covariance": False, "channel_axis": 2, "data_range": 255}
        return float(structural_similarity(original, decoded, **options))

    return Metric("ssim", "SSIM", score)


def _ms_ssim() -> Metric:
    """Wang et al. (2003), of five scales and three channels."""
    from pytorch_msssim import ms_ssim

    def score(original: np.ndarray, decoded: np.ndarray) -> float:
        if min(original.shape[:2]) < MS_SSIM_SMALLEST:
            return float("nan")
        return float(ms_ssim(255 * _tensor(original), 255 * _tensor(decoded), data_range=255))

    return Metric("ms_ssim", "MS-SSIM", score)


def _ssimulacra2() -> Metric:
    """SSIMULACRA 2 (Cloudinary); below 0 for the worst pictures."""
    from ssimulacra2 import compute_ssimulacra2

    def score(original: np.ndarray, decoded: np.ndarray) -> float:
        return float(compute_ssimulacra2(_png(original), _png(decoded)))

    return Metric("ssimulacra2", "SSIMULACRA 2", score)


def _lpips_squeeze(folder: Path) -> Metric:
    """Zhang et al. (arXiv 1801.03924), version 0.1."""
    from onedpiece.training.features import Lpips

    return Metric("lpips_squeeze", "LPIPS (SqueezeNet)", _distance(Lpips.load(folder)), False)


def _lpips_alex() -> Metric:
    """The same with AlexNet, from the authors' package."""
    import torch

    weights = Path(torch.hub.get_dir()) / "checkpoints" / "alexnet-owt-7be5be79.pth"
    if not weights.is_file():
        raise ImportError("no weights on this machine: name a folder with --lpips")
    from lpips import LPIPS

    network = LPIPS(net="alex", verbose=False)
    return Metric(
        "lpips_alex",
        "LPIPS (AlexNet)",
        _distance(lambda decoded, original: network(decoded, original, normalize=True)),
        False,
    )


def _distance(network: Callable[[Any, Any], Any]) -> Score:
    """A network's distance of two batches of pixels in 0..1, as a score of two pictures."""
    import torch

    @torch.inference_mode()
    def score(original: np.ndarray, decoded: np.ndarray) -> float:
        return float(network(_tensor(decoded), _tensor(original)))

    return score


def _tensor(pixels: np.ndarray) -> Any:
    """uint8 (H, W, 3) -> float tensor (1, 3, H, W) in 0..1."""
    import torch

    return torch.from_numpy(pixels.astype(np.float32) / 255).permute(2, 0, 1)[None]


def _png(pixels: np.ndarray) -> io.BytesIO:
    out = io.BytesIO()
    Image.fromarray(pixels).save(out, "PNG", compress_level=0)
    out.seek(0)
    return out
