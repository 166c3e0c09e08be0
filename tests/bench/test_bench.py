"""Timing, and the smaller measurements."""

from __future__ import annotations

import sys
from functools import cache

from PIL import Image

from onedpiece.bench.measure import process, spread


def test_spread_is_the_median_and_the_quartiles():
    assert spread([4.0, 1.0, 3.0, 2.0, 5.0]).median == 3.0
    assert (spread([4.0, 1.0, 3.0, 2.0, 5.0]).low, spread([1.0, 2.0, 3.0, 4.0, 5.0]).high) == (
        2.0,
        4.0,
    )


def test_a_process_is_timed_and_its_memory_is_measured():
    seconds, peak = process(
        [sys.executable, "-c", "import time; x = b'x' * 50_000_000; time.sleep(0.2)"]
    )
    assert 0.2 <= seconds < 20
    assert 50e6 < peak < 200e6


def test_the_demonstration_writes_files_and_a_picture_of_all(tmp_path, capsys):
    from onedpiece.bench.demo import PICTURES, TOKENS, demo

    demo(tmp_path, "cpu")
    photographs = [path for path in PICTURES.iterdir() if path.suffix != ".md"]
    assert len(list(tmp_path.glob("*.odp"))) == len(photographs) * len(TOKENS)
    assert Image.open(tmp_path / "side-by-side.png").width > 256 * (1 + len(TOKENS))
    assert "cat.png" in capsys.readouterr().out


def test_large_pictures_are_timed_and_weighed(capfd):
    from onedpiece.bench.large import large

    large(600, threads=1)
    _, *lines = capfd.readouterr().out.splitlines()
    expected = ("encode  600x600 RGBA", "encode  600x600 RGB", "decode  600x600 RGB")
    for line, beginning in zip(lines, expected, strict=True):
        assert line.startswith(f"odp {beginning}  ") and line.endswith(" MB")


def test_tiling_prints_its_tables(odp, make_picture, tmp_path, monkeypatch):
    from onedpiece.bench import tiling

    monkeypatch.setattr(tiling, "TOKENS", (2,))
    monkeypatch.setattr(tiling, "OVERLAPS", (32,))
    monkeypatch.setattr(tiling, "ADAPTED", (20,))
    make_picture(480, 320).save(tmp_path / "a.png")
    result = odp("bench", "tiling", tmp_path)
    assert result.code == 0
    assert result.stdout.count(b" dB") == 3 + 2 + 2


def test_speed_prints_tables(odp, monkeypatch):
    from onedpiece.bench import codecs, speed

    for name in ("WARM_RUNS", "BATCH_RUNS", "COLD_RUNS"):
        monkeypatch.setattr(speed, name, 2)
    monkeypatch.setattr(speed, "BATCH", 2)
    once = cache(lambda *arguments: process(list(arguments)))  # enough to see that it works
    monkeypatch.setattr(speed, "process", lambda arguments: once(*arguments))
    monkeypatch.setattr(codecs, "available", lambda: ([codecs._webp()], []))
    result = odp("bench", "speed", "--threads", "1", "--device", "cpu")
    assert result.code == 0, result.stderr
    rows = [line.split(" | ") for line in result.stdout.decode().splitlines() if "|" in line]
    names = {row[0].removeprefix("| ") for row in rows}
    assert {"ONNX Runtime, decoder", "odp encode", "odp decode", "webp encode"} <= names
    assert {"odp --help", "Python and Pillow, WebP decode"} <= names
    assert all(len(row) == 4 for row in rows)
