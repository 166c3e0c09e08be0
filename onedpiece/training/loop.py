"""The training loop: random crops in, checkpoints out, exact resume."""

from __future__ import annotations

import contextlib
import json
import math
import os
import time
from collections.abc import Callable, Generator
from dataclasses import asdict
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor
from torch.nn.parallel import DistributedDataParallel

from onedpiece.tokenizer.config import Config
from onedpiece.tokenizer.onedpiece import OneDPiece, PaperOneDPiece, build
from onedpiece.training.adversary import ADVERSARIES
from onedpiece.training.data import Pictures
from onedpiece.training.distributed import Share
from onedpiece.training.evaluate import evaluate
from onedpiece.training.features import Lpips, Vgg, turned, view
from onedpiece.training.feed import Batch, feed
from onedpiece.training.losses import lattice, log_distortion
from onedpiece.training.muon import Muon
from onedpiece.training.paper import ConvNext, FrozenVq
from onedpiece.training.precision import autocast, layout
from onedpiece.training.recipe import Recipe
from onedpiece.training.work import Work, count_flops, peak_flops

CHECKPOINT_SECONDS = 60
WATCH_SECONDS = 600
CODEBOOKS = "quantize.codebooks"
ENCODER = ("encoder.", "latent_tokens", "quantize.embedding")
INNER = ("decoder.transformer.", "repair.from_patches.", "repair.stem.", "repair.blocks.")
PIXELS = ("pixel_quantize.", "pixel_decoder.")
LOG_STEPS = 50


def learning_rate(recipe: Recipe, step: int, seconds: float, first: int = 0) -> float:
    """Factor of the peak rate: linear warm-up by steps, then a cosine to the floor by seconds or by steps.

    first: the step at which the schedule begins.
    """
    by_time = seconds / recipe.seconds if recipe.seconds else 0.0
    by_steps = (step - first) / (recipe.steps - first) if recipe.steps else 0.0
    progress = min(1.0, max(by_time, by_steps))
    return min(1.0, (step - first + 1) / recipe.warmup_steps) * (
        recipe.floor + (1 - recipe.floor) * (1 + math.cos(math.pi * progress)) / 2
    )


class Trainer:
    """A run in a folder: `checkpoint.pt` (all that a resume needs) and `log.jsonl`."""

    def __init__(
        self,
        folder: Path,
        model: OneDPiece,
        recipe: Recipe,
        device: str = "cpu",
        features: Vgg | None = None,
        perceptual: ConvNext | None = None,
        vq: FrozenVq | None = None,
        lpips: Lpips | None = None,
    ) -> None:
        """features, perceptual, vq, lpips: needed if the recipe gives them a weight; ValueError without."""
        given = {"features": features, "perceptual": perceptual, "lpips": lpips}
        if any(getattr(recipe, name) and network is None for name, network in given.items()):
            raise ValueError("this recipe needs the weights of the feature networks")
        if recipe.grain_rate and not model.config.grain:
            raise ValueError("this recipe is for configurations with grain")
        if recipe.proxy and vq is None:
            raise ValueError("this recipe needs the frozen tokenizer whose codes are to be learned")
        if (recipe.proxy or recipe.squared) and not isinstance(model, PaperOneDPiece):
            raise ValueError("this recipe is for the paper's configurations")
        self.folder, self.recipe, self.device = folder, recipe, torch.device(device)
        self.model = model.to(self.device).to(memory_format=layout(self.device))  # type: ignore[call-overload]
        self.forward: Callable[..., tuple[Tensor, Tensor]] = self.model
        self.share = Share()
        self.features = features.to(self.device) if features and recipe.features else None
        self.lpips = lpips.to(self.device) if lpips and recipe.lpips else None
        self.perceptual = perceptual.to(self.device) if perceptual and recipe.perceptual else None
        self.vq = vq.to(self.device) if vq and recipe.proxy else None
        self.adversary = (
            ADVERSARIES[recipe.critic](recipe.critic_rate, device=self.device)
            if recipe.adversary
            else None
        )
        self.average = {
            name: value.detach().clone() for name, value in self.model.state_dict().items()
        }
        adam, muon = self._groups()
        self.optimizers: list[torch.optim.Optimizer] = [
            torch.optim.AdamW(adam, lr=recipe.rate, betas=(0.9, recipe.second_moment))
        ]
        if muon:
            self.optimizers.append(Muon(muon, lr=recipe.matrix_rate))
        self._options = {"grain": True} if recipe.grain_rate else {}
        self.step, self.seconds = 0, 0.0
        self.work: Work | None = None

    def measure(self, pictures: Pictures) -> None:
        """Count what a step costs and what the device can do at most; the log then says the share that is used."""
        if self.adversary:
            self.adversary.critic.eval()  # in training its spectral norms move with every look
        with contextlib.closing(feed(pictures, self.recipe, self.step, self.device)) as batches:
            batch = next(batches)

        def losses() -> None:
            terms, _, _ = self._terms(batch.targets(), batch.keep)
            torch.stack(list(terms.values())).sum().backward()

        self.work = Work(count_flops(losses), peak_flops(self.device))
        if self.adversary:
            self.adversary.critic.train()
        self.model.zero_grad(set_to_none=True)

    def _groups(self) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
        """Parameters by learning rate and weight decay, for AdamW and for Muon; what does not learn needs no gradient."""
        groups: dict[tuple[bool, float, float], list[Tensor]] = {}
        for name, parameter in self.model.named_parameters():
            rate = self._peak_rate(name)
            parameter.requires_grad_(rate > 0)
            inner = bool(self.recipe.matrix_rate and parameter.ndim > 1 and name.startswith(INNER))
            decay = self.recipe.decay if self._decays(name, parameter) else 0.0
            key = inner, self.recipe.matrix_rate if inner else rate, decay
            groups.setdefault(key, []).append(parameter)
        adam, muon = (
            [
                {"params": parameters, "peak": rate, "weight_decay": decay}
                for (inner, rate, decay), parameters in groups.items()
                if inner == for_muon
            ]
            for for_muon in (False, True)
        )
        return adam, muon

    def _decays(self, name: str, parameter: Tensor) -> bool:
        """Matrices do; of the paper's model not what is looked up or added."""
        if isinstance(self.model, PaperOneDPiece) and any(
            part in name for part in ("embedding", "latent_tokens", "mask_token")
        ):
            return False
        return parameter.ndim > 1 and name != CODEBOOKS

    def _peak_rate(self, name: str) -> float:
        if self.recipe.proxy and name.startswith(PIXELS):
            return 0.0
        if name == CODEBOOKS:
            return self.recipe.codebook_rate
        if name.startswith(ENCODER):
            return self.recipe.encoder_rate
        if name.startswith("grain."):
            return self.recipe.grain_rate
        return self.recipe.rate

    @classmethod
    def resume(
        cls,
        folder: Path,
        device: str = "cpu",
        recipe: Recipe | None = None,
        features: Vgg | None = None,
        perceptual: ConvNext | None = None,
        vq: FrozenVq | None = None,
        lpips: Lpips | None = None,
    ) -> Trainer:
        """Continue a run exactly where its checkpoint is; another recipe starts its schedule anew, from the average."""
        state = torch.load(folder / "checkpoint.pt", map_location="cpu", weights_only=True)
        trainer = cls(
            folder,
            build(Config.from_dict(state["config"])),
            recipe or Recipe(**state["recipe"]),
            device,
            features,
            perceptual,
            vq,
            lpips,
        )
        trainer.model.load_state_dict(state["average" if recipe else "model"])
        trainer.average = {
            name: value.to(trainer.device) for name, value in state["average"].items()
        }
        if recipe is None:
            for optimizer, moments in zip(trainer.optimizers, state["optimizers"], strict=True):
                optimizer.load_state_dict(moments)
            trainer.step, trainer.seconds = state["step"], state["seconds"]
            if trainer.adversary:
                trainer.adversary.load_state_dict(state["adversary"])
        return trainer

    def distribute(self, share: Share) -> None:
        """Go on as one of several processes (`torchrun`). Raises ValueError for what they cannot agree on."""
        if share.count == 1:
            return
        if self.recipe.seconds or self.recipe.batch % share.count:
            raise ValueError(
                "several processes need a recipe of so many steps, and a batch that divides among them"
            )
        self.share = share
        self.forward = DistributedDataParallel(self.model)
        if self.adversary:
            for value in self.adversary.critic.state_dict().values():
                torch.distributed.broadcast(value, 0)

    def save(self) -> None:
        """Write the checkpoint under its final name only when it is complete."""
        if not self.share.leads:
            return
        state = {
            "config": self.model.config.to_dict(),
            "recipe": asdict(self.recipe),
            "model": self.model.state_dict(),
            "average": self.average,
            "optimizers": [optimizer.state_dict() for optimizer in self.optimizers],
            "adversary": self.adversary.state_dict() if self.adversary else None,
            "step": self.step,
            "seconds": self.seconds,
        }
        _write(self.folder, state)

    def train_step(self, batch: Batch) -> dict[str, float]:
        """One step; returns the terms of the loss."""
        factor = learning_rate(self.recipe, self.step, self.seconds)
        for group in chain.from_iterable(o.param_groups for o in self.optimizers):
            group["lr"] = group["peak"] * factor
        # The decoder's noise must be the same in a resumed run, and another in each process.
        torch.manual_seed(self.step * self.share.count + self.share.rank)
        target = batch.targets()
        terms, real, shown = self._terms(target, batch.keep)
        weights = asdict(self.recipe)
        loss = torch.stack([weights[name] * term for name, term in terms.items()]).sum()
        self.model.zero_grad(set_to_none=True)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(self.model.parameters(), self.recipe.clip)
        for optimizer in self.optimizers:
            optimizer.step()
        first = self.recipe.critic_start
        if self.adversary and self.step >= first:
            factor = learning_rate(self.recipe, self.step, self.seconds, first)
            self.adversary.learn(real, shown.detach(), factor)
        self._update_average()
        self.step += 1
        return {name: float(term.detach()) for name, term in terms.items()}

    def _terms(self, target: Tensor, keep: Tensor) -> tuple[dict[str, Tensor], Tensor, Tensor]:
        """Unweighted terms of the loss, and the square of the originals and of the decoded ones for the critic."""
        recipe = self.recipe
        if self.vq:
            return self._proxy_terms(target, keep), target, target
        with autocast(self.device):
            decoded, extra = self.forward(target, keep, **self._options)
        decoded = decoded.float()
        terms = {"distortion": log_distortion(decoded, target)} if recipe.distortion else {}
        terms["quantiser"] = extra
        if recipe.squared:
            terms["squared"] = F.mse_loss(decoded, target)
        if self.perceptual:
            terms["perceptual"] = self.perceptual(decoded, target).mean()
        if recipe.lattice:
            terms["lattice"] = lattice(decoded, target)
        rng = np.random.default_rng((recipe.seed, self.step, 1))
        shown, real = self._window(decoded, target, rng)
        with autocast(self.device):
            if self.features:
                terms["features"] = self.features(*view(shown, real, rng)).mean()
            if self.lpips:
                terms["lpips"] = self.lpips(*turned(shown, real, rng)).mean()
        if self.adversary and self.step >= recipe.critic_start + recipe.critic_alone:
            terms["adversary"] = self.adversary.complaint(shown)
        return terms, real, shown

    def _proxy_terms(self, target: Tensor, keep: Tensor) -> dict[str, Tensor]:
        """Learning the frozen tokenizer's codes: no picture is decoded."""
        assert self.vq is not None
        with autocast(self.device):
            logits, extra = self.forward(target, keep, proxy=True)
        codes = self.vq.codes(target)
        return {"quantiser": extra, "proxy": F.cross_entropy(logits.float().flatten(2), codes)}

    def _window(
        self, decoded: Tensor, target: Tensor, rng: np.random.Generator
    ) -> tuple[Tensor, Tensor]:
        """The same random square of all pictures."""
        size = self.recipe.window
        top, left = rng.integers(target.shape[-1] - size + 1, size=2)
        return tuple(x[:, :, top : top + size, left : left + size] for x in (decoded, target))  # type: ignore[return-value]

    @torch.no_grad()
    def _update_average(self) -> None:
        decay = min(self.recipe.average, (1 + self.step) / (10 + self.step))
        for name, value in self.model.state_dict().items():
            if value.is_floating_point():
                self.average[name].lerp_(value, 1 - decay)

    def compile(self) -> None:
        """Run the model and the feature networks through torch.compile: some minutes first, faster steps then."""
        self.forward = torch.compile(self.forward, dynamic=False)
        if self.features:
            self.features = torch.compile(self.features, dynamic=False)  # type: ignore[assignment]
        if self.lpips:
            self.lpips = torch.compile(self.lpips, dynamic=False)  # type: ignore[assignment]

    @property
    def finished(self) -> bool:
        """Whether the schedule is over."""
        recipe = self.recipe
        return bool(
            (recipe.seconds and self.seconds >= recipe.seconds)
            or (recipe.steps and self.step >= recipe.steps)
        )

    def run(
        self,
        pictures: Pictures,
        last: float = math.inf,
        watched: Tensor | None = None,
        interrupted: Callable[[], bool] | None = None,
    ) -> None:
        """Train to the end of the schedule, to step `last` or until interrupted; then save.

        watched:     uint8 (N, 256, 256, 3), pictures whose PSNR is logged now and then.
        interrupted: asked whenever progress is logged.
        """
        self.model.train()
        saved = looked = time.monotonic()
        terms: list[dict[str, float]] = []
        begun, first = self.seconds, self.step
        with contextlib.closing(self._feed(pictures)) as batches:
            while self.step < last and not self.finished:
                start = time.monotonic()
                terms.append(self.train_step(next(batches)))
                self.seconds += time.monotonic() - start
                if self.step % LOG_STEPS == 0:
                    rate = (self.step - first) / max(self.seconds - begun, 1e-9)
                    self._log(
                        **{
                            name: sum(t.get(name, 0) for t in terms) / len(terms)
                            for name in terms[-1]
                        },
                        pictures_per_second=rate * self.recipe.batch,
                        **(
                            {"of_peak": rate * self.work.flops / self.work.peak}
                            if self.work
                            else {}
                        ),
                    )
                    terms = []
                    if interrupted and interrupted():
                        break
                if (
                    self.share.leads
                    and watched is not None
                    and time.monotonic() - looked > WATCH_SECONDS
                ):
                    scores = evaluate(self.averaged(), watched)
                    self._log(**{f"psnr_{n}": float(db.mean()) for n, db in scores.items()})
                    looked = time.monotonic()
                if time.monotonic() - saved > CHECKPOINT_SECONDS:
                    self.save()
                    saved = time.monotonic()
        self.save()

    def _feed(self, pictures: Pictures) -> Generator[Batch]:
        return feed(pictures, self.recipe, self.step, self.device, self.share)

    def averaged(self) -> OneDPiece:
        """A copy of the model with its averaged weights, in evaluation mode, on the CPU."""
        model = build(self.model.config)
        model.load_state_dict(self.average)
        return model.eval()

    def _log(self, **values: float) -> None:
        if not self.share.leads:
            return
        row = {
            "step": self.step,
            "pictures": self.step * self.recipe.batch,
            "seconds": self.seconds,
        }
        row = {name: round(value, 4) for name, value in {**row, **values}.items()}
        print(json.dumps(row), flush=True)
        with (self.folder / "log.jsonl").open("a") as log:
            log.write(json.dumps(row) + "\n")


def replace_tables(folder: Path, frequency: Tensor) -> None:
    """Give a run other entropy tables, (blocks, 80); whatever its recipe is."""
    state = torch.load(folder / "checkpoint.pt", map_location="cpu", weights_only=True)
    for weights in (state["average"], state["model"]):
        weights["quantize.frequency"].copy_(frequency)
    _write(folder, state)


def _write(folder: Path, state: dict[str, Any]) -> None:
    partial = folder / "checkpoint.part"
    torch.save(state, partial)
    os.replace(partial, folder / "checkpoint.pt")


def averaged_model(folder: Path) -> OneDPiece:
    """The model of a run's checkpoint with its averaged weights, in evaluation mode on the CPU."""
    state = torch.load(folder / "checkpoint.pt", map_location="cpu", weights_only=True)
    model = build(Config.from_dict(state["config"]))
    model.load_state_dict(state["average"])
    return model.eval()
