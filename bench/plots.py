"""Figures of the results: curves of rate against a metric, and sheets of decoded pictures."""

from __future__ import annotations

import io
from collections.abc import Sequence
from pathlib import Path

import matplotlib
import numpy as np
from matplotlib.figure import Figure
from PIL import Image, ImageDraw

from onedpiece.bench.curves import Point
from onedpiece.bench.metrics import Metric

COLOURS = {
    "odp": "#c0392b",
    "webp": "#2471a3",
    "jpeg": "#b7950b",
    "avif": "#1e8449",
    "jxl": "#7d3c98",
    "thumbhash": "#566573",
}
GAP = 8  # pixels between pictures of a sheet
LINE = 14  # height of a line of text in pixels

matplotlib.rcParams["svg.hashsalt"] = "onedpiece"  # equal numbers give equal files


def curve(curves: dict[str, list[Point]], metric: Metric) -> Figure:
    """Rate in bytes, logarithmic, against a metric. Points of incomplete means are hollow."""
    figure = Figure(figsize=(7, 4.5), layout="constrained")
    axes = figure.add_subplot()
    for codec, points in curves.items():
        points = [point for point in points if np.isfinite(point.scores.get(metric.name, np.nan))]
        base = codec.partition("-")[0]
        colour, line = COLOURS.get(base), "--" if base != codec else "-"
        complete = [point for point in points if point.complete]
        axes.plot(*_xy(complete, metric), line, marker="o", markersize=4, label=codec, color=colour)
        partial = [point for point in points if not point.complete]
        axes.plot(*_xy(partial, metric), "o", markersize=4, mfc="none", color=colour)
    axes.set_xscale("log")
    ticks = [16, 32, 64, 128, 256, 512, 1024, 2048, 4096, 8192, 16384, 32768, 65536]
    low, high = axes.get_xlim()
    axes.set_xticks([tick for tick in ticks if low <= tick <= high])
    axes.xaxis.set_major_formatter("{x:g}")
    axes.minorticks_off()
    axes.set_xlabel("bytes in a whole file, mean")
    axes.set_ylabel(metric.label + ("" if metric.higher else " (lower is better)"))
    axes.grid(alpha=0.3)
    axes.legend(fontsize=8)
    return figure


def contribution(values: np.ndarray) -> Figure:
    """Mean change of the picture by position of the token: (K,), in levels of 255."""
    figure = Figure(figsize=(7, 3.5), layout="constrained")
    axes = figure.add_subplot()
    axes.plot(np.arange(1, len(values) + 1), values, color=COLOURS["odp"])
    axes.set_xscale("log", base=2)
    axes.set_yscale("log")
    for axis in (axes.xaxis, axes.yaxis):
        axis.set_major_formatter("{x:g}")
        axis.set_minor_formatter("{x:g}")
    axes.tick_params(which="minor", labelsize=7)
    axes.set_xlabel("position of the token")
    axes.set_ylabel("mean change in levels, of 255")
    axes.grid(alpha=0.3)
    return figure


def heat_maps(maps: np.ndarray, columns: int) -> Figure:
    """Where each position changes the picture: (K, H, W), each map scaled to its own maximum."""
    rows = -(-len(maps) // columns)
    figure = Figure(figsize=(columns * 0.6, rows * 0.75))
    for index, heat in enumerate(maps):
        axes = figure.add_subplot(rows, columns, index + 1)
        axes.imshow(heat, cmap="inferno", vmin=0)
        axes.set_title(str(index + 1), fontsize=5, pad=1)
        axes.axis("off")
    figure.subplots_adjust(0.01, 0.01, 0.99, 0.97, 0.05, 0.2)
    return figure


def svg(figure: Figure) -> bytes:
    """An SVG file without a date, so that equal figures give equal files."""
    out = io.BytesIO()
    figure.savefig(out, format="svg", metadata={"Date": None})
    return out.getvalue()


def contact_sheet(
    titles: Sequence[str], rows: Sequence[Sequence[tuple[np.ndarray | None, str]]]
) -> Image.Image:
    """Pictures in rows with a line of text below each; None leaves a gap.

    titles: of the columns.
    rows:   pixels uint8 (H, W, 3), of one size within a row, and the text.
    """
    sizes = [next(p.shape[:2] for p, _ in row if p is not None) for row in rows]
    cell = max(width for _, width in sizes) + GAP
    heights = [height + LINE + GAP for height, _ in sizes]
    sheet = Image.new("RGB", (GAP + cell * len(titles), 2 * LINE + sum(heights)), "white")
    draw = ImageDraw.Draw(sheet)
    for column, title in enumerate(titles):
        draw.text((GAP + column * cell, GAP), title, "black")
    top = 2 * LINE
    for row, height in zip(rows, heights, strict=True):
        for column, (pixels, text) in enumerate(row):
            if pixels is not None:
                sheet.paste(Image.fromarray(pixels), (GAP + column * cell, top))
            draw.text((GAP + column * cell, top + height - LINE - GAP), text, "black")
        top += height
    return sheet


def save(figure: Figure, path: Path) -> None:
    """Write SVG, or PNG at twice the usual resolution, by the suffix of the name."""
    if path.suffix == ".svg":
        path.write_bytes(svg(figure))
    else:
        figure.savefig(path, dpi=144)


def _xy(points: Sequence[Point], metric: Metric) -> tuple[list[float], list[float]]:
    return [point.bytes for point in points], [point.scores[metric.name] for point in points]
