"""Run the verbs of single files without Typer, whose import takes longer than some of them run.

Whatever is not plain and valid here (help, an unknown option, a number out of range) is left to
Typer, which knows what to say about it.
"""

from __future__ import annotations

import importlib
import os
import re
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple, get_args, get_origin, get_type_hints

from onedpiece.cli.inputs import UsageError
from onedpiece.cli.options import Argument, Option

VERBS = {"encode", "decode", "truncate", "info", "verify"}
NUMBERS = {int: re.compile("0|[1-9][0-9]*"), float: re.compile(r"[0-9]+(\.[0-9]+)?")}

Call = Callable[[], None]


class Parameter(NamedTuple):
    """A parameter of a verb: its name in Python, its type, and how it is declared."""

    name: str
    type: Any
    declared: Argument | Option


def parse(arguments: list[str]) -> Call | None:
    """The call of a verb for the arguments of `odp`; None if Typer must look at them."""
    if not arguments or arguments[0] not in VERBS:
        return None
    verb = getattr(importlib.import_module(f"onedpiece.cli.{arguments[0]}"), arguments[0])
    parameters = _parameters(verb)
    try:
        values, paths = _options(arguments[1:], parameters)
        return partial(verb, **values, **_arguments(paths, parameters))
    except ValueError:
        return None


def run(call: Call) -> UsageError | None:
    """Run a verb. Returns why its arguments do not fit together, if they do not."""
    # NumPy starts threads for linear algebra when it is imported, which takes a third of that time.
    # These verbs have none that is large; the networks have threads of their own.
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
    try:
        call()
    except UsageError as error:
        return error
    return None


def _parameters(verb: Callable[..., None]) -> list[Parameter]:
    hints = get_type_hints(verb, include_extras=True)
    del hints["return"]
    return [
        Parameter(name, _without_none(get_args(hint)[0]), get_args(hint)[1])
        for name, hint in hints.items()
    ]


def _without_none(kind: Any) -> Any:
    """The type T of `T | None`; other types as they are."""
    parts = get_args(kind)
    return parts[0] if type(None) in parts else kind


def _options(arguments: list[str], parameters: list[Parameter]) -> tuple[dict[str, Any], list[str]]:
    """Values of options by parameter, and the other arguments. Raises ValueError."""
    options = {
        flag: parameter
        for parameter in parameters
        if isinstance(parameter.declared, Option)
        for flag in parameter.declared.flags or ("--" + parameter.name.replace("_", "-"),)
    }
    values: dict[str, Any] = {}
    others, rest = [], iter(arguments)
    for argument in rest:
        if argument == "-" or not argument.startswith("-"):
            others.append(argument)
            continue
        flag, equals, text = argument.partition("=") if argument[1] == "-" else (argument, "", "")
        if flag not in options:
            raise ValueError("an unknown option")
        option = options[flag]
        if option.type is bool:
            if equals:
                raise ValueError("a switch takes no value")
            values[option.name] = True
        else:
            values[option.name] = _value(option, text if equals else next(rest, ""))
    return values, others


def _arguments(texts: list[str], parameters: list[Parameter]) -> dict[str, Any]:
    """Values of arguments without a name, by parameter. Raises ValueError."""
    arguments = [one for one in parameters if isinstance(one.declared, Argument)]
    if "" in texts:
        raise ValueError("an empty path")
    if get_origin(arguments[0].type) is list:
        return {arguments[0].name: [Path(text) for text in texts]}
    pairs = zip(arguments, texts, strict=True)
    return {argument.name: Path(text) for argument, text in pairs}


def _value(option: Parameter, text: str) -> Any:
    """The value of an option. Raises ValueError."""
    if not text or (text.startswith("-") and text != "-"):
        raise ValueError("no value")
    if option.type not in NUMBERS:
        return option.type(text)
    if not NUMBERS[option.type].fullmatch(text):
        raise ValueError("not a plain number")
    value = option.type(text)
    low, high = (option.declared.settings.get(name, value) for name in ("min", "max"))
    if not low <= value <= high:
        raise ValueError("out of range")
    return value
