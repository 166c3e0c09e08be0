"""Everything a training run can vary. The recipes that come with the package are TOML files in `recipes/`."""

from __future__ import annotations

import tomllib
from dataclasses import dataclass, fields
from pathlib import Path

RECIPES = Path(__file__).parent / "recipes"


@dataclass(frozen=True)
class Recipe:
    """One phase of training.

    Schedule: linear warm-up, then a cosine over `seconds` of training or over `steps`, whichever is over first, down
    to `floor` of the peak; 0 means no limit of that kind.

    batch:         pictures in a step, of all processes together.
    one_length:    one number of tokens for a whole batch, uniform in 1..256, as in the paper.
    zoomed:        share of pictures that are enlarged by up to two, as detail of large pictures is.
    drawn:         share of pictures that are drawings instead of photographs.
    rate:          peak learning rate of AdamW for the decoder.
    matrix_rate:   that of Muon for the matrices and convolutions inside the decoder; 0 leaves them to AdamW.
    encoder_rate:  AdamW's for the encoder, codebook_rate for the codebooks, grain_rate for the grain; 0 leaves them
                   alone. Pictures are decoded with grain only if it learns.
    second_moment: AdamW's second beta.
    average:       decay of the moving average of the weights, which is what is evaluated and exported.
    proxy:         weight of the cross-entropy with the codes of the paper's frozen tokenizer. Pictures are not
                   decoded then, and what decodes them stays as it is.
    quantiser:     weight of the loss that draws codes and the encoder's outputs together.
    distortion:    weight of the mean log of the squared error.
    squared:       weight of the mean squared error.
    perceptual:    weight of the paper's perceptual distance (`paper.ConvNext`) of whole pictures.
    features:      weight of the distance of deep features (`features.Vgg`) on a random square of `window` pixels.
    lpips:         weight of LPIPS-squeeze of the same square. Nothing but the grain may learn from it.
    lattice:       weight of what repeats from patch to patch (`losses.lattice`): no pattern is to be stamped on pictures.
    adversary:     weight of the critic's complaint about the same square; the critic learns at `critic_rate`,
                   begins at step `critic_start` and is heard after its first `critic_alone` steps.
    critic:        "patches", ours, or "paper".
    """

    seconds: float = 0.0
    steps: int = 0
    batch: int = 12
    one_length: bool = False
    zoomed: float = 0.0
    drawn: float = 0.0
    rate: float = 8e-4
    matrix_rate: float = 0.0
    encoder_rate: float = 0.0
    codebook_rate: float = 0.0
    grain_rate: float = 0.0
    warmup_steps: int = 200
    floor: float = 0.01
    decay: float = 0.02
    second_moment: float = 0.98
    average: float = 0.999
    clip: float = 1.0
    proxy: float = 0.0
    quantiser: float = 1.0
    distortion: float = 1.0
    squared: float = 0.0
    perceptual: float = 0.0
    features: float = 0.0
    lpips: float = 0.0
    window: int = 128
    lattice: float = 0.0
    adversary: float = 0.0
    critic: str = "patches"
    critic_rate: float = 2e-4
    critic_start: int = 0
    critic_alone: int = 0
    seed: int = 0

    def __post_init__(self) -> None:
        others = self.rate or self.encoder_rate or self.codebook_rate
        if self.lpips and (others or not self.grain_rate):
            raise ValueError("LPIPS is for the grain alone: a network learns patterns from it")
        if not self.seconds > 0 and not self.steps > 0:
            raise ValueError("a recipe needs seconds or steps")
        if self.critic not in ("patches", "paper"):
            raise ValueError("critic must be patches or paper")

    @classmethod
    def load(cls, name: str) -> Recipe:
        """A recipe of the package by name, or one from a file. Raises ValueError if it says what no recipe can."""
        path = RECIPES / f"{name}.toml"
        values = tomllib.loads((path if path.exists() else Path(name)).read_text())
        unknown = set(values) - {field.name for field in fields(cls)}
        if unknown:
            raise ValueError(f"{name}: no such setting: {', '.join(sorted(unknown))}")
        return cls(**values)
