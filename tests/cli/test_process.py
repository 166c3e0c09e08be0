"""`odp` as a process: its peak memory, and how it ends."""

import subprocess
import sys

import pytest


@pytest.mark.parametrize("realism", [0, 1])
def test_decoding_a_small_file_takes_little_memory(codec, make_picture, tmp_path, realism):
    from onedpiece.bench.timing import process

    (tmp_path / "x.odp").write_bytes(codec.encode(make_picture(), 256))
    paths = [str(tmp_path / name) for name in ("x.odp", "x.png")]
    options = ["--device", "cpu", "--realism", str(realism)]
    command = [sys.executable, "-m", "onedpiece.cli", "decode", *options, *paths]
    assert process(command)[1] < 150e6


def test_what_was_printed_arrives_before_the_process_ends(run_odp, one_tile, tmp_path):
    path = tmp_path / "x.odp"
    path.write_bytes(one_tile)
    done = run_odp("info", path)
    assert done.code == 0 and done.stdout.endswith(b"\n") and not done.stderr
    done = run_odp("info", path, "no.odp")
    assert done.code == 1 and done.stdout and done.stderr.endswith("\n")


def test_a_reader_that_has_gone_ends_it_silently(one_tile, tmp_path):
    (tmp_path / "x.odp").write_bytes(one_tile)
    command = [sys.executable, "-m", "onedpiece.cli", "info", str(tmp_path / "x.odp")]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        process.stdout.close()
        assert process.stderr.read() == b""
    assert process.returncode == 1
