"""What the terminal is, and how large it is."""

from __future__ import annotations

import contextlib
import os
import re
import select
import shutil
import sys
import time
from collections.abc import Mapping

ASK = b"\x1b[c"  # "primary device attributes" (DA1)
ANSWER = re.compile(rb"\x1b\[\?([\d;]*)c")
HAS_SIXEL = b"4"  # among the attributes
SECONDS = 0.5  # to wait for an answer
CELL = 8, 16  # width and height of a character in pixels, where the terminal does not say


def protocol(environment: Mapping[str, str]) -> str:
    """How this terminal shows pictures: "kitty", "iterm", "sixel" or "blocks".

    The variables are those that the terminals document. A multiplexer hands its own terminal on
    with the variables of another one, and is asked.
    """
    name, term = environment.get("TERM_PROGRAM", ""), environment.get("TERM", "")
    inside = "TMUX" in environment or "STY" in environment
    if not inside:
        if "KITTY_WINDOW_ID" in environment or term in {"xterm-kitty", "xterm-ghostty"}:
            return "kitty"
        if name in {"iTerm.app", "WezTerm"} or environment.get("LC_TERMINAL") == "iTerm2":
            return "iterm"
    if sys.stdin.isatty() and sys.stdout.isatty():
        with contextlib.suppress(OSError):
            if has_sixel(sys.stdin.fileno(), sys.stdout.fileno()):
                return "sixel"
    return "blocks"


def has_sixel(source: int, target: int, seconds: float = SECONDS) -> bool:
    """Ask a terminal whether it shows sixel graphics; False if it does not answer in time.

    source, target: file descriptors of the terminal, to read from and to write to.
    """
    try:
        import termios
        import tty
    except ImportError:  # Windows
        return False
    try:
        before = termios.tcgetattr(source)
    except termios.error:
        return False
    try:
        tty.setcbreak(source, termios.TCSANOW)  # the answer is neither shown nor waits for a line
        os.write(target, ASK)
        answer = ANSWER.search(_read_answer(source, seconds))
    finally:
        termios.tcsetattr(source, termios.TCSADRAIN, before)
    return answer is not None and HAS_SIXEL in answer[1].split(b";")


def _read_answer(source: int, seconds: float) -> bytes:
    data, end = b"", time.monotonic() + seconds
    while not ANSWER.search(data):
        left = end - time.monotonic()
        if left <= 0 or not select.select([source], [], [], left)[0]:
            break
        received = os.read(source, 256)
        if not received:
            break
        data += received
    return data


def room(protocol: str) -> tuple[int, int]:
    """The largest width and height of a picture, in pixels or in half blocks.

    One line is left for the prompt.
    """
    columns, lines = shutil.get_terminal_size()
    lines = max(1, lines - 1)
    if protocol == "blocks":
        return columns, 2 * lines
    width, height = _cell()
    return columns * width, lines * height


def _cell() -> tuple[int, int]:
    """Width and height of a character in pixels."""
    try:
        import fcntl
        import struct
        import termios

        size = fcntl.ioctl(sys.stdout.fileno(), termios.TIOCGWINSZ, bytes(8))
    except (ImportError, OSError):
        return CELL
    lines, columns, width, height = struct.unpack("HHHH", size)
    if not all((lines, columns, width, height)):
        return CELL
    return width // columns or CELL[0], height // lines or CELL[1]
