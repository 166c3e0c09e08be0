"""Write docs/api.md from the docstrings of the public package.

python docs/make_api.py
"""

from __future__ import annotations

import inspect
import re
from pathlib import Path

import onedpiece
from onedpiece import errors
from onedpiece.bitstream.chunks import Chunk

TARGET = Path(__file__).parent / "api.md"
FUNCTIONS = ("encode", "decode", "open", "truncate", "info", "verify", "is_odp")
MODEL_FUNCTIONS = ("list", "pull", "import_", "tune", "remove")
CLASSES = (
    onedpiece.EncodedImage,
    onedpiece.Tokenizer,
    onedpiece.Codec,
    onedpiece.Target,
    Chunk,
)

MADE_BY_METHODS = (onedpiece.EncodedImage, onedpiece.Tokenizer)
"""Classes that nobody calls."""


def render() -> str:
    """The document."""
    sections = [
        "# The Python package",
        "This page is made from the docstrings by `python docs/make_api.py`.",
        inspect.getdoc(onedpiece),
        "## Functions",
        *(_function(getattr(onedpiece, name), f"onedpiece.{name}") for name in FUNCTIONS),
        "## Models",
        *(
            _function(getattr(onedpiece.models, name), f"onedpiece.models.{name}")
            for name in MODEL_FUNCTIONS
        ),
        "## Classes",
        *(_class(one) for one in CLASSES),
        "## Errors",
        "All are in `onedpiece.errors`.",
        _errors(),
    ]
    return "\n\n".join(section or "" for section in sections) + "\n"


def _function(function: object, name: str) -> str:
    code = _code(name.rpartition(".")[2] + _signature(function))
    return f"### `{name}`\n\n{code}\n\n{_text(function)}"


def _signature(function: object) -> str:
    """The arguments of a function; annotations are strings, and are shown without quotes."""
    signature = str(inspect.signature(function))  # type: ignore[arg-type]
    signature = re.sub(r"(: |-> )'([^']*)'", r"\1\2", signature)
    return re.sub(r"<function (\w+) at \w+>", r"\1", signature)


def _class(one: type) -> str:
    module = "onedpiece" if one.__name__ in onedpiece.__all__ else one.__module__
    made = [] if one in MADE_BY_METHODS else [_code(one.__name__ + _signature(one))]
    parts = [f"### `{module}.{one.__name__}`", *made, _text(one)]
    for name, member in vars(one).items():
        if name.startswith("_"):
            continue
        if isinstance(member, property) or type(member).__name__ == "cached_property":
            parts.append(f"#### `{name}`\n\n{_text(member)}")
        elif isinstance(member, classmethod | staticmethod) or inspect.isfunction(member):
            function = getattr(one, name)
            if function.__name__ != name:
                parts.append(f"#### `{name}`\n\nAnother name of `{function.__name__}`.")
                continue
            code = _code(name + _signature(function))
            parts.append(f"#### `{name}`\n\n{code}\n\n{_text(function)}")
    return "\n\n".join(parts)


def _code(signature: str) -> str:
    """A signature, one argument a line if it is long."""
    if len(signature) > 90:
        start, _, rest = signature.partition("(")
        arguments, _, end = rest.rpartition(")")
        lines, depth, line = [], 0, ""
        for letter in arguments:
            depth += (letter in "[(") - (letter in "])")
            if letter == "," and depth == 0:
                lines.append(line.strip() + ",")
                line = ""
            else:
                line += letter
        lines.append(line.strip() + ",")
        signature = f"{start}(\n    " + "\n    ".join(lines) + f"\n){end}"
    return f"```python\n{signature}\n```"


def _text(documented: object) -> str:
    """A docstring; its indented lists of arguments stay as they are written."""
    lines = (inspect.getdoc(documented) or "").splitlines()
    text, block = [], False
    for line in lines:
        is_entry = bool(line[:1].isalpha()) and ":" in line and line.split(":")[0].count(" ") < 4
        is_entry = is_entry and line.split(":")[0].replace(", ", "").replace("_", "").isalnum()
        inside = is_entry or (block and line.startswith(" "))
        if inside and not block:
            text += ["", "```text"] if text and text[-1] else ["```text"]
        if block and not inside:
            text.append("```")
        block = inside
        text.append(line)
    if block:
        text.append("```")
    return "\n".join(text)


def _errors() -> str:
    lines = []
    for name, one in vars(errors).items():
        if isinstance(one, type) and issubclass(one, Exception):
            lines.append(f"- `{name}({one.__bases__[0].__name__})`: {one.__doc__}")
    return "\n".join(lines)


if __name__ == "__main__":
    TARGET.write_text(render())
