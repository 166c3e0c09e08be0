"""`odp view`: pictures in the terminal."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from onedpiece.cli import files, options, pipeline
from onedpiece.cli.inputs import Inputs
from onedpiece.cli.report import Report
from onedpiece.errors import OdpError

if TYPE_CHECKING:
    from PIL.Image import Image
    from rich.console import Console


def view(paths: options.PicturesOrOdpFiles) -> None:
    """Show .odp files and other pictures in the terminal."""
    from onedpiece.cli import terminal
    from onedpiece.images.reader import suffixes
    from onedpiece.images.scaling import shrink

    if not sys.stdout.isatty():
        raise OdpError("standard output is not a terminal: use odp decode")
    files.quieten_pillow()
    protocol = terminal.protocol(os.environ)
    room = terminal.room(protocol)
    inputs = Inputs(paths, None, noun="pictures")

    def inspect(path: Path) -> None:
        image = shrink(_read(path), room)
        if len(paths) > 1:
            print(path, flush=True)
        show(image, protocol)

    report = Report(quiet=False, json=False)
    failures = pipeline.survey(inputs, inspect, report, suffixes() | {".odp"})
    options.exit_after(failures)


def show(image: Image, protocol: str) -> None:
    """Write a picture to the terminal. Raises OdpError if it has no colours."""
    from rich.console import Console

    from onedpiece.cli import graphics

    if protocol == "blocks":
        _print_blocks(graphics.on_black(image), Console(no_color=False, highlight=False))
        return
    sys.stdout.flush()
    sys.stdout.buffer.write(getattr(graphics, protocol)(image) + b"\n")
    sys.stdout.buffer.flush()


def _print_blocks(image: Image, console: Console) -> None:
    """Print two pixels a character: the upper one is its colour, the lower one its background."""
    import numpy as np
    from rich.color import Color
    from rich.segment import Segment, Segments
    from rich.style import Style

    if console.color_system is None:
        raise OdpError("the terminal shows no colours")
    pixels = np.asarray(image)
    if len(pixels) % 2:
        pixels = np.pad(pixels, ((0, 1), (0, 0), (0, 0)))
    segments = []
    for upper, lower in zip(pixels[0::2].tolist(), pixels[1::2].tolist(), strict=True):
        for above, below in zip(upper, lower, strict=True):
            style = Style(color=Color.from_rgb(*above), bgcolor=Color.from_rgb(*below))
            segments.append(Segment("\N{UPPER HALF BLOCK}", style))
        segments.append(Segment.line())
    console.print(Segments(segments), end="")


def _read(path: Path) -> Image:
    """A picture, or the picture of an .odp file. Raises OdpError."""
    from onedpiece import api
    from onedpiece.images.reader import open_picture

    data = files.read(path)
    if api.is_odp(data):
        return api.decode(data)
    with files.silence_c_libraries():
        return open_picture(data).to_pillow()
