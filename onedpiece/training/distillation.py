"""Train a natural decoder to paint what the teacher paints.

The teacher's picture is a function of the tokens, without chance. So plain regression does not
average over possibilities, which is what makes decoders blur when they are trained against the
original. L1 and LPIPS compare with the teacher's picture. What networks that know objects see is
compared with the original, and keeps what is painted recognisable.
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

from onedpiece.tokenizer.config import Config
from onedpiece.tokenizer.natural import NaturalOneDPiece
from onedpiece.training import checkpoint
from onedpiece.training.features import random_turn
from onedpiece.training.perception import TERMS, Perception
from onedpiece.training.precision import autocast, memory_format
from onedpiece.training.targets import Batch

LOG_STEPS = 50
CHECKPOINT_SECONDS = 60


class Source(Protocol):
    """Where pairs of tokens and pictures come from; `Targets` is one."""

    def batch(self, size: int, rng: np.random.Generator) -> Batch:
        """Pictures with equally many tokens."""


@dataclass(frozen=True)
class Plan:
    """How the student is trained.

    seconds: of training, over which the learning rate falls as a cosine to a twentieth.
    l1, lpips, vgg, scores: weights of the losses (`Perception`).
    """

    seconds: float
    batch: int = 4
    learning_rate: float = 3.5e-4
    warmup_steps: int = 30
    l1: float = 4.0
    lpips: float = 0.3
    vgg: float = 2.0
    scores: float = 1.0
    ema_decay: float = 0.995
    max_grad_norm: float = 1.0
    seed: int = 0


class Distillation:
    """A run: student, optimizer, averaged weights, and their checkpoint in a folder.

    perception: networks that compare pictures; without them, only L1 trains the student.
    """

    def __init__(
        self,
        folder: Path,
        student: NaturalOneDPiece,
        plan: Plan,
        perception: Perception | None = None,
        device: str = "cpu",
    ) -> None:
        self.folder, self.plan, self.perception = folder, plan, perception
        self.device = torch.device(device)
        self.student = student.to(self.device)
        self.network = self.student.restore.requires_grad_(True)
        self.network.to(memory_format=memory_format(self.device))  # type: ignore[call-overload]
        self.optimizer = torch.optim.AdamW(
            self.network.parameters(), plan.learning_rate, betas=(0.9, 0.99), weight_decay=0.0
        )
        self.ema = {name: v.detach().clone() for name, v in self.student.state_dict().items()}
        self.step, self.seconds = 0, 0.0

    @classmethod
    def resume(
        cls, folder: Path, perception: Perception | None = None, device: str = "cpu"
    ) -> Distillation:
        """Go on from the checkpoint in the folder."""
        state = checkpoint.read(folder)
        student = NaturalOneDPiece(Config.from_dict(state["config"]))
        student.load_state_dict(state["model"])
        run = cls(folder, student, Plan(**state["plan"]), perception, device)
        run.optimizer.load_state_dict(state["optimizer"])
        run.ema = {name: value.to(run.device) for name, value in state["ema"].items()}
        run.step, run.seconds = state["step"], state["seconds"]
        return run

    def save(self) -> None:
        """Write the checkpoint."""
        state: dict[str, Any] = {
            "config": self.student.config.to_dict(),
            "plan": asdict(self.plan),
            "model": self.student.state_dict(),
            "ema": self.ema,
            "optimizer": self.optimizer.state_dict(),
            "step": self.step,
            "seconds": self.seconds,
        }
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
                means = {name: np.mean([loss.get(name, 0.0) for loss in losses]) for name in TERMS}
                text = "  ".join(f"{name} {mean:.4f}" for name, mean in means.items())
                print(f"step {self.step}  {self.seconds:.0f} s  {text}", flush=True)
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
        pictures = [batch.painted] if batch.original is None else [batch.painted, batch.original]
        # The network is to paint alike whichever way a picture is turned.
        small, turned = random_turn(small, torch.cat(pictures, 1).to(self.device), rng)
        painted, *original = turned.split(3, 1)
        with autocast(self.device):
            decoded = self.student.paint(small)
            terms = {"l1": F.l1_loss(decoded, painted)}
            if self.perception:
                terms |= self.perception.terms(decoded, painted, *original, rng=rng)
        self.optimizer.zero_grad(set_to_none=True)
        torch.stack([getattr(self.plan, name) * terms[name] for name in terms]).sum().backward()
        torch.nn.utils.clip_grad_norm_(self.network.parameters(), self.plan.max_grad_norm)
        self.optimizer.step()
        self.step += 1
        self._update_ema()
        return {name: float(term.detach()) for name, term in terms.items()}

    def _factor(self) -> float:
        """Fraction of the peak learning rate: linear warm-up, then a cosine over the seconds."""
        progress = min(1.0, self.seconds / self.plan.seconds)
        warmup = min(1.0, (self.step + 1) / self.plan.warmup_steps)
        return warmup * (0.05 + 0.95 * (1 + math.cos(math.pi * progress)) / 2)

    @torch.no_grad()
    def _update_ema(self) -> None:
        decay = min(self.plan.ema_decay, (1 + self.step) / (10 + self.step))
        for name, value in self.network.state_dict(prefix="restore.").items():
            self.ema[name].lerp_(value, 1 - decay)
