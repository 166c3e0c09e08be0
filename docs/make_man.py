"""Write the manual page docs/odp.1 from the help of the command line.

python docs/make_man.py
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from enum import Enum
from pathlib import Path
from typing import Any

from typer.main import get_command

import onedpiece
from onedpiece.cli import typed

TARGET = Path(__file__).parent / "odp.1"
EXIT_CODES = {
    "0": "Success.",
    "1": "Something failed; one line on standard error for each failure.",
    "2": "Wrong usage.",
    "130, 143": "Interrupted, terminated; no partial output is left.",
}
VARIABLES = {
    "ODP_MODELS": "Folders in which models are looked for, separated as in PATH.",
    "ODP_DEBUG": "If set, tracebacks are printed, as with --debug.",
}


def render() -> str:
    """The manual page in the macros of man(7)."""
    program = get_command(typed.build())
    lines = [
        f'.TH ODP 1 "" "onedpiece {onedpiece.__version__}" "User Commands"',
        ".SH NAME",
        rf"odp \- {_escape('pictures as short sequences of tokens')}",
        ".SH SYNOPSIS",
        r".B odp",
        r"[\fIoptions\fR] \fIverb\fR [\fIarguments\fR]",
        ".SH DESCRIPTION",
        *_paragraphs(program.help),
        ".SH OPTIONS",
        *_options(program),
        ".SH VERBS",
        *(line for name, verb in _verbs(program, "odp") for line in _section(name, verb)),
        ".SH EXIT STATUS",
        *_list(EXIT_CODES),
        ".SH ENVIRONMENT",
        *_list(VARIABLES),
        ".SH SEE ALSO",
        "Complete documentation: docs/cli.md in the sources.",
    ]
    return "\n".join(lines) + "\n"


def _verbs(command: Any, name: str) -> Iterator[tuple[str, Any]]:
    """All verbs and the verbs below them, by their full names."""
    for child, verb in command.commands.items():
        full_name = f"{name} {child}"
        yield full_name, verb
        if hasattr(verb, "commands"):
            yield from _verbs(verb, full_name)


def _section(name: str, verb: Any) -> list[str]:
    arguments = " ".join(
        _escape(parameter.metavar or parameter.name.upper())
        for parameter in verb.params
        if not _is_option(parameter)
    )
    if hasattr(verb, "commands"):
        arguments = "verb"
    options = _options(verb)
    usage = rf"\fB{_escape(name)}\fR" + (r" [\fIoptions\fR]" if options else "")
    if arguments:
        usage += rf" \fI{arguments}\fR"
    return [f".SS {_escape(name)}", usage, ".PP", *_paragraphs(verb.help), *options]


def _options(command: Any) -> list[str]:
    lines = []
    for parameter in command.params:
        if not _is_option(parameter):
            continue
        value = "" if parameter.is_flag else rf" \fI{_escape(_value_name(parameter))}\fR"
        names = [rf"\fB{_escape(name)}\fR" for name in parameter.opts]
        names += [rf"\fB{_escape(name)}\fR" for name in parameter.secondary_opts]
        lines += [".TP", ", ".join(names) + value, _escape(_help(parameter))]
    return lines


def _is_option(parameter: Any) -> bool:
    return bool(parameter.opts[0].startswith("-"))


def _value_name(parameter: Any) -> str:
    if isinstance(parameter.default, Enum):
        return "|".join(choice.value for choice in type(parameter.default))
    return str(parameter.metavar or parameter.opts[0].rpartition("-")[2].upper())


def _help(parameter: Any) -> str:
    default = parameter.default
    if parameter.is_flag or default in (None, "", []) or callable(default):
        return str(parameter.help or "")
    return f"{parameter.help} [default: {default.value if isinstance(default, Enum) else default}]"


def _list(items: dict[str, str]) -> list[str]:
    return [
        line
        for name, text in items.items()
        for line in (".TP", rf"\fB{_escape(name)}\fR", _escape(text))
    ]


def _paragraphs(text: str | None) -> list[str]:
    paragraphs = re.split(r"\n\s*\n", (text or "").strip())
    lines = [_escape(" ".join(paragraph.split())) for paragraph in paragraphs]
    return [line for text in lines for line in (text, ".PP")][:-1]


def _escape(text: str) -> str:
    """Text without meaning for the formatter: backslashes, hyphens, and dots that begin a line."""
    text = text.replace("\\", r"\e").replace("-", r"\-")
    return rf"\&{text}" if text.startswith((".", "'")) else text


if __name__ == "__main__":
    TARGET.write_text(render())
