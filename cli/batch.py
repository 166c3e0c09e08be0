"""The names under which `odp bench` imports two functions of other modules."""

from onedpiece.cli.inputs import discover_inputs as expand
from onedpiece.cli.report import progress

__all__ = ["expand", "progress"]
