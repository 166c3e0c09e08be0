"""`odp truncate`: a smaller file from a larger one; needs no network."""

from __future__ import annotations

from onedpiece.cli import files, options
from onedpiece.cli.inputs import UsageError


def truncate(
    source: options.OdpIn,
    target: options.OdpOut,
    tokens: options.TruncateTokens = None,
    max_bytes: options.MaxBytes = None,
    model: options.ExtraModel = None,
    force: options.Force = False,
) -> None:
    """Keep only the first tokens.

    A file encoded with --tokens becomes what encoding with so few tokens gives. One that was made
    with --bytes, --bpp, --psnr or --adaptive keeps the shares of its tiles.
    """
    from onedpiece import api
    from onedpiece.errors import OdpError

    if (tokens is None) == (max_bytes is None):
        raise UsageError("give either --tokens or --bytes")
    files.check_free(target, force)
    try:
        data = api.truncate(files.read(source), tokens, max_bytes=max_bytes, model=model)
    except OdpError as error:
        raise type(error)(f"{source}: {error}") from error
    files.write(target, data, force)
