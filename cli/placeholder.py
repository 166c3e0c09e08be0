"""`odp placeholder`: pictures in a few bytes, as text for web pages."""

from __future__ import annotations

import json as json_module
from pathlib import Path
from typing import Annotated

from onedpiece.cli import files, options, pipeline
from onedpiece.cli.inputs import Inputs, UsageError
from onedpiece.cli.report import Report


def placeholder(
    paths: options.PicturesOrOdpFiles,
    max_bytes: Annotated[
        int, options.Option("--bytes", min=1, help="Maximum size of a placeholder in bytes.")
    ] = 60,
    html: Annotated[bool, options.Option("--html", help="Print elements <odp-picture>.")] = False,
    json: options.Json = False,
) -> None:
    """Print pictures in a few bytes as data URIs for web pages, one a line."""
    from onedpiece.images.reader import suffixes
    from onedpiece.placeholder import placeholder as make

    if html and json:
        raise UsageError("give only one of --html and --json")

    files.quieten_pillow()

    def inspect(path: Path) -> None:
        data = files.read(path)
        small = make(data, max_bytes)
        if json:
            fields = {
                "input": str(path),
                "width": small.width,
                "height": small.height,
                "color": small.color,
                "bytes": len(small.data),
                "placeholder": small.uri,
            }
            print(json_module.dumps(fields))
        elif html:
            is_shown = path.suffix.lower() == ".odp"  # others are no source of the element
            print(small.to_html(path.as_posix() if is_shown else None))
        else:
            print(small.uri)

    inputs = Inputs(paths, None, noun="pictures")
    with files.silence_c_libraries():
        report = Report(quiet=False, json=json)
        failures = pipeline.survey(inputs, inspect, report, suffixes() | {".odp"})
    options.exit_after(failures)
