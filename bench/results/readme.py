"""Put the results of this folder into the documents, and make contact sheets.

    python bench/results/readme.py PICTURES RUN

PICTURES is the folder of pictures from which the folder RUN was made. The tables go between the
comments that mark their places; the sheets are docs/contact-sheet.jpg and docs/realism.jpg.
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
from onedpiece.bench.odp import Odp
from onedpiece.bench.plots import contact_sheet
from onedpiece.bench.rd import ODP, decode, reopen
from onedpiece.bench.table import read_rows
from onedpiece.images.reader import open_picture
from onedpiece.metrics import psnr as decibels

RESULTS = Path(__file__).parent
REPOSITORY = RESULTS.parents[1]
README = REPOSITORY / "README.md"
DOCS = REPOSITORY / "docs"
BENCHMARKS = DOCS / "benchmarks.md"
MODEL_CARD = DOCS / "model-card.md"
SHEET = DOCS / "contact-sheet.jpg"
REALISM_SHEET = DOCS / "realism.jpg"
# Faces, writing, foliage, water, buildings, an animal.
SHEET_PICTURES = (
    "clic_9466a908",
    "clic_8bb119b8",
    "kodak_23",
    "kodak_13",
    "clic_c80999cd",
    "kodak_8",
    "clic_4cd6910a",
    "clic_0c49a5cc",
    "clic_7e499613",
    "kodak_19",
    "kodak_20",
    "kodak_9",
)
REALISM_PICTURES, REALISM_TOKENS = SHEET_PICTURES[:6], 128
COMPETITOR = "webp"
FAITHFUL = "odp --realism 0"
SEARCHED = "odp --realism 0 --effort 3"
CODECS = ("odp", FAITHFUL, "webp", "jpeg", "avif", "jxl")
SUMMARY = (("psnr", "PSNR", 2), ("lpips_squeeze", "LPIPS", 3))  # metric, title, digits
PLACE = "<!-- {0} -->\n.*?<!-- end of {0} -->"


def main(pictures: Path, out: Path) -> None:
    """Rewrite the tables and the contact sheets. Raises OSError or OdpError if results are missing.

    pictures, out: folders that the run was made from, and into.
    """
    _sheet(pictures, out).save(SHEET, quality=65)
    _realism_sheet(pictures).save(REALISM_SHEET, quality=75)
    write_tables()


def write_tables() -> None:
    """Rewrite the tables from the committed results."""
    rows = read_rows(RESULTS / "rd" / "results.csv")
    points = curves(rows)
    points[FAITHFUL] = curves(read_rows(RESULTS / "rd-smooth" / "results.csv"))["odp"]
    points[SEARCHED] = curves(read_rows(RESULTS / "rd-effort" / "results.csv"))["odp"]
    facts = json.loads((RESULTS / "rd" / "run.json").read_text())
    versions = ";\n".join(f"{name}: {text}" for name, text in facts["codecs"].items())
    count = len({row.picture for row in rows})
    psnr = _table(points, "psnr", 2, max)
    lpips = _table(points, "lpips_squeeze", 3, min)
    rates = (
        f"PSNR in dB, mean of {count} pictures:\n\n{psnr}\n\n"
        f"LPIPS-squeeze (lower is better):\n\n{lpips}\n\n({versions})"
    )
    _fill_in(README, "summary", _summary(points))
    _fill_in(MODEL_CARD, "evaluation", _evaluation(points))
    _fill_in(BENCHMARKS, "rates", rates)
    _fill_in(BENCHMARKS, "effort", (RESULTS / "effort.md").read_text().strip())
    _fill_in(BENCHMARKS, "searched", _searched(points))
    _fill_in(BENCHMARKS, "speed", (RESULTS / "speed.md").read_text().strip())


def _fill_in(document: Path, name: str, table: str) -> None:
    """Replace what stands between the two comments with this name."""
    place = re.compile(PLACE.format(name), re.DOTALL)
    text = f"<!-- {name} -->\n{table}\n<!-- end of {name} -->"
    document.write_text(place.sub(lambda _: text, document.read_text()))


def _sheet(pictures: Path, out: Path) -> Image.Image:
    """Some pictures, each length of `odp` beside the rival's file that is no larger."""
    originals = {f"{name}.png": pictures / f"{name}.png" for name in SHEET_PICTURES}
    run, rows = reopen(originals, out, "default", "cpu")
    known = {(row.picture, row.codec, row.setting): row for row in rows}
    settings = [f"{tokens} tokens" for tokens in (16, 32, 64, 128, 256)]
    columns = [(codec, setting) for setting in settings for codec in (ODP, COMPETITOR)]

    def cell(picture: str, codec: str, setting: str) -> tuple[np.ndarray | None, str]:
        row = known.get((picture, codec, setting))
        if row is None or not row.bytes:
            return None, "no file so small"
        return decode(run, row), f"{row.bytes} bytes, {row.scores['psnr']:.2f} dB"

    lines = [
        [(open_picture(path).pixels, name), *(cell(name, *column) for column in columns)]
        for name, path in originals.items()
    ]
    return contact_sheet(["original", *(f"{c}, {s}" for c, s in columns)], lines)


def _realism_sheet(pictures: Path) -> Image.Image:
    """Some pictures, decoded from the same file with several realisms."""
    codecs = {f"realism {amount:g}": Odp(realism=amount) for amount in (0, 0.5, 1)}
    lines = []
    for name in REALISM_PICTURES:
        picture = open_picture(pictures / f"{name}.png")
        data = codecs["realism 1"].encode(picture, REALISM_TOKENS)
        cells = [codec.decode(data) for codec in codecs.values()]
        titles = [f"{len(data)} bytes, {decibels(picture.pixels, cell):.2f} dB" for cell in cells]
        lines.append([(picture.pixels, name), *zip(cells, titles, strict=True)])
    return contact_sheet(["original", *codecs], lines)


def _summary(points: dict[str, list[Point]]) -> str:
    """The scores of `odp` and its rival in one table."""
    columns = [f"{title} {name}" for _, title, _ in SUMMARY for name in ("odp", "smooth", "WebP")]
    lines = [_line(["tokens", "bytes", *columns]), "|---" * (2 + len(columns)) + "|"]
    for point in _by_tokens(points):
        row = [point.setting.removesuffix(" tokens"), f"{point.bytes:.0f}"]
        for metric, _, digits in SUMMARY:
            for codec in ("odp", FAITHFUL, COMPETITOR):
                row.append(_cell(_at(points, codec, point.setting), metric, digits))
        lines.append(_line(row))
    return "\n".join(lines)


def _evaluation(points: dict[str, list[Point]]) -> str:
    """The scores of `odp`, those of the least error in brackets."""
    titles = ["tokens", "bytes", "PSNR, dB", "LPIPS-squeeze"]
    lines = [_line(titles), "|---" * len(titles) + "|"]
    for point in _by_tokens(points):
        row = [point.setting.removesuffix(" tokens"), f"{point.bytes:.0f}"]
        for metric, _, digits in SUMMARY:
            cells = (
                _cell(_at(points, codec, point.setting), metric, digits)
                for codec in ("odp", FAITHFUL)
            )
            row.append("{} ({})".format(*cells))
        lines.append(_line(row))
    return "\n".join(lines)


def _searched(points: dict[str, list[Point]]) -> str:
    """PSNR of `odp` by effort beside that of its rivals, at each limit in bytes."""
    codecs = (FAITHFUL, SEARCHED, COMPETITOR, "avif")
    lines = [_line(["size", *codecs]), "|---" * (1 + len(codecs)) + "|"]
    for point in points[SEARCHED]:
        cells = (_cell(_at(points, codec, point.setting), "psnr", 2) for codec in codecs)
        lines.append(_line([point.setting, *cells]))
    return "\n".join(lines)


def _table(
    points: dict[str, list[Point]], metric: str, digits: int, best: Callable[..., float]
) -> str:
    """Sizes by codecs; the best of those with a file for every picture is bold."""
    lines = [_line(["size", "bytes of odp", *CODECS]), "|---" * (2 + len(CODECS)) + "|"]
    for point in points["odp"]:
        row = {codec: _at(points, codec, point.setting) for codec in CODECS}
        scores = {
            codec: round(p.scores[metric], digits) for codec, p in row.items() if p and p.complete
        }
        top = best(scores.values())
        cells = [point.setting, f"{point.bytes:.0f}"]
        for codec, p in row.items():
            text = _cell(p, metric, digits)
            cells.append(f"**{text}**" if scores.get(codec) == top else text)
        lines.append(_line(cells))
    return "\n".join(lines)


def _line(cells: list[str]) -> str:
    return f"| {' | '.join(cells)} |"


def _by_tokens(points: dict[str, list[Point]]) -> list[Point]:
    return [point for point in points["odp"] if point.setting.endswith("tokens")]


def _at(points: dict[str, list[Point]], codec: str, setting: str) -> Point | None:
    return next((p for p in points.get(codec, []) if p.setting == setting), None)


def _cell(point: Point | None, metric: str, digits: int) -> str:
    if point is None:
        return "no file"
    score = f"{point.scores[metric]:.{digits}f}"
    return score if point.complete else f"{score} ({point.pictures} of {point.total})"


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
