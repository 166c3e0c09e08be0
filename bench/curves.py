"""Mean curves over all pictures, what lies between two of them, and the JSON that CompressAI's tools read."""

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
    """Means over the pictures of one codec and setting.

    bytes, bpp, scores: means over those that have a file.
    pictures:           how many those are, of `of`.
    """

    setting: str
    bytes: float
    bpp: float
    scores: dict[str, float]
    pictures: int
    of: int

    @property
    def complete(self) -> bool:
        """Whether every picture has a file; else the means are of other pictures than elsewhere."""
        return self.pictures == self.of


@dataclass(frozen=True)
class Delta:
    """Bjontegaard's difference of a curve from an anchor.

    percent: mean difference in rate at equal quality; negative if the curve needs fewer bytes.
    overlap: share of the range of quality of both curves together on which both are known, and which was integrated.
    """

    percent: float
    overlap: float


def curves(rows: Iterable[Row]) -> dict[str, list[Point]]:
    """Codec -> points by rising rate; settings of which no picture has a file are left out."""
    grouped: dict[tuple[str, str], list[Row]] = {}
    for row in rows:
        grouped.setdefault((row.codec, row.setting), []).append(row)
    found: dict[str, list[Point]] = {}
    for (codec, setting), group in grouped.items():
        made = [row for row in group if row.bytes is not None]
        if made:
            found.setdefault(codec, []).append(_point(setting, made, len(group)))
    return {codec: sorted(points, key=lambda point: point.bpp) for codec, points in found.items()}


def bd_rate(anchor: Sequence[Point], curve: Sequence[Point], metric: Metric) -> Delta | None:
    """Bjontegaard's delta of rate (ITU-T VCEG-M33), piecewise cubic as in the JCT-VC's common test conditions.

    Only complete points count, and of them those with a higher score than all before: between such points a curve says
    at what rate a quality is reached. The mean of the difference of the logarithms of rate is taken over the scores
    that both curves reach, never beyond. None if there are none, or less than two points on a curve.
    """
    from bjontegaard import bd_rate as delta

    (rates, scores), (own_rates, own_scores) = (_rising(c, metric) for c in (anchor, curve))
    if min(len(scores), len(own_scores)) < 2:
        return None
    common = min(scores[-1], own_scores[-1]) - max(scores[0], own_scores[0])
    if common <= 0:
        return None
    overlap = common / (max(scores[-1], own_scores[-1]) - min(scores[0], own_scores[0]))
    percent = delta(
        rates, scores, own_rates, own_scores, "pchip", require_matching_points=False, min_overlap=0
    )
    return Delta(float(percent), float(overlap))


def write_compressai(found: dict[str, list[Point]], folder: Path, about: str) -> None:
    """One file for each codec, in the schema of CompressAI's results: name, description, results."""
    folder.mkdir(parents=True, exist_ok=True)
    for codec, points in found.items():
        complete = [point for point in points if point.complete]
        if not complete:
            continue
        results = {"bpp": [point.bpp for point in complete]}
        for metric in complete[0].scores:
            values = [point.scores[metric] for point in complete]
            results[COMPRESSAI.get(metric, metric)] = values
        data = {"name": codec, "description": about, "results": results}
        (folder / f"{codec}.json").write_text(json.dumps(data, indent=2) + "\n")


def _point(setting: str, made: list[Row], of: int) -> Point:
    scores = {name: float(np.mean([row.scores[name] for row in made])) for name in made[0].scores}
    size, bpp = (
        float(np.mean(values)) for values in zip(*[(r.bytes, r.bpp) for r in made], strict=True)
    )
    return Point(setting, size, bpp, scores, len(made), of)


def _rising(points: Sequence[Point], metric: Metric) -> tuple[list[float], list[float]]:
    """Rates and scores of the complete points that are better than all smaller ones."""
    rates: list[float] = []
    scores: list[float] = []
    for point in points:
        score = point.scores[metric.name] * (1 if metric.higher else -1)
        if point.complete and np.isfinite(score) and (not scores or score > scores[-1]):
            rates.append(point.bpp)
            scores.append(score)
    return rates, scores
