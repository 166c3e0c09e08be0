"""Measurements of the codec beside other codecs: rate-distortion, speed, memory, other networks."""

from __future__ import annotations

from enum import StrEnum


class Protocol(StrEnum):
    """Which part of each picture is measured.

    paper:  the short edge is scaled to 256 pixels (bicubic, antialiased), then the central 256x256
            pixels are taken (Miwa et al., arXiv 2501.10064, section 4).
    native: the whole picture at its own size.
    """

    paper = "paper"
    native = "native"
