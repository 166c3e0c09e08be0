"""`odp verify`: whether files are complete and valid; needs no network."""

from __future__ import annotations

import json as json_module
from pathlib import Path

from onedpiece.cli import app, files, options, pipeline
from onedpiece.cli.inputs import Inputs
from onedpiece.cli.report import Report, truncation


@app.command()
def verify(
    paths: options.OdpFiles = None,
    recursive: options.Recursive = False,
    files_from: options.FilesFrom = None,
    quiet: options.Quiet = False,
    json: options.Json = False,
) -> None:
    """Check that .odp files are complete and valid, and that their model is installed.

    Tokens have no checksum: a wrong token gives a wrong picture, not an error.
    """
    from onedpiece.bitstream import ALPHA, EXIF, ICC, MAX_SIDE, XMP, expand, parse
    from onedpiece.bitstream.alpha import unpack_alpha
    from onedpiece.errors import DamagedFile
    from onedpiece.models.registry import find_by_key

    def look(path: Path) -> None:
        file = parse(files.read(path), max_pixels=MAX_SIDE**2)  # nothing is decoded
        if file.is_cut:
            raise DamagedFile(truncation(file))
        alpha = file.part(ALPHA)
        if alpha is not None:
            unpack_alpha(alpha, file.header.width, file.header.height)
        for part in file.parts:
            if part.kind in (EXIF, ICC, XMP):
                expand(part.data)
        find_by_key(file.header.model)
        if json:
            print(json_module.dumps({"input": str(path), "complete": True}))
        elif not quiet:
            print(f"{path}: complete")

    inputs = Inputs(paths or [], None, files_from, recursive)
    with options.usage_errors():
        failures = pipeline.survey(inputs, look, Report(quiet, json))
    options.exit_after(failures)
