"""Keep the peak memory of a process low."""

from __future__ import annotations

import ctypes
import sys

M_MMAP_THRESHOLD = -3  # a parameter of glibc's `mallopt`
LARGE = 1 << 16  # bytes


def return_freed_memory() -> None:
    """Give large blocks of memory back to the system as soon as they are free.

    By default glibc keeps those that ONNX Runtime needs for a moment when it loads a network, which
    makes the peak 30 MB higher. Does nothing with other C libraries.
    """
    if sys.platform == "linux":
        mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
        if mallopt:
            mallopt(M_MMAP_THRESHOLD, LARGE)
