"""Put the tables of bench/results into README, between the comments that mark their places."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path

from onedpiece.bench.curves import Point, curves
from onedpiece.bench.table import read_rows

RESULTS = Path(__file__).parent / "results"
README = Path(__file__).parents[1] / "README.md"
CODECS = ("odp", "webp", "jpeg", "avif", "jxl")
PLACE = "<!-- {0} -->\n.*?<!-- end of {0} -->"


def main() -> None:
    """Rewrite README. Raises OSError or OdpError if results are missing."""
    rows = read_rows(RESULTS / "rd" / "results.csv")
    found = curves(rows)
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
        text = place.sub(lambda _, new=new: new, text)
    README.write_text(text)


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
        top = best(score for c, score in scores.items() if points[c].complete)
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
    main()
