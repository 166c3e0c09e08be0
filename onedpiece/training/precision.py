"""Data type and memory layout of training on a device."""

from __future__ import annotations

import torch


def compute_dtype(device: torch.device) -> torch.dtype:
    """bfloat16 on GPUs and on processors with AVX-512 BF16, float32 elsewhere.

    Processors without these instructions emulate bfloat16, many times slower than float32.
    """
    if device.type == "cpu" and not torch.cpu._is_avx512_bf16_supported():
        return torch.float32
    return torch.bfloat16


def autocast(device: torch.device) -> torch.autocast:
    """Context in which large products are computed in `compute_dtype(device)`."""
    enabled = compute_dtype(device) == torch.bfloat16
    return torch.autocast(device.type, torch.bfloat16, enabled=enabled)


def memory_format(device: torch.device) -> torch.memory_format:
    """Layout in which convolutions train fastest: on a CPU in float32, channels-last is slower."""
    if compute_dtype(device) == torch.float32:
        return torch.contiguous_format
    return torch.channels_last
