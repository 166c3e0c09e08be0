"""The script that makes the default model: its steps in order, each of them once."""

import os
import subprocess
from pathlib import Path

import pytest

import onedpiece.training

SCRIPT = Path(onedpiece.training.__file__).with_name("default.sh")
STEPS = ["fit", "train", "tables", "train --recipe grain", "train --features", "export"]


@pytest.fixture
def make(tmp_path):
    """Call the script with a `python` that writes down what it was asked for, and fails at one step if told to."""
    program = tmp_path / "python"
    program.write_text(
        '#!/bin/sh\necho "$@" >> "$CALLS"\ncase "$*" in *"$FAIL_AT"*) exit 1;; esac\n'
    )
    program.chmod(0o755)
    calls = tmp_path / "calls"

    def call(fail_at: str = "nothing") -> tuple[int, list[str]]:
        calls.write_text("")
        search = f"{tmp_path}{os.pathsep}{os.environ['PATH']}"
        done = subprocess.run(
            ["sh", SCRIPT, tmp_path, tmp_path / "model", "networks", "a.tar", "b c.tar"],
            env={**os.environ, "PATH": search, "CALLS": str(calls), "FAIL_AT": fail_at},
        )
        asked = [
            line.removeprefix("-m onedpiece.training ") for line in calls.read_text().splitlines()
        ]
        return done.returncode, [step.replace(f"--run {tmp_path}/default ", "") for step in asked]

    return call


def begins(steps: list[str]) -> list[str]:
    """Each step up to its first options."""
    known = sorted(STEPS, key=len, reverse=True)
    return [next(name for name in known if step.startswith(name)) for step in steps]


def test_all_steps_run_in_order(make):
    status, steps = make()
    assert (status, begins(steps)) == (0, STEPS)
    assert all(step.endswith("--data a.tar b c.tar") for step in steps[:-1])


def test_an_interrupted_run_goes_on_where_it_was(make):
    assert make(fail_at="tables")[0] == 1
    status, steps = make()
    assert (status, begins(steps)) == (0, STEPS[2:])


def test_a_schedule_that_has_begun_does_not_begin_again(make):
    assert make(fail_at="default --features")[0] == 1
    assert begins(make()[1]) == ["train --features", "export"]
    assert begins(make()[1]) == ["export"]
