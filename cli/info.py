"""`odp info`: what a file holds, without any network."""

from __future__ import annotations

import json as json_module
from pathlib import Path
from typing import Any

from onedpiece.cli import app, options


@app.command()
def info(
    paths: options.OdpFiles = None,
    recursive: options.Recursive = False,
    files_from: options.FilesFrom = None,
    json: options.Json = False,
) -> None:
    """Show dimensions, tokens, model and bytes of .odp files."""
    from onedpiece.cli import batch, files

    def look(path: Path) -> None:
        facts = {"input": str(path), **describe(files.read(path))}
        print(json_module.dumps(facts) if json else _lines(facts))

    inputs = batch.Inputs(paths or [], None, files_from, recursive)
    batch.survey(inputs, look, batch.Report(quiet=False, json=json))


def describe(data: bytes) -> dict[str, Any]:
    """Everything the bytes of a file say. Raises OdpError."""
    from onedpiece.bitstream import ALPHA, EXIF, ICC, MAX_SIDE, XMP, parse
    from onedpiece.models.registry import installed

    file = parse(data, max_pixels=MAX_SIDE**2)  # nothing is painted, so nothing is too large
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
    from onedpiece.cli.batch import counted

    tokens = ("about " if facts["adaptive"] else "") + counted(facts["tokens"], "token")
    if facts["tokens_here"] != facts["tokens_in_all"]:
        tokens += f" (cut: {facts['tokens_here']} of {facts['tokens_in_all']} in all are here)"
    parts = " + ".join(f"{size} {part}" for part, size in facts["bytes_by_part"].items() if size)
    if facts["alpha_bytes"]:
        parts += f"; alpha {facts['alpha_bytes']}"
    if facts["metadata"]:
        parts += f"; with {', '.join(facts['metadata'])}"
    name = facts["model_name"] or "not installed"
    return (
        f"{facts['input']}: {facts['width']}x{facts['height']} {facts['mode']}, "
        f"{counted(facts['tiles'], 'tile')} of {tokens}\n"
        f"  model {facts['model']} ({name}), {facts['bytes']} bytes ({parts}), {facts['bpp']:.4f} bpp"
    )
