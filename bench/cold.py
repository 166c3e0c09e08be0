"""Wall time and peak memory of whole processes: `odp` with one small file, and what Python costs.

    python -m onedpiece.bench.cold [PYTHON ...]

compares the `odp` of several environments, such as before and after a change. Runs of all commands
take turns, so that what else the machine does falls on all of them alike.
"""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

from onedpiece.bench.demo import PICTURES
from onedpiece.bench.timing import Spread, machine, process, spread

RUNS = 15
PICTURE = PICTURES / "coffee.png"

BARE = {
    "Python": "pass",
    "Python, import numpy and PIL": "import numpy, PIL.Image",
    "Python, import typer": "import typer",
}
# WebP, the closest competitor: a file of 64x64 pixels.
WEBP = {
    "Python and Pillow, WebP encode": (
        "Image.open(a).convert('RGB').resize((64, 64)).save(b, 'WEBP', quality=20, method=6)"
    ),
    "Python and Pillow, WebP decode": "Image.open(b).resize((256, 256), 3).save(c)",
}


class Cold(NamedTuple):
    """Wall time of a command, and its largest peak memory in bytes."""

    command: str
    wall: Spread
    peak: float


def cold(python: str, options: Sequence[str] = (), runs: int = RUNS) -> Iterator[Cold]:
    """Measure `odp`, Python alone, and WebP in Pillow, in processes of their own.

    python:  the interpreter that has `odp`.
    options: of `odp encode` and `odp decode`.
    runs:    of each command; at least two.
    """
    return (result for _, result in _compare([python], options, runs))


def _compare(
    pythons: Sequence[str], options: Sequence[str], runs: int
) -> Iterator[tuple[str, Cold]]:
    """Yield (python, result): for each command, those of all interpreters."""
    with tempfile.TemporaryDirectory() as folder:
        # Earlier versions cannot read what later ones write.
        commands = {
            python: _commands(python, options, Path(tempfile.mkdtemp(dir=folder)))
            for python in pythons
        }
        pairs = [(python, name) for name in commands[pythons[0]] for python in pythons]
        for python, name in pairs:  # the first runs fill caches
            process(commands[python][name])
        results: dict[tuple[str, str], list[tuple[float, float]]] = {pair: [] for pair in pairs}
        for _ in range(runs):
            for python, name in pairs:
                results[python, name].append(process(commands[python][name]))
    for (python, name), measured in results.items():
        seconds, peaks = zip(*measured, strict=True)
        yield python, Cold(name, spread(list(seconds)), max(peaks))


def _commands(python: str, options: Sequence[str], folder: Path) -> dict[str, list[str]]:
    odp = [python, "-P", "-m", "onedpiece.cli"]  # -P: not a package in the current folder
    coded, small, decoded, tiny = (
        str(folder / name) for name in ("x.odp", "y.odp", "x.png", "x.webp")
    )
    bare = {name: [python, "-c", code] for name, code in BARE.items()}
    pillow = {
        name: [python, "-c", f"from PIL import Image; import sys; a, b, c = sys.argv[1:]; {code}"]
        for name, code in WEBP.items()
    }
    return {
        **bare,
        "odp encode": [*odp, "encode", "-f", *options, str(PICTURE), coded],
        "odp decode": [*odp, "decode", "-f", *options, coded, decoded],
        "odp truncate": [*odp, "truncate", "-f", coded, small, "--bytes", "50"],
        "odp info": [*odp, "info", coded],
        "odp --help": [*odp, "--help"],
        **{name: [*code, str(PICTURE), tiny, decoded] for name, code in pillow.items()},
    }


def main() -> None:
    """Print a table in Markdown for the interpreters in `sys.argv`."""
    pythons = sys.argv[1:] or [sys.executable]
    print(f"{machine()}; one picture of 256x256 pixels; {RUNS} runs; median (quartiles)\n")
    print(
        "| command | environment | wall, ms | best, ms | peak memory, MB |\n|---|---|---|---|---|"
    )
    for python, (name, wall, peak) in _compare(pythons, (), RUNS):
        environment = pythons.index(python) + 1
        cells = [name, environment, wall.milliseconds(0), f"{1e3 * wall.best:.0f}"]
        print(f"| {' | '.join(map(str, cells))} | {peak / 1e6:.0f} |")


if __name__ == "__main__":
    main()
