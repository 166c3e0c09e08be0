"""The verbs as an application of Typer: help, all forms of arguments, completion."""

from __future__ import annotations

import importlib
import inspect
import os
from collections.abc import Callable, Iterable
from functools import wraps
from typing import Annotated, Any, get_args, get_origin, get_type_hints

import typer

from onedpiece.cli import options
from onedpiece.cli.inputs import UsageError

VERBS = {
    "encode": "Encode pictures as .odp files.",
    "decode": "Decode .odp files, also truncated ones, to PNG or the format of OUT's extension.",
    "truncate": "Keep only the first tokens.",
    "info": "Show dimensions, tokens, model and bytes of .odp files.",
    "verify": "Check that .odp files are complete and valid.",
    "view": "Show .odp files and other pictures in the terminal.",
    "placeholder": "Print pictures in a few bytes as data URIs for web pages, one a line.",
    "dataset": "Encode many pictures into Parquet files of tokens (needs the datasets extra).",
    "models": "List (the default), download, import, tune, export and remove models.",
    "train": "Train decoders for your own pictures (needs the torch extra).",
    "serve": "Show the demo page: encode and decode in the browser, beside WebP.",
    "doctor": "Check ONNX Runtime, CUDA and cuDNN, the models, and decode on each device.",
    "analyze": "Measure how much, and where, each token changes the picture.",
    "bench": "Measure the codec.",
}
"""Each verb, with what the list of verbs says about it."""

Verb = Callable[..., None]


def build(arguments: Iterable[str] = VERBS, refused: UsageError | None = None) -> typer.Typer:
    """The application, with those of the verbs loaded that the arguments name.

    refused: what is wrong with the arguments, if a verb has found it out already.
    """
    app = typer.Typer(
        name="odp",
        help="Pictures as short sequences of tokens: the One-D-Piece image codec.",
        no_args_is_help=True,
        pretty_exceptions_enable=False,
        rich_markup_mode=None,
    )
    app.callback()(_root)
    completing = "_ODP_COMPLETE" in os.environ
    named = set(VERBS if completing else arguments)
    for name, text in VERBS.items():
        if name not in named:
            app.command(name, help=text)(lambda: None)
            continue
        verb = getattr(importlib.import_module(f"onedpiece.cli.{name}"), name)
        if isinstance(verb, typer.Typer):
            app.add_typer(verb, name=name)
        else:
            app.command(name)(typed(verb, refused))
    return app


def command(group: typer.Typer, name: str | None = None) -> Callable[[Verb], Verb]:
    """Decorator that adds a verb to a group."""

    def add(verb: Verb) -> Verb:
        group.command(name)(typed(verb))
        return verb

    return add


def typed(verb: Verb, refused: UsageError | None = None) -> Verb:
    """The verb with the parameters of `options` as Typer's. Wrong usage exits with code 2."""

    @wraps(verb)
    def call(**values: Any) -> None:
        try:
            if refused:
                raise refused
            verb(**values)
        except UsageError as error:
            raise typer.BadParameter(str(error)) from error

    hints = {
        name: _translated(hint) for name, hint in get_type_hints(verb, include_extras=True).items()
    }
    signature = inspect.signature(verb)
    parameters = [
        parameter.replace(annotation=hints[name])
        for name, parameter in signature.parameters.items()
    ]
    call.__signature__ = signature.replace(parameters=parameters)  # type: ignore[attr-defined]
    call.__annotations__ = hints
    del call.__wrapped__
    return call


def _translated(hint: Any) -> Any:
    """A type hint with Typer's argument or option in the place of one of `options`."""
    if get_origin(hint) is not Annotated:
        return hint
    kind, declared = get_args(hint)
    if isinstance(declared, options.Option):
        return Annotated[kind, typer.Option(*declared.flags, **declared.settings)]
    if isinstance(declared, options.Argument):
        return Annotated[kind, typer.Argument(**declared.settings)]
    return hint


def _version(value: bool) -> None:
    if value:
        import onedpiece

        print(f"odp {onedpiece.__version__}")
        raise typer.Exit


def _root(
    debug: bool = typer.Option(
        False, "--debug", help="Show a traceback on failure. Must precede the verb."
    ),
    version: bool = typer.Option(
        False, "--version", callback=_version, is_eager=True, help="Print the version."
    ),
) -> None:
    if debug:
        os.environ["ODP_DEBUG"] = "1"
