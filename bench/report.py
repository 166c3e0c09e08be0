"""What is made of a table: means on the terminal, curves as JSON, plots, a contact sheet, and one page with all of it."""

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
from onedpiece.bench.rate_distortion import ODP, THUMBHASH, Run, decoded
from onedpiece.bench.table import Row

TEMPLATE = Path(__file__).parent / "report.html"
SHOWN = 24  # pictures on the page, and
ON_SHEET = 8  # on the contact sheet
QUALITY = 90  # of the WebP files in the page that stand for decoded pictures


def write_report(
    run: Run,
    rows: list[Row],
    metrics: list[Metric],
    missing: list[str],
    features: Features | None = None,
) -> None:
    """Print means and write everything else to `run.out`. features: network for rFID."""
    rows = [row for row in rows if _wanted(run, row)]
    found = _in_order(run, curves(rows))
    if features:
        found = _with_rfid(run, rows, found, features)
        metrics = [*metrics, RFID]
    pictures = f"{len(run.pictures)} pictures, protocol {run.protocol}"
    print(f"{PSNR.label}: means over {pictures}; in brackets how many have a file small enough")
    print(_text(_means(run, found, PSNR)))
    tables = [(metric.label, _means(run, found, metric)) for metric in metrics]
    write_compressai(found, run.out / "json", f"odp bench rd, {pictures}; whole files")
    plots = []
    try:
        tables += _comparisons(run, rows, found, metrics)
    except ImportError as error:
        missing = [*missing, f"BD-rate: {error}"]
    try:
        plots = _plots(run, found, metrics)
        _contact_sheet(run, rows)
    except ImportError as error:
        missing = [*missing, f"plots and contact sheet: {error}"]
    about = f"`odp bench rd`, {pictures}."
    (run.out / "tables.md").write_text("\n\n".join([about, *map(_markdown, tables)]) + "\n")
    page = _page(run, pictures, plots, tables, missing, _pictures(run, rows))
    (run.out / "report.html").write_text(page, encoding="utf-8")
    for line in missing:
        print(f"missing: {line}")
    print(f"{run.out / 'report.html'} shows everything")


def _wanted(run: Run, row: Row) -> bool:
    """Whether a row of the table is of this run: its folder may know more."""
    codecs = {*run.codecs, THUMBHASH}
    settings = {*run.targets(), "fixed"}
    return (
        row.picture in run.pictures
        and row.codec.removesuffix(NATIVE) in codecs
        and row.setting in settings
    )


def _in_order(run: Run, found: dict[str, list[Point]]) -> dict[str, list[Point]]:
    names = [name + ending for name in run.codecs for ending in ("", NATIVE)] + [THUMBHASH]
    return {name: found[name] for name in names if name in found}


def _with_rfid(
    run: Run, rows: list[Row], found: dict[str, list[Point]], features: Features
) -> dict[str, list[Point]]:
    """The same points, with the distance of all pictures together as one more score."""
    original = np.stack([features(read(p, run.protocol).pixels) for p in run.pictures.values()])

    def distance(codec: str, point: Point) -> float:
        if not point.complete:
            return float("nan")
        made = [row for row in rows if (row.codec, row.setting) == (codec, point.setting)]
        return frechet(original, np.stack([features(decoded(run, row)) for row in made]))

    return {
        codec: [
            replace(point, scores={**point.scores, RFID.name: distance(codec, point)})
            for point in points
        ]
        for codec, points in found.items()
    }


Cells = list[list[str]]  # the first row has the titles


def _means(run: Run, found: dict[str, list[Point]], metric: Metric) -> Cells:
    """Settings by codecs."""
    cells = [["setting", "bytes", *found]]
    best = max if metric.higher else min
    for setting in [*run.targets(), "fixed"]:
        points = {c: p for c, all_of in found.items() for p in all_of if p.setting == setting}
        if not points:
            continue
        size = points[ODP].bytes if ODP in points else best(p.bytes for p in points.values())
        whole = [_rounded(p, metric) for p in points.values() if p.complete]
        line = [setting, f"{size:.1f}"]
        for codec in found:
            text = "no file"
            if codec in points:
                value = _rounded(points[codec], metric)
                text = f"{value:.{_digits(metric)}f}"
                if not points[codec].complete:
                    text += f" ({points[codec].pictures})"
                elif len(whole) > 1 and value == best(whole):
                    text = f"*{text}*"
            fixed = "fixed" in (setting, *(point.setting for point in found[codec]))
            line.append("" if fixed and codec not in points else text)
        cells.append(line)
    return cells


def _rounded(point: Point, metric: Metric) -> float:
    return round(point.scores.get(metric.name, float("nan")), _digits(metric))


def _digits(metric: Metric) -> int:
    return 2 if metric.name in {"psnr", "ssimulacra2"} else 3


def _comparisons(
    run: Run, rows: list[Row], found: dict[str, list[Point]], metrics: list[Metric]
) -> list[tuple[str, Cells]]:
    """BD-rate of every codec against the first one, and on how many pictures the first one wins."""
    anchor, *others = found
    delta: Cells = [["metric", *others]]
    for metric in metrics:
        line = [metric.label]
        for codec in others:
            made = bd_rate(found[codec], found[anchor], metric)
            line.append(f"{made.percent:+.1f} % ({made.overlap:.0%})" if made else "no overlap")
        delta.append(line)
    scores = {row.key: row.scores for row in rows}
    wins: Cells = [["setting", *others]]
    for setting in run.targets():
        line = [setting]
        for codec in others:
            pairs = [
                (scores.get((p, anchor, setting), {}), scores.get((p, codec, setting), {}))
                for p in run.pictures
            ]
            known = [(a["psnr"], b["psnr"]) for a, b in pairs if a and b]
            won = sum(a > b for a, b in known)
            line.append(f"{won} of {len(known)}" if known else "no file")
        wins.append(line)
    return [
        (f"BD-rate of {anchor} against each codec (share of the range of quality compared)", delta),
        (f"Pictures on which {anchor} has the higher PSNR", wins),
    ]


def _plots(run: Run, found: dict[str, list[Point]], metrics: list[Metric]) -> list[bytes]:
    from onedpiece.bench import plots

    folder = run.out / "plots"
    folder.mkdir(exist_ok=True)
    made = []
    for metric in metrics:
        figure = plots.curve(found, metric)
        plots.save(figure, folder / f"{metric.name}.svg")
        plots.save(figure, folder / f"{metric.name}.png")
        made.append(plots.svg(figure))
    return made


def _contact_sheet(run: Run, rows: list[Row]) -> None:
    """Some pictures as every codec makes them at the setting in the middle."""
    from onedpiece.bench.plots import contact_sheet

    settings = list(run.targets())
    setting = settings[len(settings) // 2]
    known = {row.key: row for row in rows}
    names = [*run.codecs, THUMBHASH]
    lines = []
    for picture in _some(run, ON_SHEET):
        line: list[tuple[np.ndarray | None, str]] = [
            (read(run.pictures[picture], run.protocol).pixels, picture[:40])
        ]
        for codec in names:
            row = known.get((picture, codec, "fixed" if codec == THUMBHASH else setting))
            if row is None or row.bytes is None:
                line.append((None, "no file"))
            else:
                text = f"{row.bytes} bytes, {row.scores['psnr']:.2f} dB"
                line.append((decoded(run, row), text))
        lines.append(line)
    contact_sheet([f"original | {setting}", *names], lines).save(run.out / "contact-sheet.png")


def _some(run: Run, count: int) -> list[str]:
    """So many pictures, spread over all."""
    names = list(run.pictures)
    return [names[i] for i in np.unique(np.linspace(0, len(names) - 1, count).round().astype(int))]


def _pictures(run: Run, rows: list[Row]) -> dict[str, object]:
    """What the page compares: originals and decoded pictures, with what each costs and scores."""
    shown = _some(run, SHOWN)
    files: dict[str, dict[str, dict[str, object]]] = {name: {} for name in shown}
    order = [*run.codecs, THUMBHASH]
    rows = [row for row in rows if row.codec in order]  # the best ones, not those at native size
    for row in sorted(rows, key=lambda row: order.index(row.codec)):
        if row.picture in files and row.bytes is not None:
            facts = {"bytes": row.bytes, "scores": row.scores, "how": row.how}
            entry = {"image": _data_uri(decoded(run, row)), **facts}
            settings = [row.setting] if row.codec != THUMBHASH else list(run.targets())
            for setting in settings:
                files[row.picture].setdefault(setting, {})[row.codec] = entry
    originals = {name: _data_uri(read(run.pictures[name], run.protocol).pixels) for name in shown}
    return {"originals": originals, "files": files, "settings": list(run.targets())}


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
    compared: dict[str, object],
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
        "DATA": json.dumps(compared).replace("<", "\\u003c"),
    }
    page = TEMPLATE.read_text(encoding="utf-8")
    for name, value in parts.items():
        page = page.replace(f"@{name}@", value)
    return page


def _html(cells: Cells) -> str:
    def tag(kind: str, line: list[str]) -> str:
        inside = "".join(f"<{kind}>{_cell(html.escape(text))}</{kind}>" for text in line)
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
