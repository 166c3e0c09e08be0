"""`odp dataset`: options, reports and exit codes."""

import json

import pytest

pytest.importorskip("pyarrow", reason="needs pyarrow: pip install 'onedpiece[datasets]'")


@pytest.fixture
def album(tmp_path, make_picture):
    """A folder of four small pictures, one of which is damaged."""
    (tmp_path / "album").mkdir()
    for seed in range(3):
        make_picture(40, 30, seed).save(tmp_path / "album" / f"{seed}.png")
    (tmp_path / "album" / "bad.png").write_bytes(b"bad")
    return tmp_path / "album"


class TestEncode:
    def test_the_result_is_reported_and_failures_exit_with_1(self, odp, album, tmp_path):
        result = odp("dataset", "encode", album, "out", "-n", 8, "--workers", 1)
        assert result.code == 1
        first, last = result.stderr.splitlines()
        assert first.startswith("odp: 3 done, 0 before, 1 failed; ") and "pictures/s" in first
        assert last == "odp: the reasons of failures are in out/failures"
        (side,) = (tmp_path / "out" / "failures").iterdir()
        assert json.loads(side.read_text())["key"] == "bad"

    def test_a_second_run_needs_resume(self, odp, album):
        (album / "bad.png").unlink()
        arguments = ("dataset", "encode", album, "out", "-n", 8, "--workers", 1)
        assert odp(*arguments).code == 0
        again = odp(*arguments)
        assert again.code == 1 and "--resume" in again.stderr
        resumed = odp(*arguments, "--resume", "--json")
        assert resumed.code == 0
        assert json.loads(resumed.stdout)["before"] == 3

    @pytest.mark.parametrize("shard", ["2/2", "x", "1", "-1/2"])
    def test_an_impossible_shard_is_wrong_usage(self, odp, album, shard):
        result = odp("dataset", "encode", album, "out", f"--shard={shard}")
        assert result.code == 2 and "--shard is I/N" in result.stderr

    def test_so_are_two_targets_and_a_missing_output(self, odp, album):
        assert odp("dataset", "encode", album, "out", "-n", 8, "--bytes", 90).code == 2
        assert odp("dataset", "encode", album).code == 2


def test_a_dataset_is_described_verified_decoded_and_converted(odp, album, tmp_path):
    (album / "bad.png").unlink()
    assert odp("dataset", "encode", album, "tokens", "--workers", 1, "-q") == (0, b"", "")
    described = odp("dataset", "info", "tokens").stdout.decode()
    assert described.startswith("tokens: 3 rows in 1 file of 1 shard\n")
    assert json.loads(odp("dataset", "info", "tokens", "--json").stdout)["rows"] == 3
    assert odp("dataset", "verify", "tokens").stdout == b"tokens: complete\n"
    assert odp("dataset", "decode", "tokens", "back", "--workers", 1, "-n", 4).code == 0
    assert sorted(path.name for path in (tmp_path / "back").iterdir()) == [
        "0.png",
        "1.png",
        "2.png",
    ]
    assert odp("dataset", "convert", "tokens", "tars", "--to", "tar", "-q").code == 0
    assert odp("dataset", "convert", "tars", "again", "--to", "parquet", "-q").code == 0
    assert odp("dataset", "verify", "again").code == 0


def test_problems_are_failures(odp, tmp_path):
    (tmp_path / "part-00000-of-00001-00000.parquet").write_bytes(b"no Parquet")
    result = odp("dataset", "verify", tmp_path)
    assert result.code == 1 and "cannot be read" in result.stderr
    assert odp("dataset", "info", tmp_path / "missing").code == 1


def test_other_verbs_load_no_pyarrow(loaded_modules):
    for verb in ("encode", "info", "dataset"):
        code = f"import sys; sys.argv = ['odp', '{verb}', '--help']; "
        code += "from onedpiece.cli import main; main()"
        assert not {"pyarrow", "fsspec", "torch"} & loaded_modules(code)
