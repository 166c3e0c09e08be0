"""Warm decoding by several environments."""

import sys

from onedpiece.bench import warm


def test_an_environment_says_how_fast_it_decodes():
    seconds, pictures_per_second = warm.decode(sys.executable, 1, 0)
    assert 0 < seconds < 10 and 0.1 < pictures_per_second < 10_000


def test_environments_take_turns_and_have_a_row_each(monkeypatch, capsys):
    asked = []

    def decode(python, tokens, realism):
        asked.append(python)
        return (0.05, 20) if python == "before" else (0.025, 40)

    monkeypatch.setattr(warm, "decode", decode)
    monkeypatch.setattr(sys, "argv", ["warm", "before", "after"])
    warm.main()
    assert asked[:4] == ["before", "after"] * 2
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 4 + 2 * len(warm.TASKS)
    assert lines[4].endswith("| 1 | 50.0 (50.0 to 50.0) | 20.0 (20.0 to 20.0) |")
    assert lines[5].endswith("| 2 | 25.0 (25.0 to 25.0) | 40.0 (40.0 to 40.0) |")
