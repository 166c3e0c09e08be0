"""Put the results of this folder into README.md, and make docs/contact-sheet.jpg.

    python bench/results/readme.py PICTURES RUN

PICTURES is the folder of pictures from which the folder RUN was made. The tables go between the
comments that mark their places in README.md.
"""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
from PIL import Image

from onedpiece.bench.curves import Point, curves
from onedpiece.bench.plots import contact_sheet
from onedpiece.bench.rd import ODP, decode, reopen
from onedpiece.bench.table import read_rows
from onedpiece.images.reader import open_picture

RESULTS = Path(__file__).parent
REPOSITORY = RESULTS.parents[1]
README = REPOSITORY / "README.md"
SHEET = REPOSITORY / "docs" / "contact-sheet.jpg"
SHEET_PICTURES = 12
COMPETITOR = "webp"
WITHOUT_GRAIN = "odp --grain 0"
CODECS = ("odp", WITHOUT_GRAIN, "webp", "jpeg", "avif", "jxl")
PLACE = "<!-- {0} -->\n.*?<!-- end of {0} -->"


def main(pictures: Path, run: Path) -> None:
    """Rewrite README.md. Raises OSError or OdpError if results are missing."""
    _sheet(pictures, run).save(SHEET, quality=80)
    rows = read_rows(RESULTS / "rd" / "results.csv")
    points = curves(rows)
    points[WITHOUT_GRAIN] = curves(read_rows(RESULTS / "rd-smooth" / "results.csv"))["odp"]
    facts = json.loads((RESULTS / "rd" / "run.json").read_text())
    versions = "; ".join(f"{name}: {text}" for name, text in facts["codecs"].items())
    count = len({row.picture for row in rows})
    psnr = _table(points, "psnr", 2, max)
    lpips = _table(points, "lpips_squeeze", 3, min)
    rates = (
        f"PSNR in dB, mean of {count} pictures:\n\n{psnr}\n\nLPIPS (lower is better):\n\n{lpips}"
    )
    text = README.read_text()
    for name, content in (
        ("rates", f"{rates}\n\n({versions})"),
        ("speed", (RESULTS / "speed.md").read_text().strip()),
    ):
        section = f"<!-- {name} -->\n{content}\n<!-- end of {name} -->"
        place = re.compile(PLACE.format(name), re.DOTALL)
        text = place.sub(section.replace("\\", r"\\"), text)
    README.write_text(text)


def _sheet(pictures: Path, out: Path) -> Image.Image:
    """The last pictures by name: each length of `odp` beside the competitor's file of that size."""
    originals = {path.name: path for path in sorted(pictures.glob("*.png"))[-SHEET_PICTURES:]}
    run, rows = reopen(originals, out, "default", "cpu")
    by_key = {row.key: row for row in rows}
    settings = [f"{tokens} tokens" for tokens in (32, 64, 128, 256)]
    columns = [(codec, setting) for setting in settings for codec in (ODP, COMPETITOR)]

    def cell(picture: str, codec: str, setting: str) -> tuple[np.ndarray | None, str]:
        row = by_key.get((picture, codec, setting))
        if row is None or not row.bytes:
            return None, "no file so small"
        return decode(run, row), f"{row.bytes} bytes, {row.scores['psnr']:.2f} dB"

    lines = [
        [(open_picture(path).pixels, name), *(cell(name, *column) for column in columns)]
        for name, path in originals.items()
    ]
    return contact_sheet(["original", *(f"{c}, {s}" for c, s in columns)], lines)


def _table(
    curves: dict[str, list[Point]], metric: str, digits: int, best: Callable[..., float]
) -> str:
    """Mean scores: a row per length, a column per codec; the best complete one is bold."""
    lines = ["| tokens | bytes | " + " | ".join(CODECS) + " |", "|---" * (2 + len(CODECS)) + "|"]
    for reference in curves["odp"]:
        if not reference.setting.endswith("tokens"):
            continue
        points = {
            codec: next((p for p in curves.get(codec, []) if p.setting == reference.setting), None)
            for codec in CODECS
        }
        scores = {c: round(p.scores[metric], digits) for c, p in points.items() if p}
        top = best(scores[c] for c, p in points.items() if p and p.complete)
        cells = [reference.setting.removesuffix(" tokens"), f"{reference.bytes:.0f}"]
        for codec, point in points.items():
            if point is None:
                cells.append("no file")
            elif not point.complete:
                cells.append(f"{scores[codec]:.{digits}f} ({point.pictures} of {point.total})")
            else:
                text = f"{scores[codec]:.{digits}f}"
                cells.append(f"**{text}**" if scores[codec] == top else text)
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
