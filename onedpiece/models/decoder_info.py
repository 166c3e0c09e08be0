"""A decoder, as the manifest of a model directory lists it."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date
from typing import Any

from onedpiece.models.names import check_name


@dataclass(frozen=True)
class DecoderInfo:
    """A decoder in a model directory: a network that paints pictures from tokens.

    released: ISO date, by which the newest decoder of a token set is found; empty if unknown.
    config:   its configuration, if it is not that of the model.
    faithful: for a decoder of pictures that look real, the name of the decoder in the same
        directory whose pictures have the least error; empty for those that are such themselves.
    source:   where its weights come from, if they are not the project's alone, with the licence.
    graph, weights: names of its files; those of `name` if empty.
    """

    name: str
    version: int = 1
    released: str = ""
    config: dict[str, Any] | None = None
    faithful: str = ""
    source: str = ""
    graph: str = ""
    weights: str = ""

    def __post_init__(self) -> None:
        object.__setattr__(self, "graph", self.graph or f"decoder-{self.name}.onnx")
        object.__setattr__(self, "weights", self.weights or f"decoder-{self.name}.safetensors")

    @property
    def age(self) -> tuple[str, bool, int]:
        """Sorts decoders, the newest last; of the same day, one that looks real is the newer."""
        return self.released, bool(self.faithful), self.version

    @property
    def int8_graph(self) -> str:
        """File of the graph with products of 8-bit integers, which not all decoders have."""
        return f"int8-{self.name}.onnx"

    @classmethod
    def from_dict(cls, entry: dict[str, Any]) -> DecoderInfo:
        """The inverse of `to_dict`. Raises KeyError, TypeError or ValueError."""
        return cls(
            name=check_name(entry["name"]),
            version=int(entry["version"]),
            released=_checked_date(entry["released"]),
            config=dict(entry["config"]) if "config" in entry else None,
            faithful=str(entry.get("faithful", "")),
            source=str(entry.get("source", "")),
        )

    def to_dict(self) -> dict[str, Any]:
        """Its entry in the list `decoders` of a manifest."""
        entry = {"name": self.name, "version": self.version, "released": self.released}
        optional = {"config": self.config, "faithful": self.faithful, "source": self.source}
        return entry | {name: value for name, value in optional.items() if value}


def _checked_date(released: str) -> str:
    """A date, or "" if none is known. Raises TypeError or ValueError."""
    return "" if released == "" else date.fromisoformat(released).isoformat()
