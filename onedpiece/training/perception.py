"""How far a painted picture is from the teacher's and from the original, as frozen networks see it.

LPIPS-squeeze compares with what the teacher painted. Against the original, decoders learn faint
patterns that lower LPIPS and that nobody wants to see (docs/training.md has the numbers).

VGG-19 and SqueezeNet learned to tell objects apart. What brings their view of a painted picture
nearer to that of the original makes it more recognisable to other networks, too (docs/training.md
has the numbers, by a network that no loss here has seen).
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from torch import Tensor

from onedpiece.tokenizer.lpips import Lpips
from onedpiece.training.features import Scores, Vgg, random_square


@dataclass(frozen=True)
class Perception:
    """The networks, which are not trained."""

    lpips: Lpips
    vgg: Vgg
    scores: Scores

    @classmethod
    def load(cls, folder: Path, device: str = "cpu") -> Perception:
        """From the files that `features` lists. Raises FileNotFoundError if one is missing."""
        return cls(
            Lpips.load(folder).to(device),
            Vgg.load(folder).to(device),
            Scores.load(folder).to(device),
        )

    def terms(
        self,
        decoded: Tensor,
        painted: Tensor,
        original: Tensor | None = None,
        *,
        rng: np.random.Generator,
    ) -> dict[str, Tensor]:
        """Losses (scalars) by name. All pictures are (B, 3, 256, 256) in 0..1."""
        terms = {"lpips": self.lpips(decoded, painted).mean().float()}
        if original is not None:
            square = random_square(original.shape[-1], rng)
            terms["vgg"] = self.vgg(decoded[square], original[square]).mean().float()
            terms["scores"] = self.scores.distance(decoded, original)
        return terms

    def state_dict(self) -> dict[str, Any]:
        """Nothing here is trained."""
        return {}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Nothing here is trained."""
