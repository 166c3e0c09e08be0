"""Several processes, one for each GPU, that `torchrun` starts: every one learns from its share of each batch."""

from __future__ import annotations

import os
from collections.abc import Iterable
from dataclasses import dataclass

import torch
import torch.distributed
from torch import Tensor


@dataclass(frozen=True)
class Share:
    """Which of how many processes this is."""

    rank: int = 0
    count: int = 1

    @property
    def leads(self) -> bool:
        """Whether it is the one that prints, logs and saves."""
        return self.rank == 0

    @property
    def part(self) -> slice:
        """Its pictures of each batch."""
        return slice(self.rank, None, self.count)


def join(device: str) -> tuple[Share, str]:
    """Meet the other processes, if `torchrun` started this one; which one it is, and its device."""
    if "WORLD_SIZE" not in os.environ:
        return Share(), device
    if device.startswith("cuda"):
        device = f"cuda:{os.environ['LOCAL_RANK']}"
        torch.cuda.set_device(device)
    torch.distributed.init_process_group("nccl" if device.startswith("cuda") else "gloo")
    return Share(torch.distributed.get_rank(), torch.distributed.get_world_size()), device


def leave() -> None:
    """Part from the other processes, if there are any."""
    if torch.distributed.is_initialized():
        torch.distributed.destroy_process_group()


def wait() -> None:
    """Until all processes are here."""
    if torch.distributed.is_initialized():
        torch.distributed.barrier()


def average_(tensors: Iterable[Tensor]) -> None:
    """Replace each tensor by its mean over all processes."""
    if torch.distributed.is_initialized():
        for tensor in tensors:
            torch.distributed.all_reduce(tensor)
            tensor /= torch.distributed.get_world_size()
