"""The training loop: random crops in, checkpoints out, exact resume."""

from __future__ import annotations

import contextlib
import json
import math
import os
import time
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from onedpiece.tokenizer.config import Config
from onedpiece.tokenizer.onedpiece import OneDPiece, build
from onedpiece.training.data import Pictures
from onedpiece.training.feed import Batch, feed
from onedpiece.training.losses import log_distortion
from onedpiece.training.recipe import Recipe

CHECKPOINT_SECONDS = 120
LOG_STEPS = 50


def learning_rate(recipe: Recipe, step: int, seconds: float) -> float:
    """Factor of the peak rate: linear warm-up by steps, then a cosine to 1 % by seconds."""
    progress = min(1.0, seconds / recipe.seconds)
    return min(1.0, (step + 1) / recipe.warmup_steps) * (
        0.01 + 0.99 * (1 + math.cos(math.pi * progress)) / 2
    )


class Trainer:
    """A run in a folder: `checkpoint.pt` (all that a resume needs) and `log.jsonl`."""

    def __init__(self, folder: Path, model: OneDPiece, recipe: Recipe, device: str = "cpu") -> None:
        self.folder, self.recipe, self.device = folder, recipe, torch.device(device)
        self.model = model.to(self.device).to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        self.average = {
            name: value.detach().clone() for name, value in self.model.state_dict().items()
        }
        self.optimizer = torch.optim.AdamW(self._groups(), lr=recipe.rate, betas=(0.9, 0.98))
        self.step, self.seconds = 0, 0.0

    def _groups(self) -> list[dict[str, Any]]:
        tables: list[Tensor] = []
        matrices: list[Tensor] = []
        others: list[Tensor] = []
        for name, parameter in self.model.named_parameters():
            if name == "quantize.codebooks":
                parameter.requires_grad_(self.recipe.codebook_rate > 0)
                tables.append(parameter)
            else:
                (matrices if parameter.ndim > 1 else others).append(parameter)
        return [
            {"params": tables, "peak": self.recipe.codebook_rate, "weight_decay": 0.0},
            {"params": matrices, "peak": self.recipe.rate, "weight_decay": self.recipe.decay},
            {"params": others, "peak": self.recipe.rate, "weight_decay": 0.0},
        ]

    @classmethod
    def resume(cls, folder: Path, device: str = "cpu", recipe: Recipe | None = None) -> Trainer:
        """Continue a run exactly where its checkpoint is; another recipe starts its schedule anew."""
        state = torch.load(folder / "checkpoint.pt", map_location="cpu", weights_only=True)
        trainer = cls(
            folder,
            build(Config.from_dict(state["config"])),
            recipe or Recipe(**state["recipe"]),
            device,
        )
        trainer.model.load_state_dict(state["model"])
        trainer.average = {
            name: value.to(trainer.device) for name, value in state["average"].items()
        }
        if recipe is None:
            trainer.optimizer.load_state_dict(state["optimizer"])
            trainer.step, trainer.seconds = state["step"], state["seconds"]
        return trainer

    def save(self) -> None:
        """Write the checkpoint under its final name only when it is complete."""
        state = {
            "config": self.model.config.to_dict(),
            "recipe": asdict(self.recipe),
            "model": self.model.state_dict(),
            "average": self.average,
            "optimizer": self.optimizer.state_dict(),
            "step": self.step,
            "seconds": self.seconds,
        }
        partial = self.folder / "checkpoint.part"
        torch.save(state, partial)
        os.replace(partial, self.folder / "checkpoint.pt")

    def train_step(self, batch: Batch) -> float:
        """One step; returns the loss."""
        factor = learning_rate(self.recipe, self.step, self.seconds)
        for group in self.optimizer.param_groups:
            group["lr"] = group["peak"] * factor
        target = batch.pixels.permute(0, 3, 1, 2).float() / 255
        with torch.autocast(self.device.type, torch.bfloat16):
            decoded, extra = self.model(target, batch.keep)
        loss = log_distortion(decoded, target) + extra
        self.optimizer.zero_grad(set_to_none=True)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(self.model.parameters(), self.recipe.clip)
        self.optimizer.step()
        self._update_average()
        self.step += 1
        return float(loss.detach())

    @torch.no_grad()
    def _update_average(self) -> None:
        decay = min(self.recipe.average, (1 + self.step) / (10 + self.step))
        for name, value in self.model.state_dict().items():
            if value.is_floating_point():
                self.average[name].lerp_(value, 1 - decay)

    def run(self, pictures: Pictures, max_steps: int | None = None) -> None:
        """Train to the end of the schedule, or for `max_steps` more steps; then save."""
        self.model.train()
        last = math.inf if max_steps is None else self.step + max_steps
        saved, losses, begun, first = time.monotonic(), [], self.seconds, self.step
        with contextlib.closing(feed(pictures, self.recipe, self.step, self.device)) as batches:
            while self.step < last and self.seconds < self.recipe.seconds:
                start = time.monotonic()
                losses.append(self.train_step(next(batches)))
                self.seconds += time.monotonic() - start
                if self.step % LOG_STEPS == 0:
                    rate = (self.step - first) / max(self.seconds - begun, 1e-9)
                    self._log(sum(losses) / len(losses), rate)
                    losses = []
                if time.monotonic() - saved > CHECKPOINT_SECONDS:
                    self.save()
                    saved = time.monotonic()
        self.save()

    def _log(self, loss: float, rate: float) -> None:
        row = {
            "step": self.step,
            "pictures": self.step * self.recipe.batch,
            "seconds": round(self.seconds, 1),
            "loss": round(loss, 4),
            "pictures_per_second": round(rate * self.recipe.batch, 1),
        }
        print(json.dumps(row), flush=True)
        with (self.folder / "log.jsonl").open("a") as log:
            log.write(json.dumps(row) + "\n")


def averaged_model(folder: Path) -> OneDPiece:
    """The model of a run's checkpoint with its averaged weights, in evaluation mode on the CPU."""
    state = torch.load(folder / "checkpoint.pt", map_location="cpu", weights_only=True)
    model = build(Config.from_dict(state["config"]))
    model.load_state_dict(state["average"])
    return model.eval()
