"""The example program runs as it stands, twice."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip("pyarrow", reason="needs pyarrow: pip install 'onedpiece[datasets]'")

REPOSITORY = Path(__file__).resolve().parents[2]


def test_the_example_encodes_reads_and_goes_on(tmp_path):
    command = [sys.executable, REPOSITORY / "examples" / "token_dataset.py", "--out", "tokens"]
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1"}
    count = len(list((REPOSITORY / "bench" / "pictures").glob("*.png")))
    for expected in (f"{count} encoded, 0 before", f"0 encoded, {count} before"):
        run = subprocess.run(
            command, cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=120
        )
        assert run.returncode == 0, run.stderr
        assert run.stdout.startswith(expected)
        assert "tokens (4, " in run.stdout
