"""`odp verify`: whether files are complete and valid; needs no network."""

from __future__ import annotations

import json as json_module
from pathlib import Path

from onedpiece.cli import files, options, pipeline
from onedpiece.cli.inputs import Inputs
from onedpiece.cli.report import Report


def verify(
    paths: options.OdpFiles = None,
    recursive: options.Recursive = False,
    files_from: options.FilesFrom = None,
    model: options.ExtraModel = None,
    quiet: options.Quiet = False,
    json: options.Json = False,
) -> None:
    """Check that .odp files are complete and valid.

    Tokens have no checksum: a wrong token gives a wrong picture, not an error. Tokens that are
    entropy-coded can be checked only where their model is installed, or named with --model.
    """
    from onedpiece import api

    def inspect(path: Path) -> None:
        data = files.read(path)
        api.verify(data, model=model)
        installed = api.info(data, model=model)["model_name"] is not None
        if json:
            fields = {"input": str(path), "complete": True, "model_installed": installed}
            print(json_module.dumps(fields))
        elif not quiet:
            print(f"{path}: complete" + ("" if installed else ", but its model is not installed"))

    inputs = Inputs(paths or [], None, files_from, recursive)
    failures = pipeline.survey(inputs, inspect, Report(quiet, json))
    options.exit_after(failures)
