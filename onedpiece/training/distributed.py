"""Data-parallel training: `torchrun` starts one process for each GPU."""

from __future__ import annotations

import os
from collections.abc import Iterable
from dataclasses import dataclass

import torch
import torch.distributed
from torch import Tensor


@dataclass(frozen=True)
class Process:
    """This process among all that train together."""

    rank: int = 0
    world_size: int = 1

    @property
    def is_main_process(self) -> bool:
        """Whether this process prints, logs and saves."""
        return self.rank == 0

    @property
    def local_slice(self) -> slice:
        """The pictures of each batch that this process trains on."""
        return slice(self.rank, None, self.world_size)


def init_process(device: str) -> tuple[Process, str]:
    """Join the process group if `torchrun` started this process; return it and its device."""
    if "WORLD_SIZE" not in os.environ:
        return Process(), device
    if device.startswith("cuda"):
        device = f"cuda:{os.environ['LOCAL_RANK']}"
        torch.cuda.set_device(device)
    torch.distributed.init_process_group("nccl" if device.startswith("cuda") else "gloo")
    rank, world_size = torch.distributed.get_rank(), torch.distributed.get_world_size()
    return Process(rank, world_size), device


def destroy_process_group() -> None:
    """Leave the process group, if there is one."""
    if torch.distributed.is_initialized():
        torch.distributed.destroy_process_group()


def barrier() -> None:
    """Wait for all processes."""
    if torch.distributed.is_initialized():
        torch.distributed.barrier()


def all_reduce_mean_(tensors: Iterable[Tensor]) -> None:
    """Replace each tensor by its mean over all processes."""
    if torch.distributed.is_initialized():
        for tensor in tensors:
            torch.distributed.all_reduce(tensor)
            tensor /= torch.distributed.get_world_size()
