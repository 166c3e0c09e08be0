"""Put the tables of bench/results into README, between the comments that mark their places, and make docs/contact-sheet.jpg.

python -m onedpiece.bench.readme PICTURES RUN
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
from onedpiece.bench.rate_distortion import ODP, decoded, reopened
from onedpiece.bench.table import read_rows
from onedpiece.images.reader import open_picture

RESULTS = Path(__file__).parent / "results"
README = Path(__file__).parents[1] / "README.md"
SHEET = Path(__file__).parents[1] / "docs/contact-sheet.jpg"
ON_SHEET = 12
RIVAL = "webp"
SMOOTH = "odp --grain 0"
CODECS = ("odp", SMOOTH, "webp", "jpeg", "avif", "jxl")
PLACE = "<!-- {0} -->\n.*?<!-- end of {0} -->"


def main(pictures: Path, out: Path) -> None:
    """Rewrite README. Raises OSError or OdpError if results are missing.

    pictures, out: folders that the run was made from, and into.
    """
    _sheet(pictures, out).save(SHEET, quality=80)
    rows = read_rows(RESULTS / "rd" / "results.csv")
    found = curves(rows)
    found[SMOOTH] = curves(read_rows(RESULTS / "rd-smooth" / "results.csv"))["odp"]
    facts = json.loads((RESULTS / "rd" / "run.json").read_text())
    versions = "; ".join(f"{name}: {text}" for name, text in facts["codecs"].items())
    count = len({row.picture for row in rows})
    psnr = _table(found, "psnr", 2, max)
    lpips = _table(found, "lpips_squeeze", 3, min)
    rates = (
        f"PSNR in dB, mean of {count} pictures:\n\n{psnr}\n\nLPIPS (lower is better):\n\n{lpips}"
    )
    text = README.read_text()
    for name, inside in (
        ("rates", f"{rates}\n\n({versions})"),
        ("speed", (RESULTS / "speed.md").read_text().strip()),
    ):
        new = f"<!-- {name} -->\n{inside}\n<!-- end of {name} -->"
        place = re.compile(PLACE.format(name), re.DOTALL)
        text = place.sub(new.replace("\\", r"\\"), text)
    README.write_text(text)


def _sheet(pictures: Path, out: Path) -> Image.Image:
    """The last pictures by name, each length of `odp` beside the rival's file that is no larger."""
    originals = {path.name: path for path in sorted(pictures.glob("*.png"))[-ON_SHEET:]}
    run, rows = reopened(originals, out, "default", "cpu")
    known = {(row.picture, row.codec, row.setting): row for row in rows}
    settings = [f"{tokens} tokens" for tokens in (32, 64, 128, 256)]
    columns = [(codec, setting) for setting in settings for codec in (ODP, RIVAL)]

    def cell(picture: str, codec: str, setting: str) -> tuple[np.ndarray | None, str]:
        row = known.get((picture, codec, setting))
        if row is None or not row.bytes:
            return None, "no file so small"
        return decoded(run, row), f"{row.bytes} bytes, {row.scores['psnr']:.2f} dB"

    lines = [
        [(open_picture(path).pixels, name), *(cell(name, *column) for column in columns)]
        for name, path in originals.items()
    ]
    return contact_sheet(["original", *(f"{c}, {s}" for c, s in columns)], lines)


def _table(
    found: dict[str, list[Point]], metric: str, digits: int, best: Callable[..., float]
) -> str:
    """Settings in tokens by codecs; the best of those with a file for every picture is bold."""
    lines = ["| tokens | bytes | " + " | ".join(CODECS) + " |", "|---" * (2 + len(CODECS)) + "|"]
    for ours in found["odp"]:
        if not ours.setting.endswith("tokens"):
            continue
        points = {
            codec: next((p for p in found.get(codec, []) if p.setting == ours.setting), None)
            for codec in CODECS
        }
        scores = {c: round(p.scores[metric], digits) for c, p in points.items() if p}
        top = best(scores[c] for c, p in points.items() if p and p.complete)
        cells = [ours.setting.removesuffix(" tokens"), f"{ours.bytes:.0f}"]
        for codec, point in points.items():
            if point is None:
                cells.append("no file")
            elif not point.complete:
                cells.append(f"{scores[codec]:.{digits}f} ({point.pictures} of {point.of})")
            else:
                text = f"{scores[codec]:.{digits}f}"
                cells.append(f"**{text}**" if scores[codec] == top else text)
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
