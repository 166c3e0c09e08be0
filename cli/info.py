"""`odp info`: what files contain; needs no network."""

from __future__ import annotations

import json as json_module
from pathlib import Path
from typing import Any

from onedpiece.cli import app, files, options, pipeline
from onedpiece.cli.inputs import Inputs
from onedpiece.cli.report import Report, pluralise


@app.command()
def info(
    paths: options.OdpFiles = None,
    recursive: options.Recursive = False,
    files_from: options.FilesFrom = None,
    json: options.Json = False,
) -> None:
    """Show dimensions, tokens, model and bytes of .odp files."""

    def inspect(path: Path) -> None:
        facts = {"input": str(path), **describe(files.read(path))}
        print(json_module.dumps(facts) if json else _lines(facts))

    inputs = Inputs(paths or [], None, files_from, recursive)
    with options.usage_errors():
        failures = pipeline.survey(inputs, inspect, Report(quiet=False, json=json))
    options.exit_after(failures)


def describe(data: bytes) -> dict[str, Any]:
    """Everything that a file says about itself. Raises OdpError."""
    from onedpiece.bitstream import ALPHA, EXIF, ICC, MAX_SIDE, XMP, parse
    from onedpiece.models.registry import installed

    file = parse(data, max_pixels=MAX_SIDE**2)  # nothing is decoded, so no picture is too large
    header = file.header
    alpha = file.part(ALPHA)
    names = [model.name for model in installed() if model.key == header.model]
    return {
        "width": header.width,
        "height": header.height,
        "mode": ("grey" if header.grey else "RGB") + ("" if alpha is None else " with alpha"),
        "tiles": header.grid.count,
        "overlap": header.overlap,
        "coding": "entropy" if header.entropy_coded else "12 bits",
        "scaled": header.scaled,
        "tokens": header.tokens_per_tile,
        "adaptive": file.allocation.levels is not None,
        "tokens_in_all": file.allocation.total,
        "tokens_here": file.arrived,
        "model": header.model.hex(),
        "model_name": names[0] if names else None,
        "bytes": file.size,
        "bytes_by_part": file.sizes(),
        "alpha_bytes": 0 if alpha is None else len(alpha),
        "metadata": [
            name for name, kind in (("exif", EXIF), ("icc", ICC), ("xmp", XMP)) if file.part(kind)
        ],
        "bpp": round(8 * file.size / header.pixels, 5),
    }


def _lines(facts: dict[str, Any]) -> str:
    tokens = ("about " if facts["adaptive"] else "") + pluralise(facts["tokens"], "token")
    if facts["tokens_here"] != facts["tokens_in_all"]:
        tokens += f" (truncated: {facts['tokens_here']} of {facts['tokens_in_all']} tokens present)"
    parts = " + ".join(f"{size} {part}" for part, size in facts["bytes_by_part"].items() if size)
    if facts["alpha_bytes"]:
        parts += f"; alpha {facts['alpha_bytes']}"
    if facts["metadata"]:
        parts += f"; with {', '.join(facts['metadata'])}"
    name = facts["model_name"] or "not installed"
    return (
        f"{facts['input']}: {facts['width']}x{facts['height']} {facts['mode']}, "
        f"{pluralise(facts['tiles'], 'tile')} of {tokens}\n"
        f"  model {facts['model']} ({name}), {facts['bytes']} bytes ({parts}), "
        f"{facts['bpp']:.4f} bpp"
    )
