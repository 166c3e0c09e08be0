"""Compare a table of `odp bench rd` with files that other software made: python -m onedpiece.bench.agreement MINE OTHER

MINE: results.csv of a run with --bytes. OTHER: a table with columns picture, codec, budget and psnr.
"""

from __future__ import annotations

import csv
import sys
from pathlib import Path

import numpy as np

from onedpiece.bench.table import read_rows


def main(mine: Path, other: Path) -> None:
    """Print mean PSNR of both for every codec and size in bytes, over the pictures that both have a file of."""
    with other.open(newline="") as file:
        theirs = {
            (row["picture"], row["codec"], row["budget"]): float(row["psnr"])
            for row in csv.DictReader(file)
        }
    pairs: dict[tuple[str, int], list[tuple[float, float]]] = {}
    for row in read_rows(mine):
        key = (Path(row.picture).stem, row.codec, str(row.budget))
        if row.setting.endswith("bytes") and row.bytes and row.budget and key in theirs:
            pairs.setdefault((row.codec, row.budget), []).append((row.scores["psnr"], theirs[key]))
    print("| codec | bytes | pictures | here, dB | there, dB | difference |")
    print("|---" * 6 + "|")
    for (codec, budget), scores in sorted(pairs.items()):
        here, there = np.mean(scores, 0)
        line = f"{codec} | {budget} | {len(scores)} | {here:.2f} | {there:.2f}"
        print(f"| {line} | {here - there:+.2f} |")


if __name__ == "__main__":
    main(*map(Path, sys.argv[1:3]))
