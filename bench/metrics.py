"""Distortion metrics of one decoded picture. A metric whose library is missing is left out."""

from __future__ import annotations

import io
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from onedpiece.errors import OdpError
from onedpiece.metrics import psnr

Score = Callable[[np.ndarray, np.ndarray], float]

SSIM_WINDOW = 11  # pixels: a Gaussian of sigma 1.5, truncated as by Wang et al. (2004)
MS_SSIM_MIN_SIDE = 161  # pixels; five scales of that window need as many


@dataclass(frozen=True)
class Metric:
    """A score of two uint8 pictures (H, W, 3), the original first; NaN where it is undefined.

    name:   column of the table.
    label:  title of an axis.
    higher: whether higher is better.
    """

    name: str
    label: str
    score: Score
    higher: bool = True


PSNR = Metric("psnr", "PSNR, dB", psnr)


def available(lpips: Path | None = None) -> tuple[list[Metric], list[str]]:
    """The metrics that work on this machine, and a line about each that does not.

    lpips: folder with the weights of LPIPS-squeeze, in the layout that
           `onedpiece.tokenizer.lpips.Lpips.load` reads. Without it, the package `lpips` is used
           if the weights of its AlexNet are on this machine; nothing is downloaded.

    Raises FileNotFoundError if weights are missing in that folder.
    """
    metrics, missing = [PSNR], []
    others = {
        "SSIM": _ssim,
        "MS-SSIM": _ms_ssim,
        "SSIMULACRA2": _ssimulacra2,
        "LPIPS": partial(_lpips_squeeze, lpips) if lpips else _lpips_alex,
        "EfficientNet-Lite1": _efficientnet,
    }
    for name, create in others.items():
        try:
            metrics.append(create())
        except (ImportError, OdpError, RuntimeError) as error:
            # RuntimeError: torchvision for another PyTorch
            missing.append(f"{name}: {error}")
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
    """Wang et al. (2003), over five scales and three channels."""
    from pytorch_msssim import ms_ssim

    def score(original: np.ndarray, decoded: np.ndarray) -> float:
        if min(original.shape[:2]) < MS_SSIM_MIN_SIDE:
            return float("nan")
        return float(ms_ssim(255 * _tensor(original), 255 * _tensor(decoded), data_range=255))

    return Metric("ms_ssim", "MS-SSIM", score)


def _ssimulacra2() -> Metric:
    """SSIMULACRA 2 (Cloudinary): 100 for equal pictures, below 0 for very low quality."""
    from ssimulacra2 import compute_ssimulacra2

    def score(original: np.ndarray, decoded: np.ndarray) -> float:
        return float(compute_ssimulacra2(_png(original), _png(decoded)))

    return Metric("ssimulacra2", "SSIMULACRA 2", score)


def _lpips_squeeze(folder: Path) -> Metric:
    """Zhang et al. (arXiv 1801.03924), version 0.1, on SqueezeNet."""
    from onedpiece.tokenizer.lpips import Lpips

    return Metric("lpips_squeeze", "LPIPS (SqueezeNet)", _network_score(Lpips.load(folder)), False)


def _lpips_alex() -> Metric:
    """The same on AlexNet, by the authors' package."""
    import torch

    weights = Path(torch.hub.get_dir()) / "checkpoints" / "alexnet-owt-7be5be79.pth"
    if not weights.is_file():
        raise ImportError("no weights on this machine: name a folder with --lpips")
    from lpips import LPIPS

    network = LPIPS(net="alex", verbose=False)
    return Metric(
        "lpips_alex",
        "LPIPS (AlexNet)",
        _network_score(lambda decoded, original: network(decoded, original, normalize=True)),
        False,
    )


def _efficientnet() -> Metric:
    """Cosine between what EfficientNet-Lite1 says about the two pictures."""
    from onedpiece.bench.recognition import Judge

    judge = Judge()

    def score(original: np.ndarray, decoded: np.ndarray) -> float:
        return judge.compare(judge.scores([original]), [decoded]).cosine

    return Metric("efficientnet_lite1", "EfficientNet-Lite1, cosine", score)


def _network_score(network: Callable[[Any, Any], Any]) -> Score:
    """A score of two uint8 pictures, by a network that takes (decoded, original) pixels in 0..1."""
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
