"""The training loop. A run is a folder with `checkpoint.pt` and `log.jsonl`."""

from __future__ import annotations

import contextlib
import json
import math
import time
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.nn.parallel import DistributedDataParallel

from onedpiece.tokenizer.config import Config
from onedpiece.tokenizer.onedpiece import OneDPiece, build
from onedpiece.training import checkpoint
from onedpiece.training.data import Pictures
from onedpiece.training.distributed import Process
from onedpiece.training.ema import Ema, with_weights
from onedpiece.training.evaluate import evaluate
from onedpiece.training.feed import Batch, feed
from onedpiece.training.objective import Forward, FrozenNetworks, Objective
from onedpiece.training.optimizers import build_optimizers, set_learning_rates
from onedpiece.training.precision import memory_format
from onedpiece.training.recipe import Recipe
from onedpiece.training.schedule import is_finished, learning_rate_factor
from onedpiece.training.utilization import StepCost, count_flops, peak_flops

CHECKPOINT_SECONDS = 60
VALIDATION_SECONDS = 600
LOG_STEPS = 50
NO_NETWORKS = FrozenNetworks()


class Trainer:
    """A model in training, and the state that its checkpoint holds.

    step, seconds: how far the run is; seconds counts training steps only.
    """

    def __init__(
        self,
        folder: Path,
        model: OneDPiece,
        recipe: Recipe,
        device: str = "cpu",
        networks: FrozenNetworks = NO_NETWORKS,
    ) -> None:
        """Raises ValueError if the recipe does not suit the model or lacks a network."""
        self.folder, self.recipe, self.device = folder, recipe, torch.device(device)
        self.objective = Objective(recipe, model, networks, self.device)
        self.model = model.to(self.device)
        self.model.to(memory_format=memory_format(self.device))  # type: ignore[call-overload]
        self.forward: Forward = self.model
        self.ema = Ema(self.model, recipe.ema_decay)
        self.optimizers = build_optimizers(self.model, recipe)
        self.process = Process()
        self.step, self.seconds = 0, 0.0
        self.step_cost: StepCost | None = None

    @classmethod
    def resume(
        cls,
        folder: Path,
        device: str = "cpu",
        recipe: Recipe | None = None,
        networks: FrozenNetworks = NO_NETWORKS,
    ) -> Trainer:
        """Continue a run from its checkpoint, to the same bits as if it had not stopped.

        recipe: start this schedule instead, from the averaged weights.
        """
        state = checkpoint.read(folder)
        model = build(Config.from_dict(state["config"]))
        trainer = cls(folder, model, recipe or Recipe(**state["recipe"]), device, networks)
        trainer.model.load_state_dict(state["ema" if recipe else "model"])
        trainer.ema.weights = {
            name: value.to(trainer.device) for name, value in state["ema"].items()
        }
        if recipe is None:
            trainer._load_progress(state)
        return trainer

    def _load_progress(self, state: dict[str, Any]) -> None:
        for optimizer, optimizer_state in zip(self.optimizers, state["optimizers"], strict=True):
            optimizer.load_state_dict(optimizer_state)
        if self.objective.discriminator:
            self.objective.discriminator.load_state_dict(state["discriminator"])
        self.step, self.seconds = state["step"], state["seconds"]

    def save(self) -> None:
        """Write the checkpoint, in the main process only."""
        if not self.process.is_main_process:
            return
        discriminator = self.objective.discriminator
        state = {
            "config": self.model.config.to_dict(),
            "recipe": asdict(self.recipe),
            "model": self.model.state_dict(),
            "ema": self.ema.weights,
            "optimizers": [optimizer.state_dict() for optimizer in self.optimizers],
            "discriminator": discriminator.state_dict() if discriminator else None,
            "step": self.step,
            "seconds": self.seconds,
        }
        checkpoint.write(self.folder, state)

    def distribute(self, process: Process) -> None:
        """Train as one of several processes that `torchrun` started.

        Raises ValueError for recipes that run for a time, or whose batch cannot be divided.
        """
        if process.world_size == 1:
            return
        if self.recipe.seconds or self.recipe.batch % process.world_size:
            raise ValueError(
                "several processes need a recipe with steps instead of seconds, "
                "and a batch that is a multiple of their number"
            )
        self.process = process
        self.forward = DistributedDataParallel(self.model)
        if self.objective.discriminator:
            for value in self.objective.discriminator.network.state_dict().values():
                torch.distributed.broadcast(value, 0)

    def compile(self) -> None:
        """Run the networks through torch.compile, which takes minutes at the first step."""
        self.forward = torch.compile(self.forward, dynamic=False)
        self.objective.compile()

    def measure(self, pictures: Pictures) -> None:
        """Measure the cost of a step and the device, so that the log can give the utilisation."""
        with contextlib.closing(feed(pictures, self.recipe, self.step, self.device)) as batches:
            batch = next(batches)

        def forward_and_backward() -> None:
            losses = self.objective.losses(
                self.forward, batch.targets(), batch.num_tokens, self.step
            )
            self.objective.total(losses).backward()

        self.step_cost = StepCost(count_flops(forward_and_backward), peak_flops(self.device))
        self.model.zero_grad(set_to_none=True)

    def train_step(self, batch: Batch) -> dict[str, float]:
        """Train for one step; returns the unweighted losses."""
        factor = learning_rate_factor(self.recipe, self.step, self.seconds)
        set_learning_rates(self.optimizers, factor)
        losses = self.objective.losses(self.forward, batch.targets(), batch.num_tokens, self.step)
        self.model.zero_grad(set_to_none=True)
        self.objective.total(losses).backward()
        torch.nn.utils.clip_grad_norm_(self.model.parameters(), self.recipe.max_grad_norm)
        for optimizer in self.optimizers:
            optimizer.step()
        self.objective.train_discriminator(losses, self.step, self.seconds)
        self.ema.update(self.model, self.step)
        self.step += 1
        return {name: float(term.detach()) for name, term in losses.terms.items()}

    @property
    def finished(self) -> bool:
        """Whether the schedule is over."""
        return is_finished(self.recipe, self.step, self.seconds)

    def run(
        self,
        pictures: Pictures,
        last: float = math.inf,
        validation: Tensor | None = None,
        interrupted: Callable[[], bool] | None = None,
    ) -> None:
        """Train to the end of the schedule, to step `last` or until interrupted; then save.

        validation:  uint8 (N, 256, 256, 3), pictures whose PSNR is logged every ten minutes.
        interrupted: called whenever progress is logged.
        """
        self.model.train()
        saved = validated = time.monotonic()
        progress = _Progress(self.step, self.seconds)
        source = feed(pictures, self.recipe, self.step, self.device, self.process)
        with contextlib.closing(source) as batches:
            while self.step < last and not self.finished:
                start = time.monotonic()
                progress.add(self.train_step(next(batches)))
                self.seconds += time.monotonic() - start
                if self.step % LOG_STEPS == 0:
                    self._log_progress(progress)
                    if interrupted and interrupted():
                        break
                if validation is not None and time.monotonic() - validated > VALIDATION_SECONDS:
                    self._validate(validation)
                    validated = time.monotonic()
                if time.monotonic() - saved > CHECKPOINT_SECONDS:
                    self.save()
                    saved = time.monotonic()
        self.save()

    def _validate(self, pictures: Tensor) -> None:
        if self.process.is_main_process:
            model = with_weights(self.model.config, self.ema.weights)
            scores = evaluate(model, pictures)
            self._log(**{f"psnr_{count}": float(psnr.mean()) for count, psnr in scores.items()})

    def _log_progress(self, progress: _Progress) -> None:
        speed = progress.steps_per_second(self.step, self.seconds)
        values = progress.mean_losses() | {"pictures_per_second": speed * self.recipe.batch}
        if self.step_cost:
            values["of_peak"] = speed * self.step_cost.flops / self.step_cost.peak
        self._log(**values)

    def _log(self, **values: float) -> None:
        if not self.process.is_main_process:
            return
        position = {
            "step": self.step,
            "pictures": self.step * self.recipe.batch,
            "seconds": self.seconds,
        }
        row = {name: round(value, 4) for name, value in {**position, **values}.items()}
        print(json.dumps(row), flush=True)
        with (self.folder / "log.jsonl").open("a") as log:
            log.write(json.dumps(row) + "\n")


class _Progress:
    """Losses since the last line of the log, and speed since the start of the call."""

    def __init__(self, step: int, seconds: float) -> None:
        self.first_step, self.first_seconds = step, seconds
        self.losses: list[dict[str, float]] = []

    def add(self, losses: dict[str, float]) -> None:
        self.losses.append(losses)

    def mean_losses(self) -> dict[str, float]:
        """The mean of each loss; begins a new line."""
        losses, self.losses = self.losses, []
        return {name: sum(x.get(name, 0) for x in losses) / len(losses) for name in losses[-1]}

    def steps_per_second(self, step: int, seconds: float) -> float:
        return (step - self.first_step) / max(seconds - self.first_seconds, 1e-9)
