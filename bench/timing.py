"""Wall time and peak memory, measured the same way for everything that is compared."""

from __future__ import annotations

import os
import platform
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

# The peak memory of a process includes that of the process that forked it. A small launcher in
# between keeps the memory of the benchmark out of the result.
_LAUNCHER = """
import subprocess, sys, time
start = time.perf_counter()
subprocess.run(sys.argv[1:], check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
seconds = time.perf_counter() - start
try:
    import resource
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    print(seconds, used.ru_maxrss, used.ru_utime + used.ru_stime)
except ImportError:  # not on Windows
    print(seconds, "nan", "nan")
"""


@dataclass(frozen=True)
class Spread:
    """Median, quartiles and minimum of repeated measurements, in seconds."""

    median: float
    low: float
    high: float
    best: float

    def milliseconds(self, digits: int = 1) -> str:
        """As text: median (quartile to quartile)."""
        median, low, high = (1e3 * value for value in (self.median, self.low, self.high))
        return f"{median:.{digits}f} ({low:.{digits}f} to {high:.{digits}f})"


def repeat(action: Callable[[], object], times: int) -> Spread:
    """Time `action` after one call to warm up; times >= 2."""
    action()
    return spread([_seconds(action) for _ in range(times)])


def spread(seconds: list[float]) -> Spread:
    """Median, quartiles and minimum of at least two measurements."""
    low, median, high = statistics.quantiles(seconds, n=4, method="inclusive")
    return Spread(median, low, high, min(seconds))


class Usage(NamedTuple):
    """What a process took: wall seconds, peak resident memory in bytes, seconds of all cores."""

    seconds: float
    peak: float
    cpu: float


def process(arguments: list[str]) -> tuple[float, float]:
    """`usage`, without the seconds of the cores."""
    return usage(arguments)[:2]


def usage(arguments: list[str]) -> Usage:
    """Run a command (not on Windows). Raises CalledProcessError if it fails."""
    launcher = [sys.executable, "-S", "-c", _LAUNCHER, *arguments]
    output = subprocess.run(launcher, check=True, capture_output=True, text=True).stdout
    seconds, peak, cpu = map(float, output.split())
    return Usage(seconds, peak * (1 if sys.platform == "darwin" else 1024), cpu)


def machine() -> str:
    """One line that names the processor, the number of cores, Python and the system."""
    name = platform.processor() or platform.machine()
    if os.path.exists("/proc/cpuinfo"):
        with open("/proc/cpuinfo") as lines:
            models = [
                line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")
            ]
        name = models[0] if models else name
    versions = f"Python {platform.python_version()}, {platform.system()}"
    return f"{name}, {os.cpu_count()} cores, {versions}"


def _seconds(action: Callable[[], object]) -> float:
    start = time.perf_counter()
    action()
    return time.perf_counter() - start
