"""Train a natural decoder: to paint like a teacher, or against a discriminator.

What a teacher paints is fixed by its input. So regression to it does not blur, as regression to the
original does, which averages over all that the tokens leave open. Against a discriminator
(`adversary.py`), what the decoder painted before training holds it to its colours and shapes. Class
scores compared with those of the original keep what is painted recognisable.
"""

from __future__ import annotations

import math
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from onedpiece.tokenizer.config import Config
from onedpiece.tokenizer.natural import NaturalOneDPiece, correct
from onedpiece.training import checkpoint
from onedpiece.training.ema import Ema
from onedpiece.training.precision import autocast, memory_format
from onedpiece.training.targets import Batch

LOG_STEPS = 50
CHECKPOINT_SECONDS = 60
FEW = 64  # tokens, up to which the discriminator has its full weight


class Source(Protocol):
    """Where pairs of tokens and pictures come from: `Targets` or `Photographs`."""

    def batch(self, size: int, rng: np.random.Generator) -> Batch:
        """Pictures with equally many tokens."""


class Losses(Protocol):
    """Networks that judge pictures: `Perception` or `Adversary`."""

    def terms(
        self,
        decoded: Tensor,
        painted: Tensor,
        original: Tensor | None = None,
        *,
        rng: np.random.Generator,
    ) -> dict[str, Tensor]:
        """Losses (scalars) by name, of pictures (B, 3, 256, 256) in 0..1."""

    def state_dict(self) -> dict[str, Any]:
        """What of it is trained."""

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on from such a state."""


@dataclass(frozen=True)
class Plan:
    """How the student is trained.

    seconds: of training, over which the learning rate falls as a cosine to a twentieth.
    l1, l1_alone: weight of L1 to `Batch.painted`, in batches with and without originals.
    original: of L1 to the originals.
    lpips, vgg, scores, adversarial: of what `Losses` returns. That of the discriminator is for up
        to 64 tokens. For K more it is multiplied by 64 / K, since they say more about texture.
    """

    seconds: float
    batch: int = 4
    learning_rate: float = 3.5e-4
    warmup_steps: int = 30
    l1: float = 4.0
    l1_alone: float = 4.0
    lpips: float = 0.3
    vgg: float = 2.0
    scores: float = 1.0
    original: float = 0.0
    adversarial: float = 0.05
    ema_decay: float = 0.995
    max_grad_norm: float = 1.0
    seed: int = 0

    def weight(self, loss: str, num_tokens: int) -> float:
        """Weight of a loss for pictures of so many tokens."""
        weight: float = getattr(self, loss)
        return weight * min(1, FEW / num_tokens) if loss == "adversarial" else weight


SHARPEN = Plan(0, learning_rate=4e-5, l1=1.0, original=1.0, scores=3.0, ema_decay=0.99)
"""For training against a discriminator."""


class Distillation:
    """A run: student, optimizer, averaged weights, and their checkpoint in a folder.

    losses: networks that judge pictures; without them, only L1 trains the student.
    """

    def __init__(
        self,
        folder: Path,
        student: NaturalOneDPiece,
        plan: Plan,
        losses: Losses | None = None,
        device: str = "cpu",
    ) -> None:
        self.folder, self.plan, self.losses = folder, plan, losses
        self.device = torch.device(device)
        self.student = student.to(self.device)
        self.network = self.student.restore.requires_grad_(True)
        self.network.to(memory_format=memory_format(self.device))  # type: ignore[call-overload]
        self.optimizer = torch.optim.AdamW(
            self.network.parameters(), plan.learning_rate, betas=(0.9, 0.99), weight_decay=0.0
        )
        self.ema = Ema(self.student, plan.ema_decay)
        self.step, self.seconds = 0, 0.0

    @classmethod
    def resume(
        cls, folder: Path, losses: Losses | None = None, device: str = "cpu"
    ) -> Distillation:
        """Go on from the checkpoint in the folder."""
        state = checkpoint.read(folder)
        student = NaturalOneDPiece(Config.from_dict(state["config"]))
        student.load_state_dict(state["model"])
        run = cls(folder, student, Plan(**state["plan"]), losses, device)
        run.optimizer.load_state_dict(state["optimizer"])
        run.ema.weights = {name: value.to(run.device) for name, value in state["ema"].items()}
        run.step, run.seconds = state["step"], state["seconds"]
        if losses and "losses" in state:
            losses.load_state_dict(state["losses"])
        return run

    def save(self) -> None:
        """Write the checkpoint."""
        state: dict[str, Any] = {
            "config": self.student.config.to_dict(),
            "plan": asdict(self.plan),
            "model": self.student.state_dict(),
            "ema": self.ema.weights,
            "optimizer": self.optimizer.state_dict(),
            "step": self.step,
            "seconds": self.seconds,
        }
        if self.losses:
            state["losses"] = self.losses.state_dict()
        self.folder.mkdir(parents=True, exist_ok=True)
        checkpoint.write(self.folder, state)

    def run(self, targets: Source, last: float = math.inf) -> None:
        """Train to the end of the plan, or to step `last`; then save."""
        saved, losses = time.monotonic(), list[dict[str, float]]()
        while self.seconds < self.plan.seconds and self.step < last:
            start = time.monotonic()
            rng = np.random.default_rng((self.plan.seed, self.step))
            losses.append(self.train_step(targets.batch(self.plan.batch, rng), rng))
            self.seconds += time.monotonic() - start
            if self.step % LOG_STEPS == 0:
                print(f"step {self.step}  {self.seconds:.0f} s  {_means(losses)}", flush=True)
                losses.clear()
            if time.monotonic() - saved > CHECKPOINT_SECONDS:
                self.save()
                saved = time.monotonic()
        self.save()

    def train_step(self, batch: Batch, rng: np.random.Generator) -> dict[str, float]:
        """Train for one step; returns the unweighted losses."""
        for group in self.optimizer.param_groups:
            group["lr"] = self.plan.learning_rate * self._factor()
        small = self.student.small_picture(batch.tokens.to(self.device))
        painted = batch.painted.to(self.device)
        original = None if batch.original is None else batch.original.to(self.device)
        with autocast(self.device):
            decoded = correct(self.student.paint(small), small)
            terms = {"l1_alone" if original is None else "l1": F.l1_loss(decoded, painted)}
            if original is not None:
                terms["original"] = F.l1_loss(decoded, original)
            if self.losses:
                terms |= self.losses.terms(decoded, painted, original, rng=rng)
        self.optimizer.zero_grad(set_to_none=True)
        num_tokens = batch.tokens.shape[1]
        weighted = [self.plan.weight(name, num_tokens) * terms[name] for name in terms]
        torch.stack(weighted).sum().backward()
        torch.nn.utils.clip_grad_norm_(self.network.parameters(), self.plan.max_grad_norm)
        self.optimizer.step()
        self.step += 1
        self.ema.update(self.student, self.step)
        return {name: float(term.detach()) for name, term in terms.items()}

    def _factor(self) -> float:
        """Fraction of the peak learning rate: linear warm-up, then a cosine over the seconds."""
        progress = min(1.0, self.seconds / self.plan.seconds)
        warmup = min(1.0, (self.step + 1) / self.plan.warmup_steps)
        return warmup * (0.05 + 0.95 * (1 + math.cos(math.pi * progress)) / 2)


def _means(losses: list[dict[str, float]]) -> str:
    """The mean of each loss over the batches that have it."""
    names = dict.fromkeys(name for loss in losses for name in loss)
    means = {name: np.mean([loss[name] for loss in losses if name in loss]) for name in names}
    return "  ".join(f"{name} {mean:.4f}" for name, mean in means.items())
