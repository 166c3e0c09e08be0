"""`odp info`: what a file holds, without any network."""

from __future__ import annotations

import json as json_module
from pathlib import Path
from typing import Annotated, Any

import typer

from onedpiece.cli import app, options


@app.command()
def info(
    paths: Annotated[list[Path], typer.Argument(metavar="FILE...", help=".odp files; - is stdin.")],
    json: options.Json = False,
) -> None:
    """Show dimensions, tokens, model and bytes of .odp files."""
    from onedpiece.cli import batch, files
    from onedpiece.errors import OdpError

    failed = False
    for path in paths:
        try:
            facts = {"input": str(path), **describe(files.read(path))}
        except OdpError as error:
            failed = True
            batch.Report(quiet=False, json=json).failed(path, error)
            continue
        print(json_module.dumps(facts) if json else _lines(facts))
    if failed:
        raise typer.Exit(1)


def describe(data: bytes) -> dict[str, Any]:
    """Everything the bytes of a file say. Raises OdpError."""
    from onedpiece.bitstream import MAX_SIDE, parse
    from onedpiece.models.registry import installed

    file = parse(data, max_pixels=MAX_SIDE**2)  # nothing is painted, so nothing is too large
    header = file.header
    names = [model.name for model in installed() if model.key == header.model]
    return {
        "width": header.width,
        "height": header.height,
        "mode": "grey" if header.grey else "RGB",
        "tiles": header.grid.count,
        "overlap": header.overlap,
        "tokens": header.tokens_per_tile,
        "tokens_here": file.complete_tokens,
        "model": header.model.hex(),
        "model_name": names[0] if names else None,
        "bytes": file.size,
        "bytes_by_part": file.sizes(),
        "bpp": round(8 * file.size / header.pixels, 5),
    }


def _lines(facts: dict[str, Any]) -> str:
    tokens = f"{facts['tokens']} tokens"
    if facts["tokens_here"] != facts["tokens"]:
        tokens += f" (cut: {facts['tokens_here']} are here)"
    parts = " + ".join(f"{size} {part}" for part, size in facts["bytes_by_part"].items() if size)
    name = facts["model_name"] or "not installed"
    return (
        f"{facts['input']}: {facts['width']}x{facts['height']} {facts['mode']}, "
        f"{facts['tiles']} tile{'s' if facts['tiles'] > 1 else ''} of {tokens}\n"
        f"  model {facts['model']} ({name}), {facts['bytes']} bytes ({parts}), {facts['bpp']:.4f} bpp"
    )
