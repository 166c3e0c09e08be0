"""The comparison of a published model's runtimes."""

import re

import pytest

from onedpiece.bench import published
from onedpiece.bench.published import Race, race


def test_both_run_in_turn_and_their_first_runs_do_not_count():
    order = []
    found = race(lambda: order.append("ours"), lambda: order.append("theirs"), 3)
    assert order == ["ours", "theirs"] * 4
    assert len(found.ours) == len(found.theirs) == 3


def test_the_ratio_is_of_neighbouring_runs():
    """The machine was busy during the second pair, which must not decide."""
    assert Race([1.0, 9.0, 1.0], [2.0, 9.0, 2.0]).ratio == 2
    assert "2.00" in str(Race([1.0, 9.0, 1.0], [2.0, 9.0, 2.0]))


def test_the_command_compares_warm_and_cold_runs(odp, installed_paper, monkeypatch):
    pytest.importorskip("torch", reason="needs the torch extra")
    monkeypatch.setattr(published, "WARM_RUNS", 2)
    monkeypatch.setattr(published, "COLD_RUNS", 2)
    done = odp("bench", "published", "--model", installed_paper.path, "--threads", "1")
    assert done.code == 0, done.stderr
    shown = done.stdout.decode()
    for row in ("encode, warm", "decode, warm", "encode, whole process", "decode, whole process"):
        assert re.search(rf"^{row} .* \d+\.\d\d$", shown, re.MULTILINE), shown
