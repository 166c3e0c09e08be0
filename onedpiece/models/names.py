"""Names of models and decoders. Importing this module loads nothing else."""

from __future__ import annotations

import re

# Names are parts of file names, and models are found by name or by path: a name must not look like
# a path or a hidden file.
NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")


def check_name(name: str) -> str:
    """The name, if it is valid: letters, digits, ".", "_" and "-". Raises ValueError otherwise."""
    if not NAME.fullmatch(name):
        raise ValueError(f"'{name}' is not a valid name: use letters, digits, '.', '_' and '-'")
    return name
