"""Measurements: rate-distortion, speed and memory of the codec beside others, and how they are made."""

from __future__ import annotations

from enum import StrEnum


class Protocol(StrEnum):
    """What of a picture is measured.

    paper:  short edge to 256 pixels, bicubic and antialiased, then the central 256x256 (Miwa et al., section 4).
    native: every picture as it is.
    """

    paper = "paper"
    native = "native"
