"""The arithmetic of training: bfloat16 on GPUs and on processors with AVX-512 BF16, float32 elsewhere."""

from __future__ import annotations

import torch


def arithmetic(device: torch.device) -> torch.dtype:
    """What large products are fastest in: where bfloat16 is emulated, they take many times as long as in float32."""
    if device.type == "cpu" and not torch.cpu._is_avx512_bf16_supported():
        return torch.float32
    return torch.bfloat16


def autocast(device: torch.device) -> torch.autocast:
    """Inside, large products are in `arithmetic(device)`."""
    kind = arithmetic(device)
    return torch.autocast(device.type, torch.bfloat16, enabled=kind == torch.bfloat16)


def layout(device: torch.device) -> torch.memory_format:
    """What convolutions learn fastest in: of float32 ones on a CPU, a step channels-last takes a fifth longer."""
    if arithmetic(device) == torch.float32:
        return torch.contiguous_format
    return torch.channels_last
