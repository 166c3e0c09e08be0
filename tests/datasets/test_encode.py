"""Encoding into a token dataset: what rows hold, what fails, and that a run can be cut anywhere."""

import os
import subprocess
import sys
import time

import numpy as np
import pytest

pytest.importorskip("pyarrow", reason="needs pyarrow: pip install 'onedpiece[datasets]'")
import pyarrow as pa
import pyarrow.parquet as pq

from onedpiece.datasets import encode
from onedpiece.datasets.encoding import Shard
from onedpiece.datasets.parts import find_parts
from onedpiece.errors import OdpError, OutputError
from onedpiece.images.reader import open_picture
from onedpiece.rate_control import Target


def keys(rows):
    return [row["key"] for row in rows]


class TestRows:
    def test_a_row_holds_what_the_file_of_the_picture_holds(
        self, folder, tmp_path, codec, read_rows
    ):
        encode([folder], tmp_path / "out", 16, keep_files=True, workers=0)
        rows = read_rows(tmp_path / "out")
        assert keys(rows) == sorted(f"class-{n % 2}/{n:02d}" for n in range(12))
        (image,) = codec.encode_pictures([open_picture(folder / "class-0" / "00.jpg")], 16)
        assert rows[0]["odp"] == image.to_bytes()
        assert rows[0]["odp"].startswith(rows[0]["front"])
        assert rows[0]["tokens"] == image.tokens[0].tolist()
        assert (rows[0]["width"], rows[0]["height"]) == (64, 48)

    def test_tokens_of_several_tiles_are_in_the_order_of_the_payload(
        self, make_picture, tmp_path, codec, read_rows
    ):
        make_picture(700, 300).save(tmp_path / "wide.png")
        encode([tmp_path / "wide.png"], tmp_path / "out", 8, workers=0)
        (row,) = read_rows(tmp_path / "out")
        tokens = np.array(row["tokens"]).reshape(8, row["grid_rows"], row["grid_columns"])
        expected = codec.parse(codec.encode(make_picture(700, 300), 8)).tokens
        np.testing.assert_array_equal(tokens.reshape(8, -1).T, expected)

    def test_square_pictures_are_one_tile_as_the_tokenizer_makes_it(
        self, make_picture, tmp_path, read_rows
    ):
        from onedpiece import Tokenizer

        make_picture(700, 300).save(tmp_path / "wide.png")
        encode([tmp_path / "wide.png"], tmp_path / "out", square=True, workers=0)
        (row,) = read_rows(tmp_path / "out")
        pixels = Tokenizer.preprocess(make_picture(700, 300))
        tokenizer = Tokenizer.from_pretrained("default", device="cpu")
        assert row["tokens"] == tokenizer.encode(pixels)[0].tolist()

    def test_a_target_in_bytes_gives_tokens_of_different_number(self, folder, tmp_path, read_rows):
        target = Target(max_bytes=60)
        encode([folder], tmp_path / "out", target, keep_files=True, workers=0)
        rows = read_rows(tmp_path / "out")
        assert all(len(row["odp"]) <= 60 for row in rows)
        assert len({len(row["tokens"]) for row in rows}) > 1

    def test_parquet_says_how_it_is_stored_and_what_tokens_mean(self, folder, tmp_path, codec):
        encode([folder], tmp_path / "out", 16, workers=0)
        (part,) = find_parts(tmp_path / "out")
        assert part.about.token_set == "onedpiece-1"
        assert part.about.fingerprint == codec.model.token_set.fingerprint
        file = pq.ParquetFile(part.path)
        assert file.schema_arrow.field("tokens").type == pa.list_(pa.field("element", pa.uint16()))
        column = file.metadata.row_group(0).column(file.schema_arrow.names.index("tokens"))
        assert column.path_in_schema == "tokens.list.element"
        assert column.compression == "ZSTD" and not column.has_dictionary_page
        assert "BYTE_STREAM_SPLIT" in column.encodings


class TestFailures:
    def test_each_failure_has_its_key_and_its_reason_and_the_rest_is_there(
        self, folder, tmp_path, read_rows, read_failures
    ):
        (folder / "class-0" / "04.jpg").write_bytes(b"not a picture")
        whole = (folder / "class-1" / "05.jpg").read_bytes()
        (folder / "class-1" / "05.jpg").write_bytes(whole[: len(whole) // 2])
        (folder / "class-1" / "07.png").write_bytes(whole)
        progress = encode([folder], tmp_path / "out", 16, workers=0)
        assert (progress.done, progress.failed) == (10, 3)
        reasons = read_failures(tmp_path / "out")
        assert "not a picture" in reasons["class-0/04"]
        assert "truncated" in reasons["class-1/05"]
        assert reasons["class-1/07"] == "another picture has this name too"
        assert not set(keys(read_rows(tmp_path / "out"))) & {"class-0/04", "class-1/05"}

    def test_a_target_that_cannot_be_reached_fails_for_its_picture_only(
        self, folder, make_picture, tmp_path, read_failures
    ):
        make_picture(2000, 1500).resize((2040, 1500)).save(folder / "large.png")
        progress = encode([folder], tmp_path / "out", Target(max_bytes=50), workers=0)
        assert (progress.done, progress.failed) == (12, 1)
        assert list(read_failures(tmp_path / "out")) == ["large"]

    def test_inputs_that_are_not_there_are_an_error(self, tmp_path):
        (tmp_path / "empty").mkdir()
        for path in ("empty", "*.jpg"):
            with pytest.raises(OdpError, match="no inputs"):
                encode([tmp_path / path], tmp_path / "out", 16, workers=0)

    def test_so_are_inputs_of_several_kinds(self, folder, write_tar, tmp_path):
        write_tar("in/pictures.tar", {})
        with pytest.raises(OdpError, match="several kinds"):
            encode([folder], tmp_path / "out", 16, workers=0)


class TestWorkers:
    def test_any_number_of_workers_gives_the_same_files(self, folder, tmp_path):
        for count in (0, 2):
            encode([folder], tmp_path / f"out{count}", 16, workers=count, samples_per_part=5)
        files = sorted(path.name for path in (tmp_path / "out0").glob("*.parquet"))
        assert len(files) == 3
        for name in files:
            first, second = (tmp_path / f"out{count}" / name for count in (0, 2))
            assert first.read_bytes() == second.read_bytes()

    def test_a_worker_that_dies_is_replaced_and_what_it_dies_of_is_a_failure(self):
        from onedpiece.datasets.workers import Failure, Workers

        with Workers(die_of_seven, 2) as workers:
            results = list(workers.map([[1, 2], [3, 7, 4], [5], [6]]))
        died = Failure("the worker process died of it")
        assert results == [[2, 4], [6, died, 8], [10], [12]]

    def test_workers_that_die_all_the_time_stop_the_run(self, monkeypatch):
        from onedpiece.datasets import workers
        from onedpiece.datasets.workers import Workers

        monkeypatch.setattr(workers, "MAX_DEATHS", 2)
        with Workers(die_of_seven, 1) as workers, pytest.raises(OdpError, match="enough memory"):
            list(workers.map([[7] * 20]))


def die_of_seven(chunk):
    if 7 in chunk:
        os._exit(9)
    return [2 * number for number in chunk]


class TestResume:
    def test_parts_that_are_there_are_not_made_again(self, folder, tmp_path, read_rows):
        out = tmp_path / "out"
        encode([folder], out, 16, workers=0, samples_per_part=5)
        complete = {path.name: path.read_bytes() for path in out.glob("*.parquet")}
        (out / "part-00000-of-00001-00001.parquet").unlink()
        with pytest.raises(OutputError, match="is missing"):
            encode([folder], out, 16, workers=0, samples_per_part=5, resume=True)
        (out / "part-00000-of-00001-00002.parquet").unlink()
        progress = encode([folder], out, 16, workers=0, samples_per_part=5, resume=True)
        assert (progress.before, progress.done) == (5, 7)
        assert {path.name: path.read_bytes() for path in out.glob("*.parquet")} == complete
        again = encode([folder], out, 16, workers=0, samples_per_part=5, resume=True)
        assert (again.before, again.done) == (12, 0)

    def test_failures_of_the_earlier_run_still_count(self, folder, tmp_path):
        (folder / "class-0" / "04.jpg").write_bytes(b"not a picture")
        encode(folder, tmp_path / "out", 16, workers=0)
        again = encode(folder, tmp_path / "out", 16, workers=0, resume=True)
        assert (again.done, again.before, again.failed) == (0, 11, 1)

    def test_without_resume_parts_that_are_there_are_an_error(self, folder, tmp_path):
        encode([folder], tmp_path / "out", 16, workers=0)
        with pytest.raises(OutputError, match="--resume"):
            encode([folder], tmp_path / "out", 16, workers=0)

    def test_other_inputs_or_options_cannot_resume(self, folder, tmp_path, jpeg):
        encode([folder], tmp_path / "out", 16, workers=0)
        with pytest.raises(OutputError, match="other options"):
            encode([folder], tmp_path / "out", 17, workers=0, resume=True)
        (folder / "new.jpg").write_bytes(jpeg(99))
        with pytest.raises(OutputError, match="other inputs"):
            encode([folder], tmp_path / "out", 16, workers=0, resume=True)

    @pytest.mark.skipif(sys.platform == "win32", reason="needs the signals of POSIX")
    def test_a_killed_run_continues_with_every_key_once(self, folder, tmp_path, jpeg, read_rows):
        for number in range(300):
            (folder / f"{number:03d}.jpg").write_bytes(jpeg(number, 32, 32))
        out = tmp_path / "out"
        script = (
            "from onedpiece.datasets import encode\n"
            "if __name__ == '__main__':\n"
            f"    encode([{str(folder)!r}], {str(out)!r}, 16, workers=1, samples_per_part=32)\n"
        )
        (tmp_path / "run.py").write_text(script)
        run = subprocess.Popen([sys.executable, tmp_path / "run.py"], stdout=subprocess.PIPE)
        deadline = time.monotonic() + 60
        while not list(out.glob("part-*.parquet")) and time.monotonic() < deadline:
            time.sleep(0.01)
        run.kill()
        run.communicate(timeout=60)  # the end of the pipe: the worker ends with its parent
        before = len(list(out.glob("part-*.parquet")))
        assert 1 <= before < 10
        encode([folder], out, 16, workers=0, samples_per_part=32, resume=True)
        rows = read_rows(out)
        assert len(rows) == len(set(keys(rows))) == 312
        assert not list(out.glob(".part*"))


class TestShards:
    def test_shards_share_the_input(self, folder, tmp_path, read_rows):
        for index in range(3):
            encode([folder], tmp_path / "out", 16, workers=0, shard=Shard(index, 3))
        rows = read_rows(tmp_path / "out")
        assert sorted(keys(rows)) == sorted(f"class-{n % 2}/{n:02d}" for n in range(12))

    def test_a_shard_without_inputs_is_an_empty_part(self, folder, tmp_path):
        encode([folder], tmp_path / "out", 16, workers=0, shard=Shard(12, 13))
        (part,) = find_parts(tmp_path / "out")
        assert (part.rows, part.about.is_last) == (0, True)

    def test_other_numbers_of_shards_do_not_mix(self, folder, tmp_path):
        encode([folder], tmp_path / "out", 16, workers=0, shard=Shard(0, 2))
        with pytest.raises(OutputError, match="another folder"):
            encode([folder], tmp_path / "out", 16, workers=0, shard=Shard(0, 3))

    @pytest.mark.parametrize("index, count", [(2, 2), (-1, 2), (0, 0)])
    def test_impossible_shards_are_refused(self, index, count):
        with pytest.raises(ValueError, match="0 <= I < N"):
            Shard(index, count)
