"""Compare results of `odp bench rd` with those of another program, at equal sizes in bytes.

    python -m onedpiece.bench.ablations.agreement RESULTS.csv OTHER.csv

RESULTS.csv comes from a run with --bytes. OTHER.csv has the columns picture, codec, budget and
psnr.
"""

from __future__ import annotations

import csv
import sys
from pathlib import Path

import numpy as np

from onedpiece.bench.table import read_rows


def main(results: Path, other: Path) -> None:
    """Print mean PSNR of both per codec and size, over the pictures of which both have a file."""
    with other.open(newline="") as file:
        reference = {
            (row["picture"], row["codec"], row["budget"]): float(row["psnr"])
            for row in csv.DictReader(file)
        }
    pairs: dict[tuple[str, int], list[tuple[float, float]]] = {}
    for row in read_rows(results):
        key = (Path(row.picture).stem, row.codec, str(row.budget))
        if row.setting.endswith("bytes") and row.bytes and row.budget and key in reference:
            scores = row.scores["psnr"], reference[key]
            pairs.setdefault((row.codec, row.budget), []).append(scores)
    print("| codec | bytes | pictures | results, dB | other, dB | difference |")
    print("|---" * 6 + "|")
    for (codec, budget), values in sorted(pairs.items()):
        mean, other_mean = np.mean(values, 0)
        line = f"{codec} | {budget} | {len(values)} | {mean:.2f} | {other_mean:.2f}"
        print(f"| {line} | {mean - other_mean:+.2f} |")


if __name__ == "__main__":
    main(*map(Path, sys.argv[1:3]))
