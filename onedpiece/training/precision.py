"""The arithmetic of training: bfloat16 where the device multiplies it, float32 where it would be emulated."""

from __future__ import annotations

import torch


def arithmetic(device: torch.device) -> torch.dtype:
    """What large products are fastest in. A processor without instructions for bfloat16 takes a hundred times as long."""
    if device.type == "cpu" and not torch.cpu._is_avx512_bf16_supported():
        return torch.float32
    return torch.bfloat16


def autocast(device: torch.device) -> torch.autocast:
    """Inside, large products are in `arithmetic(device)`."""
    kind = arithmetic(device)
    return torch.autocast(device.type, torch.bfloat16, enabled=kind == torch.bfloat16)
