"""What several tests of measurements share."""

from __future__ import annotations

import contextlib
import io
import subprocess
import sys
from contextlib import nullcontext

import pytest


@pytest.fixture(autouse=True)
def offline(monkeypatch):
    """`downstream.load` sets this for the whole process; later tests pull models."""
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")


@pytest.fixture(scope="session")
def no_progress():
    """A progress report that reports nothing."""
    return lambda total: nullcontext(lambda count: None)


@pytest.fixture
def fake_process(monkeypatch):
    """Stands in for `timing.process`: runs each command once, without starting Python if it can.

    Its attribute `commands` lists the commands that were run.
    """
    from onedpiece.cli import main

    def run_odp(arguments: list[str]) -> None:
        monkeypatch.setattr(sys, "argv", ["odp", *arguments])
        with (
            contextlib.redirect_stdout(io.TextIOWrapper(io.BytesIO())),
            pytest.raises(SystemExit) as stop,
        ):
            main()
        assert not stop.value.code

    def run(command: list[str]) -> tuple[float, int]:
        if command not in run.commands:
            run.commands.append(command)
            match command[1:]:
                case ["-m", "onedpiece.cli", *arguments]:
                    run_odp(arguments)
                case ["-m", "onedpiece.bench.eager", *arguments]:
                    from onedpiece.bench import eager  # needs the torch extra

                    eager.main(*arguments)
                case _:
                    subprocess.run(command, check=True)
        return 1.0, 10_000_000

    run.commands = []
    return run
