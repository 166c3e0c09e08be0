"""Data type and memory layout of training on a device."""

from __future__ import annotations

import time
from functools import cache

import torch


def compute_dtype(device: torch.device) -> torch.dtype:
    """bfloat16 on GPUs and on processors that multiply faster in it, float32 elsewhere."""
    if device.type == "cpu" and not _cpu_prefers_bfloat16():
        return torch.float32
    return torch.bfloat16


@cache
def _cpu_prefers_bfloat16() -> bool:
    """Whether bfloat16 is faster, measured once.

    With AMX it is, several times; with AVX-512 BF16 alone, it can be slower.
    """
    if not torch.cpu._is_avx512_bf16_supported():
        return False
    return _product_seconds(torch.bfloat16) < _product_seconds(torch.float32)


def _product_seconds(dtype: torch.dtype, size: int = 512, repeats: int = 5) -> float:
    """The shortest time of a product of two matrices."""
    left, right = torch.ones(size, size, dtype=dtype), torch.ones(size, size, dtype=dtype)
    seconds = []
    for _ in range(repeats):
        start = time.perf_counter()
        torch.mm(left, right)
        seconds.append(time.perf_counter() - start)
    return min(seconds)


def autocast(device: torch.device) -> torch.autocast:
    """Context in which large products are computed in `compute_dtype(device)`."""
    enabled = compute_dtype(device) == torch.bfloat16
    return torch.autocast(device.type, torch.bfloat16, enabled=enabled)


def memory_format(device: torch.device) -> torch.memory_format:
    """Layout in which convolutions train fastest: on a CPU in float32, channels-last is slower."""
    if compute_dtype(device) == torch.float32:
        return torch.contiguous_format
    return torch.channels_last
