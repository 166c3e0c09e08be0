"""`odp view`: each protocol as its documents describe it, and how one is chosen.

The readers of this file follow the kitty graphics protocol, iTerm2's inline images protocol, and
chapter 14 of DEC's VT330/VT340 Programmer Reference Manual.
"""

import base64
import io
import os
import re
import subprocess
import sys
import threading
import time

import numpy as np
import pytest
from PIL import Image

from onedpiece.cli import graphics, terminal

pty = pytest.importorskip("pty", reason="needs pseudo-terminals")
tty = pytest.importorskip("tty", reason="needs pseudo-terminals")


def from_kitty(data):
    """The file in a sequence of graphics commands, and the keys of the first one."""
    commands = re.findall(rb"\x1b_G([^;\x1b]*);([A-Za-z0-9+/=]*)\x1b\\", data)
    assert b"".join(b"\x1b_G%s;%s\x1b\\" % command for command in commands) == data
    keys = [dict(pair.split(b"=") for pair in text.split(b",")) for text, _ in commands]
    assert [key.pop(b"m") for key in keys] == [b"1"] * (len(keys) - 1) + [b"0"]
    assert not any(keys[1:]), "the other commands have no key but m"
    for _, payload in commands[:-1]:
        assert len(payload) == 4096, "all but the last have 4096 characters, a multiple of 4"
    return base64.b64decode(b"".join(payload for _, payload in commands), validate=True), keys[0]


def from_iterm(data):
    """The file in an escape code, and its arguments."""
    match = re.fullmatch(rb"\x1b\]1337;File=([^:]*):([A-Za-z0-9+/=]*)\x07", data)
    arguments = dict(pair.split(b"=") for pair in match[1].split(b";"))
    return base64.b64decode(match[2], validate=True), arguments


def from_sixel(data):
    """The pixels of a sixel picture, uint8 (height, width, 3)."""
    start, size, body = re.fullmatch(
        rb'\x1bP([\d;]*)q"([\d;]*)(.*)\x1b\\', data, re.DOTALL
    ).groups()
    assert start == b"0;1"  # pixels that are not painted keep their colour
    numerator, denominator, width, height = map(int, size.split(b";"))
    assert numerator == denominator == 1
    pixels = np.zeros((-(-height // 6) * 6, width, 3))
    colors, color, x, y = {}, None, 0, 0
    tokens = rb"#\d+(?:;2;\d+;\d+;\d+)?|!\d+[?-~]|[?-~$-]"
    assert b"".join(re.findall(tokens, body)) == body, "nothing else is in it"
    for token in re.findall(tokens, body):
        if token[:1] == b"#":
            color, _, definition = token[1:].partition(b";2;")
            if definition:
                colors[color] = [round(int(part) * 2.55) for part in definition.split(b";")]
        elif token == b"$":
            x = 0
        elif token == b"-":
            x, y = 0, y + 6
        else:
            count = int(token[1:-1] or 1) if token[:1] == b"!" else 1
            for bit in range(6):
                if token[-1] - 63 >> bit & 1:
                    pixels[y + bit, x : x + count] = colors[color]
            x += count
    assert not pixels[height:].any()
    return pixels[:height]


class TestProtocols:
    @pytest.mark.parametrize("size", [(4, 3), (200, 100)])
    def test_kitty_gets_a_png_in_chunks(self, make_picture, size):
        image = make_picture(*size)
        png, keys = from_kitty(graphics.kitty(image))
        # Transmit and display, PNG, no answers.
        assert keys == {b"a": b"T", b"f": b"100", b"q": b"2"}
        assert np.array_equal(Image.open(io.BytesIO(png)), image)

    def test_iterm_gets_a_png_and_its_size(self, make_picture):
        image = make_picture(40, 30)
        png, arguments = from_iterm(graphics.iterm(image))
        assert arguments == {b"size": b"%d" % len(png), b"inline": b"1"}
        assert np.array_equal(Image.open(io.BytesIO(png)), image)

    @pytest.mark.parametrize("size", [(1, 1), (64, 48), (50, 25)])
    def test_sixels_are_the_picture(self, make_picture, size):
        image = make_picture(*size)
        decoded = from_sixel(graphics.sixel(image))
        assert np.abs(decoded - np.asarray(image, float)).mean() < 6

    def test_sixels_of_few_colours_are_exact_to_a_percent(self):
        pixels = np.zeros((13, 20, 3), np.uint8)
        pixels[3:9, 5:] = (255, 10, 77)
        decoded = from_sixel(graphics.sixel(Image.fromarray(pixels)))
        assert np.abs(decoded - pixels).max() <= 2

    def test_repeated_sixels_are_counted(self):
        assert b"!100~" in graphics.sixel(Image.new("L", (100, 6), 255))

    def test_transparent_pixels_become_black(self):
        clear = Image.new("RGBA", (6, 6), (255, 255, 255, 0))
        assert not from_sixel(graphics.sixel(clear)).any()


class TestChoice:
    @pytest.mark.parametrize(
        "environment, protocol",
        [
            ({"TERM": "xterm-kitty"}, "kitty"),
            ({"TERM": "xterm-256color", "KITTY_WINDOW_ID": "1"}, "kitty"),
            ({"TERM": "xterm-ghostty"}, "kitty"),
            ({"TERM_PROGRAM": "iTerm.app"}, "iterm"),
            ({"LC_TERMINAL": "iTerm2"}, "iterm"),
            ({"TERM_PROGRAM": "WezTerm"}, "iterm"),
            ({"TERM": "xterm-256color"}, "blocks"),
            ({}, "blocks"),
            ({"TERM": "tmux-256color", "KITTY_WINDOW_ID": "1", "TMUX": "/tmp/x"}, "blocks"),
            ({"TERM": "screen", "LC_TERMINAL": "iTerm2", "STY": "1.pts"}, "blocks"),
        ],
    )
    def test_the_environment_names_the_terminal(self, environment, protocol, monkeypatch):
        monkeypatch.setattr(sys, "stdin", io.StringIO())
        assert terminal.protocol(environment) == protocol

    @pytest.mark.parametrize(
        "answer, has_sixel",
        [
            (b"\x1b[?62;4;22c", True),
            (b"\x1b[?4c", True),
            (b"\x1b[?62;22c", False),
            (b"\x1b[?64;14;44c", False),
            (b"typed before\x1b[?1;4c", True),
            (b"", False),
        ],
    )
    def test_others_are_asked_for_sixel(self, answer, has_sixel):
        ours, theirs = pty.openpty()
        tty.setraw(theirs)
        asked = []

        def reply():
            asked.append(os.read(ours, 16))
            os.write(ours, answer)

        thread = threading.Thread(target=reply)
        thread.start()
        try:
            start = time.monotonic()
            assert terminal.has_sixel(theirs, theirs, 5 if answer else 0.1) is has_sixel
            assert time.monotonic() - start < 5
        finally:
            thread.join()
            os.close(ours)
            os.close(theirs)
        assert asked == [b"\x1b[c"]

    def test_the_terminal_is_left_as_it_was(self):
        termios = pytest.importorskip("termios", reason="needs a terminal")
        ours, theirs = pty.openpty()
        before = termios.tcgetattr(theirs)
        terminal.has_sixel(theirs, theirs, 0.01)
        assert termios.tcgetattr(theirs) == before
        os.close(ours)
        os.close(theirs)


class TestCommand:
    def test_it_needs_a_terminal(self, odp, one_tile, tmp_path):
        (tmp_path / "x.odp").write_bytes(one_tile)
        done = odp("view", "x.odp")
        assert done.code == 1 and done.stdout == b""
        assert done.stderr == "odp: standard output is not a terminal: use odp decode\n"

    @pytest.fixture
    def in_terminal(self, tmp_path):
        """Runs `odp` in a terminal of 40x13 characters; its output, and its exit code."""

        def run(*args, **environment):
            kept = ("PATH", "PYTHONPATH", "ODP_MODELS")
            variables = {name: os.environ[name] for name in kept if name in os.environ}
            variables |= {"COLUMNS": "40", "LINES": "13", "OMP_NUM_THREADS": "1", **environment}
            ours, theirs = pty.openpty()
            process = subprocess.Popen(
                [sys.executable, "-m", "onedpiece.cli", *args],
                **dict.fromkeys(("stdin", "stdout", "stderr"), theirs),
                cwd=tmp_path,
                env=variables,
                start_new_session=True,
            )
            os.close(theirs)
            output = b""
            while True:
                try:
                    received = os.read(ours, 65536)
                except OSError:  # the other end is closed
                    break
                if not received:
                    break
                output += received
                if received.endswith(b"\x1b[c"):
                    os.write(ours, b"\x1b[?62c")
            os.close(ours)
            return output, process.wait(timeout=60)

        return run

    def test_kitty_shows_the_decoded_picture(self, in_terminal, codec, one_tile, tmp_path):
        (tmp_path / "x.odp").write_bytes(one_tile)
        output, code = in_terminal("view", "x.odp", TERM="xterm-kitty")
        png, _ = from_kitty(output.strip(b"\r\n"))
        assert code == 0
        # 40x12 characters of 8x16 pixels have room for a square of 192.
        shown, decoded = Image.open(io.BytesIO(png)), codec.decode(one_tile)
        assert shown.size == (192, 192)
        assert np.abs(np.asarray(shown, float) - decoded.resize((192, 192))).mean() < 4

    def test_other_terminals_show_half_blocks(self, in_terminal, tmp_path):
        pixels = np.arange(36, dtype=np.uint8).reshape(3, 4, 3)
        Image.fromarray(pixels).save(tmp_path / "in.png")
        output, code = in_terminal("view", "in.png", TERM="xterm", COLORTERM="truecolor")
        assert code == 0 and b"\x1b[c" in output
        cells = re.findall(r"38;2;([\d;]+);48;2;(\d+;\d+;\d+)m\u2580", output.decode())
        rows = [[tuple(map(int, half.split(";"))) for half in cell] for cell in cells]
        shown = np.array(rows).reshape(2, 4, 2, 3).transpose(0, 2, 1, 3).reshape(4, 4, 3)
        assert np.array_equal(shown[:3], pixels) and not shown[3].any()

    def test_several_have_their_names_above_and_failures_are_reported(self, in_terminal, tmp_path):
        Image.new("RGB", (4, 4)).save(tmp_path / "in.png")
        output, code = in_terminal("view", "in.png", "none.png", TERM_PROGRAM="iTerm.app")
        assert code == 1
        assert output.startswith(b"in.png\r\n\x1b]1337;File=")
        assert b"odp: none.png: cannot be opened" in output

    def test_a_terminal_without_colours_says_so(self, in_terminal, tmp_path):
        Image.new("RGB", (4, 4)).save(tmp_path / "in.png")
        output, code = in_terminal("view", "in.png", TERM="dumb")
        assert code == 1 and b"odp: in.png: the terminal shows no colours" in output
