"""The scripts that make the default model run their steps in order, each of them once."""

import json
import os
import subprocess
from pathlib import Path

import pytest

import onedpiece.training

SCRIPT = Path(onedpiece.training.__file__).with_name("default.sh")
STEPS = ["fit", "train", "tables", "export"]


@pytest.fixture
def run_script(tmp_path):
    """Run the script with a `python` that records its arguments and can fail at one step."""
    program = tmp_path / "python"
    program.write_text(
        '#!/bin/sh\necho "$@" >> "$CALLS"\ncase "$*" in *"$FAIL_AT"*) exit 1;; esac\n'
    )
    program.chmod(0o755)
    calls = tmp_path / "calls"

    def call(
        fail_at: str = "nothing", script: Path = SCRIPT, arguments: list[object] | None = None
    ) -> tuple[int, list[str]]:
        calls.write_text("")
        arguments = arguments or [tmp_path, tmp_path / "model", "a.tar", "b c.tar"]
        search = f"{tmp_path}{os.pathsep}{os.environ['PATH']}"
        done = subprocess.run(
            ["sh", script, *map(str, arguments)],
            env={**os.environ, "PATH": search, "CALLS": str(calls), "FAIL_AT": fail_at},
        )
        steps = [
            line.removeprefix("-m onedpiece.training ") for line in calls.read_text().splitlines()
        ]
        return done.returncode, [step.replace(f"--run {tmp_path}/default ", "") for step in steps]

    return call


def verbs(steps: list[str]) -> list[str]:
    """Each recorded step by its entry in STEPS."""
    names = sorted(STEPS, key=len, reverse=True)
    return [next(name for name in names if step.startswith(name)) for step in steps]


def test_all_steps_run_in_order(run_script):
    status, steps = run_script()
    assert (status, verbs(steps)) == (0, STEPS)
    assert all(step.endswith("--data a.tar b c.tar") for step in steps)


def test_an_interrupted_run_resumes(run_script):
    assert run_script(fail_at="tables")[0] == 1
    status, steps = run_script()
    assert (status, verbs(steps)) == (0, STEPS[2:])


def test_the_natural_decoder_is_added_once(tmp_path, run_script):
    """natural.sh: prune, sharpen and export; a model that has the decoder keeps it."""
    script, model = SCRIPT.with_name("natural.sh"), tmp_path / "model"
    arguments = [tmp_path, model, "teacher.pt", "features", "a.tar"]
    status, steps = run_script(script=script, arguments=arguments)
    assert status == 0
    assert [step.split()[0] for step in steps] == ["prune", "sharpen", "export"]
    assert "--decoder natural --version 4 --faithful repair" in steps[-1]
    model.mkdir()
    (model / "model.json").write_text(json.dumps({"decoders": [{"name": "natural"}]}))
    assert run_script(script=script, arguments=arguments) == (0, [])
