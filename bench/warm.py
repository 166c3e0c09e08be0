"""Warm decoding by several environments, such as before and after a change.

    python -m onedpiece.bench.warm PYTHON [PYTHON ...]

Each measurement is a new process, and environments take turns, so that what else the machine does
falls on all of them alike.
"""

from __future__ import annotations

import subprocess
import sys

from onedpiece.bench.demo import PICTURES
from onedpiece.bench.timing import Spread, machine, spread

ROUNDS = 9
PICTURE = PICTURES / "coffee.png"

# Prints the median time in seconds of a call, and the pictures a second in batches. Versions
# without realism added grain, which took no longer.
DECODE = """
import statistics, sys, time
from PIL import Image
from onedpiece import Codec
path, tokens, realism = sys.argv[1], int(sys.argv[2]), float(sys.argv[3])
codec = Codec(device="cpu", threads=2)
data = codec.encode(Image.open(path).convert("RGB"), tokens)
try:
    codec.decode(data, realism=realism)
    options = {"realism": realism}
except TypeError:
    options = {}
def seconds(action, times):
    measured = []
    for _ in range(times):
        start = time.perf_counter()
        action()
        measured.append(time.perf_counter() - start)
    return statistics.median(measured[1:])
one = seconds(lambda: codec.decode(data, **options), 21)
print(one, 32 / seconds(lambda: codec.decode_many([data] * 32, **options), 3))
"""

TASKS = {
    "256 tokens, least error": (256, 0),
    "256 tokens": (256, 1),
    "64 tokens, least error": (64, 0),
    "64 tokens": (64, 1),
}


def main() -> None:
    """Print a table in Markdown for the interpreters in `sys.argv`."""
    pythons = sys.argv[1:] or [sys.executable]
    print(f"{machine()}; one picture of 256x256 pixels; {ROUNDS} rounds; median (quartiles)\n")
    print("| decode | environment | one, ms | in batches, pictures/s |\n|---|---|---|---|")
    for name, (tokens, realism) in TASKS.items():
        results: dict[str, list[tuple[float, float]]] = {python: [] for python in pythons}
        for _ in range(ROUNDS):
            for python in pythons:
                results[python].append(decode(python, tokens, realism))
        for number, (one, rates) in enumerate(map(_spreads, results.values()), 1):
            rate = f"{rates.median:.1f} ({rates.low:.1f} to {rates.high:.1f})"
            print(f"| {name} | {number} | {one.milliseconds()} | {rate} |", flush=True)


def decode(python: str, tokens: int, realism: float) -> tuple[float, float]:
    """Seconds of one picture, and pictures a second in batches."""
    # -P: the environment's own package, not one in the current folder.
    command = [python, "-P", "-c", DECODE, str(PICTURE), str(tokens), str(realism)]
    output = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    one, rate = map(float, output.split())
    return one, rate


def _spreads(measured: list[tuple[float, float]]) -> tuple[Spread, Spread]:
    seconds, rates = zip(*measured, strict=True)
    return spread(list(seconds)), spread(list(rates))


if __name__ == "__main__":
    main()
