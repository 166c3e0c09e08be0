"""Time and memory, and the measurements that print a table."""

from __future__ import annotations

import sys

import pytest
from PIL import Image

from onedpiece.bench.timing import process, spread


def test_spread_is_the_median_and_the_quartiles():
    result = spread([4.0, 1.0, 3.0, 2.0, 5.0])
    assert (result.low, result.median, result.high) == (2.0, 3.0, 4.0)
    assert result.milliseconds() == "3000.0 (2000.0 to 4000.0)"


def test_a_process_is_timed_and_its_memory_is_measured():
    seconds, peak = process(
        [sys.executable, "-c", "import time; x = b'x' * 50_000_000; time.sleep(0.2)"]
    )
    assert 0.2 <= seconds < 20
    assert 50e6 < peak < 200e6


def test_the_demonstration_writes_files_and_one_picture_of_all(tmp_path, capsys):
    from onedpiece.bench.demo import PICTURES, demo

    demo(tmp_path, "cpu", [PICTURES / "cat.png", PICTURES / "rocket.png"], (4, 16))
    names = sorted(path.name for path in tmp_path.glob("*.odp"))
    assert names == ["cat-16.odp", "cat-4.odp", "rocket-16.odp", "rocket-4.odp"]
    assert Image.open(tmp_path / "side-by-side.png").width > 256 * 3
    assert "cat.png" in capsys.readouterr().out


def test_the_photographs_come_with_the_package():
    from onedpiece.bench.demo import photographs

    assert {"cat.png", "coffee.png"} <= {path.name for path in photographs()}


def test_large_pictures_are_timed_and_their_memory_is_measured(capsys, fake_process, monkeypatch):
    from onedpiece.bench import large

    monkeypatch.setattr(large, "process", fake_process)
    large.large(300, threads=1)
    _, *lines = capsys.readouterr().out.splitlines()
    expected = ("encode  300x300 RGBA", "encode  300x300 RGB", "decode  300x300 RGB")
    for line, beginning in zip(lines, expected, strict=True):
        assert line.startswith(f"odp {beginning}  ") and line.endswith(" MB")


def test_tiling_prints_its_tables(make_picture, tmp_path, capsys):
    from onedpiece.bench.tiling import Choices, tiling

    make_picture(300, 256).save(tmp_path / "a.png")
    choices = Choices(overlaps=(32,), tokens=(2,), bytes=(20,), small_sizes=((120, 100),))
    tiling([tmp_path / "a.png"], "cpu", choices)
    assert capsys.readouterr().out.count(" dB") == 3 + 2 + 1


def test_speed_prints_tables(capsys, fake_process, monkeypatch):
    from onedpiece.bench import codecs, cold, speed

    monkeypatch.setattr(cold, "process", fake_process)
    monkeypatch.setattr(codecs, "available", lambda: ([codecs._webp()], []))
    once = speed.Workload(2, 2, 2, network_batch=1, batch=1, coder_batch=1)
    speed.speed([1], "cpu", once)
    rows = [line.split(" | ") for line in capsys.readouterr().out.splitlines() if "|" in line]
    names = {row[0].removeprefix("| ") for row in rows}
    assert {"ONNX Runtime, decoder", "odp encode", "odp decode", "webp encode"} <= names
    assert {"odp --help", "Python and Pillow, WebP decode"} <= names
    assert all(len(row) == 4 for row in rows)


def test_environments_are_compared_in_turns(monkeypatch, capsys):
    from onedpiece.bench import cold

    commands = []

    def process(command):
        commands.append(command)
        return 2.0 if command[0] == "old" else 1.0, 10_000_000

    monkeypatch.setattr(cold, "process", process)
    monkeypatch.setattr(sys, "argv", ["cold", "old", "new"])
    cold.main()
    assert [command[0] for command in commands[:4]] == ["old", "new", "old", "new"]
    lines = capsys.readouterr().out.splitlines()
    assert "| odp info | 1 | 2000 (2000 to 2000) | 2000 | 10 |" in lines
    assert "| odp info | 2 | 1000 (1000 to 1000) | 1000 | 10 |" in lines


@pytest.mark.parametrize(
    ("verb", "options", "arguments"),
    [
        ("speed", ("--threads", "2,1", "--device", "cpu"), ((1, 2), "cpu")),
        ("large", ("--side", "5", "--threads", "3"), (5, 3)),
    ],
)
def test_commands_pass_their_options_on(odp, monkeypatch, verb, options, arguments):
    import importlib

    calls = []
    module = importlib.import_module(f"onedpiece.bench.{verb}")
    monkeypatch.setattr(module, verb, lambda *given: calls.append(given))
    assert odp("bench", verb, *options).code == 0
    assert calls == [arguments]


def test_tiling_measures_the_pictures_of_a_folder(odp, make_picture, tmp_path, monkeypatch):
    from onedpiece.bench import tiling

    calls = []
    monkeypatch.setattr(tiling, "tiling", lambda paths, device: calls.append(list(paths)))
    make_picture(16, 16).save(tmp_path / "a.png")
    assert odp("bench", "tiling", tmp_path).code == 0
    assert calls == [[tmp_path / "a.png"]]
