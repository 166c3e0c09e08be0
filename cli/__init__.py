"""The command line, `odp`: one file for each verb.

A verb is a function whose parameters `options` declares. `quick` runs it for plain arguments. For
all others, for help and for messages about wrong usage, `typed` builds an application of Typer.
"""

from __future__ import annotations

import os
import signal
import sys
import warnings

from onedpiece.errors import OdpError


def command() -> None:
    """Run `odp`. Verbs of single files exit without unloading their networks.

    Unloading takes tens of milliseconds, and the system frees the memory in any case.
    """
    try:
        main()
    except SystemExit as end:  # its traceback keeps the networks loaded
        from onedpiece.cli.quick import VERBS

        if not VERBS.intersection(sys.argv[1:2]) or isinstance(end.code, str):
            raise
        sys.stderr.flush()
        os._exit(end.code or 0)


def main() -> None:
    """Run a verb, and exit. A failure prints one line on stderr; code 1, or 2 for wrong usage."""
    _open_streams()
    warnings.formatwarning = lambda message, *_: f"odp: {message}\n"
    # A file name that is not valid Unicode must not stop a listing.
    sys.stdout.reconfigure(errors="backslashreplace")  # type: ignore[union-attr]
    # An exception runs `finally`, which removes partial files.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    try:
        try:
            _run(sys.argv[1:])
        finally:
            sys.stdout.flush()
    except KeyboardInterrupt:
        sys.exit(130)
    except BrokenPipeError:
        # The reader has closed our stdout. Python must not fail when it flushes stdout at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(1)
    except (OdpError, OSError) as error:
        if os.environ.get("ODP_DEBUG"):
            raise
        print(f"odp: {error}", file=sys.stderr)
        sys.exit(1)


def _run(arguments: list[str]) -> None:
    from onedpiece.cli import quick

    call = quick.parse(arguments)
    refused = None
    if call is not None:
        refused = quick.run(call)
        if refused is None:
            sys.exit(0)
    # Typer takes as long to import as some verbs to run.
    from onedpiece.cli import typed

    typed.build(arguments, refused)()


def _open_streams() -> None:
    """Replace standard streams that are closed by the null device."""
    for name, mode in (("stdin", "r"), ("stdout", "w"), ("stderr", "w")):
        if getattr(sys, name) is None:
            setattr(sys, name, open(os.devnull, mode))  # noqa: SIM115
