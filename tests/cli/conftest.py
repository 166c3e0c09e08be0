"""`odp` in this process: with standard input, in `tmp_path`, and with each network loaded once."""

import io
import sys

import onnxruntime
import pytest


@pytest.fixture(scope="session")
def sessions() -> dict[tuple, onnxruntime.InferenceSession]:
    """The networks that tests have loaded, by graph, number of threads and providers."""
    return {}


@pytest.fixture
def odp(odp, sessions, monkeypatch, tmp_path):
    """Like `run_odp`, but many times faster: for tests that need no process of their own."""
    load = onnxruntime.InferenceSession

    def load_once(graph, options, providers):
        key = (str(graph), options.intra_op_num_threads, *providers)
        if key not in sessions:
            sessions[key] = load(graph, options, providers=providers)
        return sessions[key]

    monkeypatch.setattr(onnxruntime, "InferenceSession", load_once)
    monkeypatch.chdir(tmp_path)

    def run(*args: object, stdin: bytes = b""):
        monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(stdin)))
        return odp(*args)

    return run
