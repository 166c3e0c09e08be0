"""`odp bench published`: a published model on two runtimes."""

import re

import pytest

from onedpiece.bench import published
from onedpiece.bench.published import Comparison, Runs, compare


def test_the_runtimes_take_turns_and_their_first_runs_do_not_count(monkeypatch):
    monkeypatch.setattr(published, "REST_SECONDS", 0)
    order = []
    comparison = compare(lambda: order.append("onnx"), lambda: order.append("pytorch"), 3)
    assert order == ["onnx", "pytorch"] * 4
    assert len(comparison.onnx) == len(comparison.pytorch) == 3


def test_the_speedup_is_the_median_over_neighbouring_runs():
    """The machine was busy during the second pair, which must not decide."""
    comparison = Comparison([1.0, 9.0, 1.0], [2.0, 9.0, 2.0])
    assert comparison.speedup == 2
    assert "2.00" in str(comparison)


def test_it_prints_warm_and_cold_runs(installed_paper, fake_process, monkeypatch, capsys):
    pytest.importorskip("torch", reason="needs the torch extra")
    monkeypatch.setattr(published, "process", fake_process)
    monkeypatch.setattr(published, "REST_SECONDS", 0)
    published.published(str(installed_paper.path), None, threads=1, runs=Runs(2, 2))
    output = capsys.readouterr().out
    for row in ("encode, warm", "decode, warm", "encode, whole process", "decode, whole process"):
        assert re.search(rf"^{row} .* \d+\.\d\d$", output, re.MULTILINE), output
    assert len(fake_process.commands) == 4


def test_the_command_passes_its_options_on(odp, monkeypatch):
    calls = []
    monkeypatch.setattr(published, "published", lambda *arguments: calls.append(arguments))
    options = ("--model", "one", "--in-pytorch", "two", "--threads", "3", "--device", "cuda")
    assert odp("bench", "published", *options).code == 0
    assert calls == [("one", "two", 3, "cuda")]
