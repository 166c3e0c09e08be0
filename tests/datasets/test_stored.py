"""What is done with a token dataset: decode, describe, verify, convert."""

import json
import tarfile

import numpy as np
import pytest
from PIL import Image

pytest.importorskip("pyarrow", reason="needs pyarrow: pip install 'onedpiece[datasets]'")
import pyarrow as pa
import pyarrow.parquet as pq

from onedpiece.bitstream.chunks import Chunk
from onedpiece.datasets import convert, decode, describe, encode, verify
from onedpiece.datasets.encoding import Shard
from onedpiece.datasets.rows import image_of, row_of
from onedpiece.encoded_image import EncodedImage
from onedpiece.errors import DamagedFile, OdpError, OutputError, TruncatedFile
from onedpiece.rate_control import Target


@pytest.fixture
def dataset(folder, tmp_path):
    """Twelve pictures, one of which fails, in parts of five."""
    (folder / "class-0" / "04.jpg").write_bytes(b"not a picture")
    encode([folder], tmp_path / "tokens", 16, workers=0, samples_per_part=5)
    return tmp_path / "tokens"


def part_columns(part):
    return pq.ParquetFile(part).schema_arrow.names


def rewrite(part, change):
    """Change the rows of a part, and keep its metadata."""
    file = pq.ParquetFile(part)
    table, about = file.read(), file.metadata.metadata[b"onedpiece"]
    file.close()
    table = pa.Table.from_pylist(change(table.to_pylist()), table.schema)
    with pq.ParquetWriter(part, table.schema) as writer:
        writer.write_table(table)
        writer.add_key_value_metadata({b"onedpiece": about})


class TestRows:
    @pytest.mark.parametrize(
        "size, target",
        [
            ((256, 256), Target(64)),
            ((30, 9), Target(1)),
            ((700, 300), Target(20)),
            ((700, 300), Target(20, adaptive=True)),
            ((500, 400), Target(600)),
            ((500, 400), Target(max_bytes=150)),
        ],
        ids=str,
    )
    def test_a_file_comes_back_from_its_row(self, codec, make_picture, size, target):
        data = codec.encode(make_picture(*size).convert("RGBA"), target)
        row = row_of(codec.parse(data), keep_file=True)
        assert row.odp == data
        assert image_of(row.front, row.tokens).to_bytes() == data
        assert (row.width, row.height) == size

    def test_chunks_and_grey_come_back(self, codec, make_picture):
        picture = make_picture(300, 200).convert("LA")
        picture.putalpha(Image.linear_gradient("L").resize((300, 200)))
        image = codec.parse(codec.encode(picture, 8))
        row = row_of(image)
        assert image_of(row.front, row.tokens).to_bytes() == image.to_bytes()

    def test_the_first_tokens_are_the_truncated_picture(self, codec, make_picture):
        data = codec.encode(make_picture(700, 300), 20)
        row = row_of(codec.parse(data))
        tiles = row.grid_rows * row.grid_columns
        shorter = codec.parse(data).truncate(7).to_bytes()
        assert image_of(row.front, row.tokens[: 7 * tiles]).to_bytes() == shorter

    def test_a_truncated_file_is_no_row(self, codec, one_tile):
        with pytest.raises(TruncatedFile):
            row_of(codec.parse(one_tile[:-9]))

    @pytest.mark.parametrize("tokens", [[], [5000] * 64, [-1] * 64, [1] * 65])
    def test_tokens_that_do_not_fit_are_an_error(self, codec, one_tile, tokens):
        front = row_of(codec.parse(one_tile)).front
        with pytest.raises(DamagedFile):
            image_of(front, np.array(tokens, int))
        with pytest.raises(OdpError):
            image_of(front[:-1], np.array([1] * 64))
        with pytest.raises(OdpError):
            image_of(front + b"x", np.array([1] * 64))


class TestDecode:
    def test_pictures_are_called_like_their_keys(self, dataset, tmp_path, codec, read_rows):
        progress = decode(dataset, tmp_path / "out", workers=0)
        assert (progress.done, progress.failed) == (11, 0)
        row = read_rows(dataset)[0]
        expected = np.asarray(codec.decode(image_of(row["front"], row["tokens"])), int)
        with Image.open(tmp_path / "out" / "class-0" / "00.png") as picture:
            assert picture.size == (64, 48)
            assert np.abs(np.asarray(picture) - expected).max() <= 1

    def test_a_run_can_go_on(self, dataset, tmp_path):
        decode(dataset, tmp_path / "out", 2, workers=0, suffix=".jpg")
        (tmp_path / "out" / "class-1" / "03.jpg").unlink()
        again = decode(dataset, tmp_path / "out", 2, workers=1, suffix=".jpg", skip_existing=True)
        assert (again.before, again.done) == (10, 1)
        refused = decode(dataset, tmp_path / "out", 2, workers=0, suffix=".jpg")
        assert (refused.done, refused.failed) == (0, 11)

    @pytest.mark.parametrize("key", ["../out", "/etc/x", "a/../../x", "", "a\0b"])
    def test_no_key_leads_out_of_the_folder(self, dataset, tmp_path, read_failures, key):
        def change(rows):
            rows[0]["key"] = key
            return rows

        first = next(dataset.glob("*00000.parquet"))
        rewrite(first, change)
        progress = decode(first, tmp_path / "a" / "b", 1, workers=0)
        assert progress.failed == 1
        assert read_failures(tmp_path / "a" / "b") == {key: "the key is no file name"}
        assert [path.name for path in (tmp_path / "a").iterdir()] == ["b"]


class TestDescribe:
    def test_it_counts_rows_failures_and_tokens(self, dataset):
        facts = describe(dataset)
        assert (facts["rows"], facts["failed"], facts["parts"]) == (11, 1, 3)
        assert facts["reasons"] == {"not a picture in a format that can be read": 1}
        assert (facts["shards"], facts["incomplete_shards"]) == (1, [])
        assert (facts["token_set"], facts["tokens_per_row"]) == ("onedpiece-1", 16)
        assert facts["bytes"] == sum(path.stat().st_size for path in dataset.glob("*.parquet"))

    def test_it_names_shards_that_are_not_complete(self, folder, tmp_path):
        encode([folder], tmp_path / "out", 16, workers=0, shard=Shard(1, 3), samples_per_part=2)
        assert describe(tmp_path / "out")["incomplete_shards"] == [0, 2]
        max((tmp_path / "out").glob("*.parquet")).unlink()
        assert describe(tmp_path / "out")["incomplete_shards"] == [0, 1, 2]

    def test_a_damaged_side_file_is_an_error(self, dataset):
        side = next((dataset / "failures").iterdir())
        side.write_text(side.read_text()[:10])
        with pytest.raises(OdpError, match="damaged"):
            describe(dataset)

    def test_other_parquet_files_are_no_dataset(self, tmp_path):
        pq.write_table(pa.table({"a": [1]}), tmp_path / "a.parquet")
        for path in (tmp_path, tmp_path / "missing"):
            with pytest.raises(OdpError, match=r"no part|no token dataset"):
                describe(path)


class TestVerify:
    def problems(self, dataset):
        return {problem.where: problem.reason for problem in verify(dataset)}

    def test_a_whole_dataset_has_no_problem(self, dataset):
        assert self.problems(dataset) == {}

    def test_a_missing_part_is_a_problem(self, dataset):
        next(dataset.glob("*00001.parquet")).unlink()
        assert self.problems(dataset) == {str(dataset): "shard 0 is not complete"}

    def test_rows_are_checked(self, dataset):
        def change(rows):
            rows[0]["tokens"] = rows[0]["tokens"][:-1]
            rows[1]["tokens"][3] = 4096
            rows[2]["front"] = b"\x9dP"
            rows[3]["width"] = 65
            return rows

        keys = [row["key"] for row in pq.read_table(next(dataset.glob("*00.parquet"))).to_pylist()]
        rewrite(next(dataset.glob("*00000.parquet")), change)
        problems = self.problems(dataset)
        assert list(problems) == keys[:4]
        assert problems[keys[0]] == "tokens are missing"
        assert problems[keys[3]] == "wrong width"

    def test_nulls_and_columns_of_other_types_are_problems(self, dataset):
        def nulls(rows):
            rows[0] |= {"tokens": None}
            rows[1] |= {"front": None}
            return rows

        first, second, _ = sorted(dataset.glob("*.parquet"))
        rewrite(first, nulls)
        rewrite(second, lambda rows: [{**row, "width": None} for row in rows])
        assert len(self.problems(dataset)) == 2 + len(pq.read_table(second))
        about = pq.ParquetFile(second).metadata.metadata[b"onedpiece"]
        table = pq.read_table(second)
        table = table.set_column(5, "tokens", pa.array(["text"] * len(table)))
        pq.write_table(table.replace_schema_metadata({b"onedpiece": about}), second)
        assert "column tokens is of another type" in self.problems(dataset)[str(second)]

    def test_a_column_of_files_must_hold_the_same_pictures(self, folder, tmp_path):
        encode([folder], tmp_path / "out", 16, workers=0, keep_files=True)

        def change(rows):
            rows[0]["odp"], rows[1]["odp"] = rows[1]["odp"], rows[0]["odp"]
            return rows

        rewrite(next((tmp_path / "out").glob("*.parquet")), change)
        reasons = self.problems(tmp_path / "out")
        assert [*reasons.values()] == ["the column odp holds another picture"] * 2

    def test_a_key_that_is_there_twice_is_found(self, dataset):
        def change(rows):
            rows[1]["key"] = rows[0]["key"]
            return rows

        rewrite(next(dataset.glob("*00002.parquet")), change)
        assert [*self.problems(dataset).values()] == ["the key is there twice"]

    def test_a_flipped_bit_of_a_token_is_found(self, dataset):
        part = next(dataset.glob("*00001.parquet"))
        metadata = pq.ParquetFile(part).metadata
        column = metadata.row_group(0).column(part_columns(part).index("tokens"))
        data = bytearray(part.read_bytes())
        data[column.data_page_offset + column.total_compressed_size - 5] ^= 1
        part.write_bytes(data)
        assert "damaged" in self.problems(dataset)[str(part)]

    def test_damage_is_found(self, dataset):
        part = next(dataset.glob("*00001.parquet"))
        data = bytearray(part.read_bytes())
        data[100:400] = bytes(300)
        part.write_bytes(data)
        assert "damaged" in self.problems(dataset)[str(part)]


class TestModelsThatAreNotInstalled:
    @pytest.fixture
    def foreign(self, folder, tmp_path, installed_paper):
        """A dataset of a model that only its directory has."""
        encode([folder], tmp_path / "tokens", 16, workers=0, model=installed_paper.path)
        return tmp_path / "tokens"

    def test_their_datasets_are_decoded_and_converted(self, foreign, tmp_path, installed_paper):
        model = installed_paper.path
        assert decode(foreign, tmp_path / "pictures", model=model, workers=0).failed == 0
        assert convert(foreign, tmp_path / "files", "folder", model=model).failed == 0
        assert convert(foreign, tmp_path / "unknown", "folder").failed == 12


def test_arguments_out_of_range_are_refused_before_anything_is_written(folder, dataset, tmp_path):
    out = tmp_path / "out"
    for call in (
        lambda: encode([folder], out, 16, effort=7, workers=0),
        lambda: decode(dataset, out, 0, workers=0),
        lambda: decode(dataset, out, realism=3, workers=0),
        lambda: convert(dataset, out, "zip"),
        lambda: convert(dataset, out, "tar", samples_per_part=0),
    ):
        with pytest.raises(ValueError):
            call()
    assert not out.exists()


class TestConvert:
    def files(self, folder):
        return {
            path.relative_to(folder).with_suffix("").as_posix(): path.read_bytes()
            for path in folder.rglob("*.odp")
        }

    def test_there_and_back_through_a_folder(self, dataset, tmp_path, codec, read_rows):
        progress = convert(dataset, tmp_path / "files", "folder")
        files = self.files(tmp_path / "files")
        assert progress.done == len(files) == 11
        assert all(codec.parse(data).num_tokens == 16 for data in files.values())
        convert(tmp_path / "files", tmp_path / "back", "parquet")
        assert read_rows(tmp_path / "back") == read_rows(dataset)
        assert list(verify(tmp_path / "back")) == []

    def test_there_and_back_through_tars(self, dataset, tmp_path, read_rows):
        convert(dataset, tmp_path / "tars", "tar", samples_per_part=5)
        tars = sorted((tmp_path / "tars").iterdir())
        assert [path.name for path in tars] == ["000000.tar", "000001.tar", "000002.tar"]
        convert(tmp_path / "tars", tmp_path / "back", "parquet", columns=())
        assert read_rows(tmp_path / "back") == read_rows(dataset)
        convert(f"{tmp_path}/tars/*.tar", tmp_path / "files", "folder")
        convert(dataset, tmp_path / "direct", "folder")
        assert self.files(tmp_path / "files") == self.files(tmp_path / "direct")

    def test_webdataset_reads_the_tars_with_their_columns(self, jpeg, tmp_path):
        webdataset = pytest.importorskip("webdataset", reason="needs webdataset")
        table = pa.table({"jpg": [jpeg()], "key": ["a.b"], "cls": [7], "score": [0.5]})
        pq.write_table(table, tmp_path / "a.parquet")
        encode([tmp_path / "a.parquet"], tmp_path / "out", 16, workers=0)
        convert(tmp_path / "out", tmp_path / "tars", "tar")
        (sample,) = webdataset.WebDataset(str(tmp_path / "tars/000000.tar"), shardshuffle=False)
        assert sample["cls"] == b"7" and json.loads(sample["json"]) == {"score": 0.5}
        assert EncodedImage.from_bytes(sample["odp"]).num_tokens == 16

    def test_nulls_are_failures(self, dataset, tmp_path, read_failures):
        def nulls(rows):
            rows[0]["tokens"] = rows[1]["front"] = rows[2]["key"] = None
            return rows

        rewrite(next(dataset.glob("*00000.parquet")), nulls)
        for to in ("tar", "folder"):
            progress = convert(dataset, tmp_path / to, to)
            assert (progress.done, progress.failed) == (8, 3)
            assert "the key is empty" in read_failures(tmp_path / to).values()
        assert decode(dataset, tmp_path / "pictures", workers=0, skip_existing=True).failed == 3

    def test_a_file_in_the_place_of_a_folder_is_a_failure(self, dataset, tmp_path, read_failures):
        def change(rows):
            rows[0]["key"], rows[1]["key"] = "a", "a.odp/b"
            return rows

        rewrite(next(dataset.glob("*00000.parquet")), change)
        progress = convert(dataset, tmp_path / "files", "folder")
        assert (progress.done, progress.failed) == (10, 1)
        assert "cannot be written" in read_failures(tmp_path / "files")["a.odp/b"]

    def test_files_that_are_no_rows_are_failures(self, dataset, tmp_path, one_tile, read_failures):
        convert(dataset, tmp_path / "files", "folder")
        (tmp_path / "files" / "cut.odp").write_bytes(one_tile[:-9])
        (tmp_path / "files" / "bad.odp").write_bytes(b"bad")
        progress = convert(tmp_path / "files", tmp_path / "back", "parquet")
        assert (progress.done, progress.failed) == (11, 2)
        reasons = read_failures(tmp_path / "back")
        assert "truncated" in reasons["cut"] and set(reasons) == {"cut", "bad"}

    def test_files_of_another_token_set_are_failures(
        self, tmp_path, one_tile, uninstalled, read_failures
    ):
        (tmp_path / "files").mkdir()
        (tmp_path / "files" / "a.odp").write_bytes(one_tile)
        (tmp_path / "files" / "b.odp").write_bytes(uninstalled)
        convert(tmp_path / "files", tmp_path / "out", "parquet")
        assert read_failures(tmp_path / "out") == {"b": "its token set is not onedpiece-1"}

    def test_outputs_are_not_overwritten(self, dataset, tmp_path):
        convert(dataset, tmp_path / "tars", "tar")
        with pytest.raises(OutputError, match="exists"):
            convert(dataset, tmp_path / "tars", "tar")
        convert(dataset, tmp_path / "tars", "tar", force=True)
        with tarfile.open(tmp_path / "tars" / "000000.tar") as tar:
            assert len(tar.getmembers()) == 11
        assert [path.name for path in (tmp_path / "tars").iterdir()] == ["000000.tar"]
        for _ in range(2):
            progress = convert(dataset, tmp_path / "files", "folder")
        assert (progress.done, progress.failed) == (0, 11)
        with pytest.raises(OdpError, match="Parquet dataset already"):
            convert(dataset, tmp_path / "again", "parquet")


def test_files_with_chunks_pass_through(codec, make_picture, tmp_path):
    """A chunk that this version does not know is kept."""
    tokens = np.arange(8)[None]
    image = EncodedImage.from_tokens(tokens, 256, 256, chunks=[Chunk(100, b"unknown")])
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "a.odp").write_bytes(image.to_bytes())
    convert(tmp_path / "in", tmp_path / "out", "parquet")
    convert(tmp_path / "out", tmp_path / "back", "folder")
    assert (tmp_path / "back" / "a.odp").read_bytes() == image.to_bytes()
