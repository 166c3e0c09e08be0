"""The report on a table of results: means, JSON curves, plots, a contact sheet and an HTML page."""

from __future__ import annotations

import base64
import html
import io
import json
from collections.abc import Iterable, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
from PIL import Image

from onedpiece.bench.codecs import NATIVE
from onedpiece.bench.curves import Point, bd_rate, curves, write_compressai
from onedpiece.bench.frechet import RFID, Features, frechet
from onedpiece.bench.metrics import PSNR, Metric
from onedpiece.bench.protocol import read
from onedpiece.bench.rd import FIXED, ODP, THUMBHASH, Run, decode
from onedpiece.bench.table import Row

TEMPLATE = Path(__file__).parent / "report.html"
PAGE_PICTURES = 24
SHEET_PICTURES = 8
QUALITY = 90  # of the WebP files that hold decoded pictures in the page


def write_report(
    run: Run,
    rows: list[Row],
    metrics: list[Metric],
    missing: list[str],
    features: Features | None = None,
) -> None:
    """Print mean PSNR, and write everything else to `run.out`. features: network for rFID.

    missing: lines about what could not be measured.
    """
    rows = [row for row in rows if _belongs(run, row)]
    points = _in_order(run, curves(rows))
    if features:
        points = _with_rfid(run, rows, points, features)
        metrics = [*metrics, RFID]
    pictures = f"{len(run.pictures)} pictures, protocol {run.protocol}"
    print(f"{PSNR.label}: means over {pictures}; in brackets how many have a file small enough")
    print(_text(_means(run, points, PSNR)))
    tables = [(metric.label, _means(run, points, metric)) for metric in metrics]
    write_compressai(points, run.out / "json", f"odp bench rd, {pictures}; whole files")
    plots = []
    try:
        tables += _comparisons(run, rows, points, metrics)
    except ImportError as error:
        missing = [*missing, f"BD-rate: {error}"]
    try:
        plots = _plots(run, points, metrics)
        _contact_sheet(run, rows)
    except ImportError as error:
        missing = [*missing, f"plots and contact sheet: {error}"]
    title = f"`odp bench rd`, {pictures}."
    text = "\n\n".join([title, *map(_markdown, tables)]) + "\n"
    (run.out / "tables.md").write_text(text, encoding="utf-8")
    page = _page(run, pictures, plots, tables, missing, _page_data(run, rows))
    (run.out / "report.html").write_text(page, encoding="utf-8")
    for line in missing:
        print(f"missing: {line}")
    print(f"{run.out / 'report.html'} shows everything")


def _belongs(run: Run, row: Row) -> bool:
    """Whether a row is one of this run's; the table may also hold rows of earlier runs."""
    codecs = {*run.codecs, THUMBHASH}
    settings = {*run.settings, FIXED}
    return (
        row.picture in run.pictures
        and row.codec.removesuffix(NATIVE) in codecs
        and row.setting in settings
    )


def _in_order(run: Run, points: dict[str, list[Point]]) -> dict[str, list[Point]]:
    names = [name + ending for name in run.codecs for ending in ("", NATIVE)] + [THUMBHASH]
    return {name: points[name] for name in names if name in points}


def _with_rfid(
    run: Run, rows: list[Row], curves: dict[str, list[Point]], features: Features
) -> dict[str, list[Point]]:
    """The curves with rFID as an additional score."""
    original = np.stack([features(read(p, run.protocol).pixels) for p in run.pictures.values()])

    def distance(codec: str, point: Point) -> float:
        if not point.complete:
            return float("nan")
        same = [row for row in rows if (row.codec, row.setting) == (codec, point.setting)]
        return frechet(original, np.stack([features(decode(run, row)) for row in same]))

    return {
        codec: [
            replace(point, scores={**point.scores, RFID.name: distance(codec, point)})
            for point in points
        ]
        for codec, points in curves.items()
    }


Cells = list[list[str]]
"""A table of text; the first row holds the titles."""


def _means(run: Run, curves: dict[str, list[Point]], metric: Metric) -> Cells:
    """Mean scores: a row per setting, a column per codec; the best complete mean between stars."""
    cells = [["setting", "bytes", *curves]]
    best = max if metric.higher else min
    for setting in [*run.settings, FIXED]:
        points = {c: p for c, curve in curves.items() for p in curve if p.setting == setting}
        if not points:
            continue
        size = points[ODP].bytes if ODP in points else best(p.bytes for p in points.values())
        complete = [_rounded(p, metric) for p in points.values() if p.complete]
        line = [setting, f"{size:.1f}"]
        for codec in curves:
            text = "no file"
            if codec in points:
                value = _rounded(points[codec], metric)
                text = f"{value:.{_digits(metric)}f}"
                if not points[codec].complete:
                    text += f" ({points[codec].pictures})"
                elif len(complete) > 1 and value == best(complete):
                    text = f"*{text}*"
            fixed = FIXED in (setting, *(point.setting for point in curves[codec]))
            line.append("" if fixed and codec not in points else text)
        cells.append(line)
    return cells


def _rounded(point: Point, metric: Metric) -> float:
    return round(point.scores.get(metric.name, float("nan")), _digits(metric))


def _digits(metric: Metric) -> int:
    return 2 if metric.name in {"psnr", "ssimulacra2"} else 3


def _comparisons(
    run: Run, rows: list[Row], curves: dict[str, list[Point]], metrics: list[Metric]
) -> list[tuple[str, Cells]]:
    """The first codec against each other one: BD-rate, and on how many pictures it wins."""
    anchor = next(iter(curves))
    return [
        (
            f"BD-rate of {anchor} against each codec (share of the range of quality compared)",
            _bd_rates(curves, metrics),
        ),
        (f"Pictures on which {anchor} has the higher PSNR", _wins(run, rows, list(curves))),
    ]


def _bd_rates(curves: dict[str, list[Point]], metrics: list[Metric]) -> Cells:
    first, *others = curves
    cells: Cells = [["metric", *others]]
    for metric in metrics:
        line = [metric.label]
        for codec in others:
            delta = bd_rate(curves[codec], curves[first], metric)
            line.append(f"{delta.percent:+.1f} % ({delta.overlap:.0%})" if delta else "no overlap")
        cells.append(line)
    return cells


def _wins(run: Run, rows: list[Row], codecs: list[str]) -> Cells:
    first, *others = codecs
    scores = {row.key: row.scores for row in rows}
    cells: Cells = [["setting", *others]]
    for setting in run.settings:
        line = [setting]
        for codec in others:
            pairs = [
                (scores.get((p, first, setting), {}), scores.get((p, codec, setting), {}))
                for p in run.pictures
            ]
            both = [(a["psnr"], b["psnr"]) for a, b in pairs if a and b]
            won = sum(a > b for a, b in both)
            line.append(f"{won} of {len(both)}" if both else "no file")
        cells.append(line)
    return cells


def _plots(run: Run, curves: dict[str, list[Point]], metrics: list[Metric]) -> list[bytes]:
    """Write a plot per metric, and return the plots as SVG files."""
    from onedpiece.bench import plots

    folder = run.out / "plots"
    folder.mkdir(exist_ok=True)
    files = []
    for metric in metrics:
        figure = plots.curve(curves, metric)
        plots.save(figure, folder / f"{metric.name}.svg")
        plots.save(figure, folder / f"{metric.name}.png")
        files.append(plots.svg(figure))
    return files


def _contact_sheet(run: Run, rows: list[Row]) -> None:
    """Write some pictures, decoded from the files of every codec at the middle setting."""
    from onedpiece.bench.plots import contact_sheet

    settings = list(run.settings)
    setting = settings[len(settings) // 2]
    by_key = {row.key: row for row in rows}
    names = [*run.codecs, THUMBHASH]
    lines = []
    for picture in _sample(run, SHEET_PICTURES):
        line: list[tuple[np.ndarray | None, str]] = [
            (read(run.pictures[picture], run.protocol).pixels, picture[:40])
        ]
        for codec in names:
            row = by_key.get((picture, codec, FIXED if codec == THUMBHASH else setting))
            if row is None or row.bytes is None:
                line.append((None, "no file"))
            else:
                text = f"{row.bytes} bytes, {row.scores['psnr']:.2f} dB"
                line.append((decode(run, row), text))
        lines.append(line)
    contact_sheet([f"original | {setting}", *names], lines).save(run.out / "contact-sheet.png")


def _sample(run: Run, count: int) -> list[str]:
    """Names of at most so many pictures, spread evenly over all of them."""
    names = list(run.pictures)
    return [names[i] for i in np.unique(np.linspace(0, len(names) - 1, count).round().astype(int))]


def _page_data(run: Run, rows: list[Row]) -> dict[str, object]:
    """What the page compares: originals and decoded pictures, with sizes and scores."""
    pictures = _sample(run, PAGE_PICTURES)
    files: dict[str, dict[str, dict[str, object]]] = {name: {} for name in pictures}
    order = [*run.codecs, THUMBHASH]
    rows = [row for row in rows if row.codec in order]  # without those at native size
    for row in sorted(rows, key=lambda row: order.index(row.codec)):
        if row.picture in files and row.bytes is not None:
            scores = {name: value for name, value in row.scores.items() if np.isfinite(value)}
            facts = {"bytes": row.bytes, "scores": scores, "options": row.options}
            entry = {"image": _data_uri(decode(run, row)), **facts}
            settings = [row.setting] if row.codec != THUMBHASH else list(run.settings)
            for setting in settings:
                files[row.picture].setdefault(setting, {})[row.codec] = entry
    originals = {
        name: _data_uri(read(run.pictures[name], run.protocol).pixels) for name in pictures
    }
    return {"originals": originals, "files": files, "settings": list(run.settings)}


def _data_uri(pixels: np.ndarray) -> str:
    out = io.BytesIO()
    Image.fromarray(pixels).save(out, "WEBP", quality=QUALITY)
    return "data:image/webp;base64," + base64.b64encode(out.getvalue()).decode()


def _page(
    run: Run,
    pictures: str,
    plots: Sequence[bytes],
    tables: Iterable[tuple[str, Cells]],
    missing: Sequence[str],
    data: dict[str, object],
) -> str:
    facts = json.loads((run.out / "run.json").read_text())
    versions = [f"{name}: {version}" for name, version in facts["codecs"].items()]
    versions.append(f"odp model {facts['model'][:12]}")
    svgs = (base64.b64encode(plot).decode() for plot in plots)
    parts = {
        "ABOUT": html.escape(pictures),
        "VERSIONS": "".join(f"<li>{html.escape(line)}</li>" for line in versions),
        "MISSING": "".join(f"<li>Not measured: {html.escape(line)}</li>" for line in missing),
        "PLOTS": "".join(f'<img alt="" src="data:image/svg+xml;base64,{svg}">' for svg in svgs),
        "TABLES": "".join(f"<h3>{html.escape(t)}</h3>{_html(cells)}" for t, cells in tables),
        "QUALITY": str(QUALITY),
        "DATA": json.dumps(data, allow_nan=False).replace("<", "\\u003c"),
    }
    page = TEMPLATE.read_text(encoding="utf-8")
    for name, value in parts.items():
        page = page.replace(f"@{name}@", value)
    return page


def _html(cells: Cells) -> str:
    def tag(name: str, line: list[str]) -> str:
        inside = "".join(f"<{name}>{_cell(html.escape(text))}</{name}>" for text in line)
        return f"<tr>{inside}</tr>"

    head, *body = cells
    return f"<table>{tag('th', head)}{''.join(tag('td', line) for line in body)}</table>"


def _cell(text: str) -> str:
    return f"<b>{text[1:-1]}</b>" if text.startswith("*") else text


def _markdown(table: tuple[str, Cells]) -> str:
    title, (head, *body) = table
    lines = [head, ["---"] * len(head), *body]
    rows = "\n".join(f"| {' | '.join(line)} |" for line in lines)
    return f"### {title}\n\n{rows.replace('*', '**')}"


def _text(cells: Cells) -> str:
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    return "\n".join(
        "  ".join(text.rjust(width) for text, width in zip(line, widths, strict=True))
        for line in cells
    )
