"""The measurement of folders of many pictures."""

import sys

from PIL import Image

from onedpiece.bench.timing import Usage


def test_pictures_a_second_cores_and_memory_of_each_verb(monkeypatch, capsys):
    from onedpiece.bench import batches

    commands = []

    def usage(command):
        commands.append(command)
        return Usage(seconds=0.5, peak=100e6, cpu=0.9)

    monkeypatch.setattr(batches, "usage", usage)
    monkeypatch.setattr(sys, "argv", ["batches", "6", "--tokens", "16"])
    batches.main()
    assert [command[3] for command in commands] == ["encode", "decode"]
    assert capsys.readouterr().out.splitlines()[-2:] == [
        "| odp encode | 12.0 | 1.80 | 100 |",
        "| odp decode | 12.0 | 1.80 | 100 |",
    ]


def test_the_pictures_are_small_and_differ(tmp_path):
    from onedpiece.bench.batches import write_pictures

    write_pictures(tmp_path / "in", 10)
    paths = sorted((tmp_path / "in").iterdir())
    assert len({path.read_bytes() for path in paths}) == 10
    assert {Image.open(path).size for path in paths} == {(256, 256)}
