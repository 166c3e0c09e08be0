"""`odp verify`: whether files are complete and undamaged, without any network."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from onedpiece.cli import app, options


@app.command()
def verify(
    paths: Annotated[list[Path], typer.Argument(metavar="FILE...", help=".odp files; - is stdin.")],
    quiet: options.Quiet = False,
) -> None:
    """Check that .odp files are complete, keep the rules of the format and name an installed model.

    Tokens carry no checksum: a wrong one is a wrong picture, not an error.
    """
    from onedpiece.alpha import unpack_alpha
    from onedpiece.bitstream import ALPHA, EXIF, ICC, XMP, expand, parse
    from onedpiece.cli import batch, files
    from onedpiece.errors import DamagedFile, OdpError
    from onedpiece.models.registry import find_by_key

    failed = False
    for path in paths:
        try:
            file = parse(files.read(path))
            if file.is_cut:
                total = file.allocation.total
                raise DamagedFile(f"the file is cut: {file.arrived} of {total} tokens are here")
            alpha = file.part(ALPHA)
            if alpha is not None:
                unpack_alpha(alpha, file.header.width, file.header.height)
            for part in file.parts:
                if part.kind in (EXIF, ICC, XMP):
                    expand(part.data)
            find_by_key(file.header.model)
        except OdpError as error:
            failed = True
            batch.Report(quiet, json=False).failed(path, error)
            continue
        if not quiet:
            print(f"{path}: complete")
    if failed:
        raise typer.Exit(1)
