"""The command line, `odp`: one file for each verb."""

from __future__ import annotations

import os
import signal
import sys
import warnings

import typer

from onedpiece.errors import OdpError

app = typer.Typer(
    name="odp",
    help="Pictures as short sequences of tokens: the One-D-Piece image codec.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)


def load_verbs() -> None:
    """Import the verbs, which adds them to `app`."""
    from onedpiece.cli import (  # noqa: F401
        analyze,
        bench,
        dataset,
        decode,
        encode,
        info,
        models,
        placeholder,
        train,
        truncate,
        verify,
        view,
    )


def main() -> None:
    """Entry point. A failure prints one line on stderr; exit code 1, or 2 for wrong usage."""
    load_verbs()
    _open_streams()
    warnings.formatwarning = lambda message, *_: f"odp: {message}\n"
    # A file name that is not valid Unicode must not stop a listing.
    sys.stdout.reconfigure(errors="backslashreplace")  # type: ignore[union-attr]
    # An exception runs `finally`, which removes partial files.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    try:
        app()
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


def _open_streams() -> None:
    """Replace standard streams that are closed by the null device."""
    for name, mode in (("stdin", "r"), ("stdout", "w"), ("stderr", "w")):
        if getattr(sys, name) is None:
            setattr(sys, name, open(os.devnull, mode))  # noqa: SIM115


def _version(value: bool) -> None:
    if value:
        import onedpiece

        print(f"odp {onedpiece.__version__}")
        raise typer.Exit


@app.callback()
def root(  # noqa: D103  (its docstring would be the help)
    debug: bool = typer.Option(
        False, "--debug", help="Show a traceback on failure. Must precede the verb."
    ),
    version: bool = typer.Option(
        False, "--version", callback=_version, is_eager=True, help="Print the version."
    ),
) -> None:
    if debug:
        os.environ["ODP_DEBUG"] = "1"
