"""The peak memory of a process that decodes one small file."""

import platform
import sys

import pytest


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="the setting is one of glibc")
def test_decoding_a_small_file_takes_little_memory(codec, make_picture, tmp_path):
    from onedpiece.bench.timing import process

    (tmp_path / "x.odp").write_bytes(codec.encode(make_picture(), 256))
    paths = [str(tmp_path / name) for name in ("x.odp", "x.png")]
    command = [sys.executable, "-m", "onedpiece.cli", "decode", "--device", "cpu", *paths]
    assert process(command)[1] < 160e6


def test_other_systems_are_left_alone(monkeypatch):
    from onedpiece.cli import memory

    monkeypatch.setattr(memory.sys, "platform", "win32")
    monkeypatch.setattr(memory.ctypes, "CDLL", lambda name: pytest.fail("looked at a library"))
    memory.return_freed_memory()
