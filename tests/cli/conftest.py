"""`odp` in this process takes standard input and runs in `tmp_path`, as `run_odp` does."""

import io
import sys

import pytest


@pytest.fixture
def odp(odp, monkeypatch, tmp_path):
    """Like `run_odp`, several times faster: for all that needs no process of its own."""
    monkeypatch.chdir(tmp_path)

    def run(*args: object, stdin: bytes = b""):
        monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(stdin)))
        return odp(*args)

    return run
