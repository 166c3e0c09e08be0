"""Mean rate-distortion curves, Bjontegaard deltas, and the JSON format of CompressAI's tools."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from onedpiece.bench.metrics import Metric
from onedpiece.bench.table import Row

COMPRESSAI = {"psnr": "psnr-rgb", "ssim": "ssim-rgb", "ms_ssim": "ms-ssim-rgb"}


@dataclass(frozen=True)
class Point:
    """Means of one codec at one setting.

    bytes, bpp, scores: means over the pictures that have a file.
    pictures:           number of those pictures.
    total:              number of all pictures.
    """

    setting: str
    bytes: float
    bpp: float
    scores: dict[str, float]
    pictures: int
    total: int

    @property
    def complete(self) -> bool:
        """Whether every picture has a file. Otherwise the means cannot be compared with others."""
        return self.pictures == self.total


@dataclass(frozen=True)
class Delta:
    """Bjontegaard delta rate of a curve relative to an anchor.

    percent: mean difference in rate at equal quality; negative if the curve needs fewer bytes.
    overlap: the range of quality that both curves reach, over which the difference is integrated,
             as a share 0..1 of the range of the two together.
    """

    percent: float
    overlap: float


def curves(rows: Iterable[Row]) -> dict[str, list[Point]]:
    """Codec -> points by rising rate. Settings at which no picture has a file are left out."""
    groups: dict[tuple[str, str], list[Row]] = {}
    for row in rows:
        groups.setdefault((row.codec, row.setting), []).append(row)
    points: dict[str, list[Point]] = {}
    for (codec, setting), group in groups.items():
        with_file = [row for row in group if row.bytes is not None]
        if with_file:
            points.setdefault(codec, []).append(_point(setting, with_file, len(group)))
    return {codec: sorted(curve, key=lambda point: point.bpp) for codec, curve in points.items()}


def bd_rate(anchor: Sequence[Point], curve: Sequence[Point], metric: Metric) -> Delta | None:
    """Bjontegaard delta rate (ITU-T VCEG-M33), piecewise cubic as in JCT-VC's test conditions.

    Only complete points count, and of these only points with a higher score than every smaller
    one. The difference of the logarithms of rate is averaged over the scores that both curves
    reach, without extrapolation. None if there are no such scores, or if a curve has fewer than
    two points.
    """
    from bjontegaard import bd_rate as delta

    (rates, scores), (curve_rates, curve_scores) = (
        _monotone(points, metric) for points in (anchor, curve)
    )
    if min(len(scores), len(curve_scores)) < 2:
        return None
    common = min(scores[-1], curve_scores[-1]) - max(scores[0], curve_scores[0])
    if common <= 0:
        return None
    overlap = common / (max(scores[-1], curve_scores[-1]) - min(scores[0], curve_scores[0]))
    options = {"method": "pchip", "require_matching_points": False, "min_overlap": 0}
    percent = delta(rates, scores, curve_rates, curve_scores, **options)
    return Delta(float(percent), float(overlap))


def write_compressai(points: dict[str, list[Point]], folder: Path, description: str) -> None:
    """Write one file per codec in the schema of CompressAI's results (complete points only)."""
    folder.mkdir(parents=True, exist_ok=True)
    for codec, curve in points.items():
        complete = [point for point in curve if point.complete]
        if not complete:
            continue
        results = {"bpp": [point.bpp for point in complete]}
        for metric in complete[0].scores:
            values = [point.scores[metric] for point in complete]
            if not np.isfinite(values).all():  # JSON has no NaN
                continue
            results[COMPRESSAI.get(metric, metric)] = values
        data = {"name": codec, "description": description, "results": results}
        (folder / f"{codec}.json").write_text(json.dumps(data, indent=2, allow_nan=False) + "\n")


def _point(setting: str, rows: list[Row], total: int) -> Point:
    """Means over rows that all have a file."""
    scores = {name: float(np.mean([row.scores[name] for row in rows])) for name in rows[0].scores}
    size, bpp = (
        float(np.mean(values))
        for values in zip(*[(row.bytes, row.bpp) for row in rows], strict=True)
    )
    return Point(setting, size, bpp, scores, len(rows), total)


def _monotone(points: Sequence[Point], metric: Metric) -> tuple[list[float], list[float]]:
    """Rates and scores of the complete points that are better than every smaller one."""
    rates: list[float] = []
    scores: list[float] = []
    for point in points:
        score = point.scores[metric.name] * (1 if metric.higher else -1)
        if point.complete and np.isfinite(score) and (not scores or score > scores[-1]):
            rates.append(point.bpp)
            scores.append(score)
    return rates, scores
