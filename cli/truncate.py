"""`odp truncate`: a smaller file from a larger one, without any network."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from onedpiece.cli import app, options


@app.command()
def truncate(
    source: Annotated[
        Path, typer.Argument(metavar="IN", help=".odp file; - is stdin.", readable=False)
    ],
    target: Annotated[
        Path, typer.Argument(metavar="OUT", help=".odp file; - is stdout.", readable=False)
    ],
    tokens: Annotated[
        int | None,
        typer.Option("--tokens", "-n", min=1, max=256, help="Tokens to keep of each tile."),
    ] = None,
    max_bytes: Annotated[
        int | None, typer.Option("--bytes", min=1, help="Whole file at most so many bytes.")
    ] = None,
    force: options.Force = False,
) -> None:
    """Keep only the first tokens: the bytes that encoding with so few would give.

    With --bytes that is so if the file was made for --bytes, --bpp, --psnr or with --adaptive.
    """
    from onedpiece import bitstream
    from onedpiece.cli import files
    from onedpiece.errors import OdpError

    if (tokens is None) == (max_bytes is None):
        raise typer.BadParameter("give --tokens or --bytes")
    files.check_free(target, force)
    try:
        data = bitstream.truncate(
            files.read(source), tokens, max_bytes, max_pixels=bitstream.MAX_SIDE**2
        )
    except OdpError as error:
        raise type(error)(f"{source}: {error}") from error
    files.write(target, data, force)
