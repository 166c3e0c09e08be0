"""Train the natural decoder to paint what the teacher paints.

The teacher's picture is a function of the tokens, without chance. So plain regression does not
average over possibilities, which is what makes decoders blur when they are trained against the
original. The losses are L1 and LPIPS, both against the teacher's picture.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from onedpiece.tokenizer.natural import NaturalDecoder
from onedpiece.training import checkpoint
from onedpiece.training.precision import autocast, memory_format
from onedpiece.training.targets import Targets

LOG_STEPS = 50
CHECKPOINT_SECONDS = 60

Distance = Callable[[Tensor, Tensor], Tensor]
"""Two batches of pixels (B, 3, H, W) in 0..1 -> (B,)."""


@dataclass(frozen=True)
class Plan:
    """How the student is trained.

    seconds: of training, over which the learning rate falls as a cosine to a twentieth.
    l1, lpips: weights of the losses.
    """

    seconds: float
    batch: int = 4
    learning_rate: float = 2e-4
    warmup_steps: int = 50
    l1: float = 4.0
    lpips: float = 0.3
    ema_decay: float = 0.998
    max_grad_norm: float = 1.0
    seed: int = 0


class Distillation:
    """A run: student, optimizer, averaged weights, and their checkpoint in a folder.

    distance: LPIPS.
    """

    def __init__(
        self,
        folder: Path,
        student: NaturalDecoder,
        plan: Plan,
        distance: Distance,
        device: str = "cpu",
    ) -> None:
        self.folder, self.plan, self.distance = folder, plan, distance
        self.device = torch.device(device)
        self.student = student.to(self.device)
        self.network = self.student.restore.requires_grad_(True)
        self.network.to(memory_format=memory_format(self.device))  # type: ignore[call-overload]
        self.optimizer = torch.optim.AdamW(
            self.network.parameters(), plan.learning_rate, betas=(0.9, 0.99), weight_decay=0.0
        )
        self.ema = {name: v.detach().clone() for name, v in self.network.state_dict().items()}
        self.step, self.seconds = 0, 0.0

    def resume(self) -> None:
        """Go on from the checkpoint in the folder, if there is one."""
        if not checkpoint.exists(self.folder):
            return
        state = checkpoint.read(self.folder)
        self.network.load_state_dict(state["model"])
        self.optimizer.load_state_dict(state["optimizer"])
        self.ema = {name: value.to(self.device) for name, value in state["ema"].items()}
        self.step, self.seconds = state["step"], state["seconds"]

    def save(self) -> None:
        """Write the checkpoint."""
        state: dict[str, Any] = {
            "plan": asdict(self.plan),
            "model": self.network.state_dict(),
            "ema": self.ema,
            "optimizer": self.optimizer.state_dict(),
            "step": self.step,
            "seconds": self.seconds,
        }
        self.folder.mkdir(parents=True, exist_ok=True)
        checkpoint.write(self.folder, state)

    def run(self, targets: Targets, last: float = math.inf) -> None:
        """Train to the end of the plan, or to step `last`; then save."""
        saved, losses = time.monotonic(), list[tuple[float, float]]()
        while self.seconds < self.plan.seconds and self.step < last:
            start = time.monotonic()
            rng = np.random.default_rng((self.plan.seed, self.step))
            tokens, painted = targets.batch(self.plan.batch, rng)
            losses.append(self.train_step(tokens.to(self.device), painted.to(self.device)))
            self.seconds += time.monotonic() - start
            if self.step % LOG_STEPS == 0:
                l1, lpips = np.mean(losses, 0)
                print(
                    f"step {self.step}  {self.seconds:.0f} s  L1 {l1:.4f}  LPIPS {lpips:.4f}",
                    flush=True,
                )
                losses.clear()
            if time.monotonic() - saved > CHECKPOINT_SECONDS:
                self.save()
                saved = time.monotonic()
        self.save()

    def train_step(self, tokens: Tensor, painted: Tensor) -> tuple[float, float]:
        """One step; returns L1 and LPIPS against the teacher's pictures (B, 3, 256, 256)."""
        for group in self.optimizer.param_groups:
            group["lr"] = self.plan.learning_rate * self._factor()
        with autocast(self.device):
            decoded = self.student(tokens)
            lpips = self.distance(decoded, painted).mean()
        l1 = F.l1_loss(decoded, painted)
        self.optimizer.zero_grad(set_to_none=True)
        (self.plan.l1 * l1 + self.plan.lpips * lpips.float()).backward()
        torch.nn.utils.clip_grad_norm_(self.network.parameters(), self.plan.max_grad_norm)
        self.optimizer.step()
        self.step += 1
        self._update_ema()
        return float(l1.detach()), float(lpips.detach())

    def _factor(self) -> float:
        """Fraction of the peak learning rate: linear warm-up, then a cosine over the seconds."""
        progress = min(1.0, self.seconds / self.plan.seconds)
        warmup = min(1.0, (self.step + 1) / self.plan.warmup_steps)
        return warmup * (0.05 + 0.95 * (1 + math.cos(math.pi * progress)) / 2)

    @torch.no_grad()
    def _update_ema(self) -> None:
        decay = min(self.plan.ema_decay, (1 + self.step) / (10 + self.step))
        for name, value in self.network.state_dict().items():
            self.ema[name].lerp_(value, 1 - decay)
