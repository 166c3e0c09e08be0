"""The settings of a training run. The recipes of the package are TOML files in `recipes/`."""

from __future__ import annotations

import tomllib
from dataclasses import dataclass, fields
from pathlib import Path

RECIPES = Path(__file__).parent / "recipes"


@dataclass(frozen=True)
class Recipe:
    """One phase of training. Each loss is multiplied by the setting of the same name.

    Schedule: linear warm-up over `warmup_steps`, then a cosine over `seconds` of training or over
    `steps`, whichever ends first, down to `final_factor` times the peak. 0 means no limit.

    batch:          pictures in a step, over all processes.
    one_length:     one number of tokens for the whole batch, uniform in 1..256, as in the paper.
    drawings:       fraction of the pictures that are drawings instead of photographs.

    learning_rate:  peak of AdamW for the decoder. The learning rates below are peaks too;
                    parameters whose learning rate is 0 are frozen.
    muon_learning_rate: of Muon, for the matrices and convolutions inside the decoder; with 0,
                    AdamW trains these too.
    encoder_learning_rate, codebook_learning_rate: of AdamW for these parts.
    beta2:          AdamW's decay of the second moment.
    max_grad_norm:  gradients are scaled down to this norm.
    ema_decay:      decay of the moving average of the weights, which is evaluated and exported.

    proxy:          cross-entropy with the codes of the paper's frozen tokenizer. Pictures are not
                    decoded, and the pixel decoder is frozen.
    quantiser:      codebook and commitment loss of the paper's quantiser.
    log_mse:        mean over pictures of the log of the squared error.
    mse:            mean squared error.
    perceptual:     the paper's perceptual distance (`convnext.ConvNext`).
    vgg:            distance of VGG-19 features on a random square of `window` pixels.
    generator_loss: of the discriminator on the same square. The discriminator is trained from step
                    `discriminator_start` on.
    """

    seconds: float = 0.0
    steps: int = 0
    batch: int = 12
    one_length: bool = False
    drawings: float = 0.0
    learning_rate: float = 8e-4
    muon_learning_rate: float = 0.0
    encoder_learning_rate: float = 0.0
    codebook_learning_rate: float = 0.0
    warmup_steps: int = 200
    final_factor: float = 0.01
    weight_decay: float = 0.02
    beta2: float = 0.98
    ema_decay: float = 0.999
    max_grad_norm: float = 1.0
    proxy: float = 0.0
    quantiser: float = 1.0
    log_mse: float = 1.0
    mse: float = 0.0
    perceptual: float = 0.0
    vgg: float = 0.0
    window: int = 128
    generator_loss: float = 0.0
    discriminator_learning_rate: float = 2e-4
    discriminator_start: int = 0
    seed: int = 0

    def __post_init__(self) -> None:
        if not self.seconds > 0 and not self.steps > 0:
            raise ValueError("a recipe needs seconds or steps")

    @classmethod
    def load(cls, name: str) -> Recipe:
        """Read a recipe of the package by name, or a TOML file by path.

        Raises ValueError for unknown settings, and for a recipe with neither seconds nor steps.
        """
        path = RECIPES / f"{name}.toml"
        values = tomllib.loads((path if path.exists() else Path(name)).read_text(encoding="utf-8"))
        unknown = set(values) - {field.name for field in fields(cls)}
        if unknown:
            raise ValueError(f"{name}: no such setting: {', '.join(sorted(unknown))}")
        return cls(**values)
