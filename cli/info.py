"""`odp info`: what files contain; needs no network."""

from __future__ import annotations

import json as json_module
from pathlib import Path
from typing import Any

from onedpiece.cli import files, options, pipeline
from onedpiece.cli.inputs import Inputs
from onedpiece.cli.report import Report, pluralise


def info(
    paths: options.OdpFiles = None,
    recursive: options.Recursive = False,
    files_from: options.FilesFrom = None,
    model: options.ExtraModel = None,
    json: options.Json = False,
) -> None:
    """Show dimensions, tokens, model and bytes of .odp files."""
    from onedpiece import api

    def inspect(path: Path) -> None:
        fields = {"input": str(path), **api.info(files.read(path), model=model)}
        print(json_module.dumps(fields) if json else _lines(fields))

    inputs = Inputs(paths or [], None, files_from, recursive)
    failures = pipeline.survey(inputs, inspect, Report(quiet=False, json=json))
    options.exit_after(failures)


def _lines(fields: dict[str, Any]) -> str:
    tiles = pluralise(fields["tiles"], "tile")
    tiles += " of " if fields["density"] == 1 else f" at density {fields['density']}, "
    tokens = ("about " if fields["adaptive"] else "") + pluralise(fields["tokens"], "token")
    if fields["density"] > 1:
        tokens += " for 256x256 pixels"
    if fields["tokens_here"] is None:
        tokens += " (not readable without the model)"
    elif fields["tokens_here"] != fields["tokens_in_all"]:
        tokens += (
            f" (truncated: {fields['tokens_here']} of {fields['tokens_in_all']} tokens present)"
        )
    sections = " + ".join(
        f"{size} {name}" for name, size in fields["bytes_by_section"].items() if size
    )
    if fields["alpha_bytes"]:
        sections += f"; alpha {fields['alpha_bytes']}"
    if fields["metadata"]:
        sections += f"; with {', '.join(fields['metadata'])}"
    bpp = 8 * fields["bytes"] / (fields["width"] * fields["height"])
    token_set = fields["token_set"] or "not installed"
    return (
        f"{fields['input']}: {fields['width']}x{fields['height']} {fields['mode']}, "
        f"{tiles}{tokens}\n"
        f"  token set {fields['model']} ({token_set}), {fields['bytes']} bytes ({sections}), "
        f"{bpp:.4f} bpp"
    )
