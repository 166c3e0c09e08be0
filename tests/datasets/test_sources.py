"""Inputs of every kind: folders, patterns, URLs, WebDataset tars and Parquet files."""

import io
import sys
from pathlib import Path

import pytest

pytest.importorskip("pyarrow", reason="needs pyarrow: pip install 'onedpiece[datasets]'")
import pyarrow as pa
import pyarrow.parquet as pq

from onedpiece.datasets import encode, places, tars
from onedpiece.datasets.sources import Columns, Source
from onedpiece.errors import OdpError


def found(*inputs, **options):
    """Everything that a source finds."""
    source = Source([str(path) for path in inputs], {".jpg", ".png"}, **options)
    return [sample.found for sample in source.samples()]


def failures(samples):
    return {sample.key: sample.error for sample in samples if sample.error}


class TestFolders:
    def test_pictures_are_sorted_and_read_by_whoever_needs_them(self, folder):
        samples = found(folder)
        assert [sample.key for sample in samples][:2] == ["class-0/00", "class-0/02"]
        assert Path(samples[0].data) == folder / "class-0" / "00.jpg"

    def test_a_pattern_keeps_the_names_below_it(self, folder):
        samples = found(folder / "*" / "0[01].jpg")
        assert [sample.key for sample in samples] == ["class-0/00", "class-1/01"]

    def test_a_url_is_read_through_fsspec(self, folder, tmp_path, read_rows):
        pytest.importorskip("fsspec", reason="needs fsspec")
        encode([folder.as_uri()], tmp_path / "out", 16, workers=0)
        assert read_rows(tmp_path / "out")[0]["key"] == "class-0/00"

    @pytest.mark.skipif(sys.platform != "linux", reason="names of files are Unicode there")
    def test_a_name_that_is_not_unicode_becomes_a_key(self, tmp_path, jpeg, read_rows):
        (tmp_path / "in").mkdir()
        with open(bytes(tmp_path / "in") + b"/caf\xe9.jpg", "wb") as file:
            file.write(jpeg())
        encode([tmp_path / "in"], tmp_path / "out", 16, workers=0)
        assert read_rows(tmp_path / "out")[0]["key"] == r"caf\xe9"

    def test_a_name_on_the_hub_is_a_url_that_its_library_understands(self, tmp_path, monkeypatch):
        hub = pytest.importorskip("huggingface_hub.hf_file_system", reason="needs huggingface_hub")
        if not hasattr(hub, "parse_hf_uri"):
            pytest.skip("needs a newer huggingface_hub")
        asked = []
        monkeypatch.setattr(places, "_find_remote", lambda url, wanted: asked.append(url))
        with pytest.raises(OdpError, match="no inputs"):
            found("hf:owner/name/default/train")
        uri = hub.parse_hf_uri(asked[0])
        assert (uri.type, uri.id) == ("dataset", "owner/name")
        assert (uri.revision, uri.path_in_repo) == ("refs/convert/parquet", "default/train")
        with pytest.raises(OdpError, match="hf:OWNER/NAME"):
            found("hf:name")

    def test_an_input_that_does_not_exist_is_an_error_before_anything_is_written(
        self, folder, tmp_path
    ):
        with pytest.raises(OdpError, match="does not exist"):
            encode([folder, tmp_path / "nowhere"], tmp_path / "out", 16, workers=0)
        assert not (tmp_path / "out").exists()

    def test_a_url_of_an_unknown_kind_is_an_error(self):
        pytest.importorskip("fsspec", reason="needs fsspec")
        with pytest.raises(OdpError, match="nowhere"):
            found("nowhere://bucket/pictures")


class TestTars:
    def test_members_of_one_name_are_one_sample(self, write_tar, jpeg):
        tar = write_tar(
            "a.tar",
            {
                "./x/1.jpg": jpeg(1),
                "./x/1.cls": b"7",
                "./x/1.json": b'{"a": 1}',
                "./x/2.txt": b"caf\xc3\xa9",
                "./x/2.jpg": jpeg(2),
                "./x/2.seg.png": b"left out",
            },
        )
        first, second = found(tar)
        assert (first.key, first.data) == ("./x/1", jpeg(1))
        assert first.columns == {"cls": 7, "json": '{"a": 1}'}
        assert second.columns == {"txt": "café"}

    def test_they_are_those_that_webdataset_finds(self, write_tar, jpeg):
        webdataset = pytest.importorskip("webdataset", reason="needs webdataset")
        tar = write_tar(
            "a.tar",
            {
                "a/b.c/1.jpg": jpeg(1),
                "2.cls": b"7",
                "2.jpg": jpeg(2),
                ".hidden": b"",
                "__meta__/3.jpg": jpeg(3),
                "no-extension": b"",
                "4.v2.jpg": jpeg(4),
            },
        )
        theirs = list(webdataset.WebDataset(str(tar), shardshuffle=False))
        assert [sample.key for sample in found(tar)] == [one["__key__"] for one in theirs]

    def test_a_compressed_tar_is_read_too(self, write_tar, jpeg):
        (sample,) = found(write_tar("a.tar.gz", {"1.jpg": jpeg()}))
        assert sample.data == jpeg()

    def test_other_members_are_counted(self, write_tar, jpeg):
        tar = write_tar("a.tar", {"1.jpg": jpeg(), "1.npy": b"", "2.jpg": jpeg(), "2.npy": b""})
        source = Source([str(tar)], {".jpg"})
        assert len(list(source.samples())) == 2
        assert source.left_out == {"npy": 2}

    @pytest.mark.parametrize("name", ["a.tar", "a.tgz"])
    def test_a_cut_anywhere_is_reported_and_samples_before_it_are_there(
        self, write_tar, jpeg, name
    ):
        members = {f"{number}.jpg": jpeg(number) for number in range(4)}
        path = write_tar(name, members)
        whole = path.read_bytes()
        for end in (len(whole) // 2, 512 * (len(whole) // 1024), len(whole) // 3):
            path.write_bytes(whole[:end])
            samples = found(path)
            assert "truncated" in failures(samples)[str(path)]
            good = [sample for sample in samples if not sample.error]
            assert [sample.data for sample in good] == [*members.values()][: len(good)]

    def test_so_is_a_tar_that_lost_its_end_between_two_members(self, write_tar, jpeg):
        path = write_tar("a.tar", {"1.jpg": jpeg(1), "2.jpg": jpeg(2)})
        member = 512 + -(-len(jpeg(1)) // 512) * 512
        path.write_bytes(path.read_bytes()[:member])
        samples = found(path)
        assert "no end" in failures(samples)[str(path)]

    def test_a_sample_without_a_picture_or_with_a_bad_label_is_a_failure(self, write_tar, jpeg):
        members = {"1.txt": b"alone", "2.jpg": jpeg(), "2.cls": b"cat", "3.cls": b"9" * 30}
        reasons = failures(found(write_tar("a.tar", members)))
        assert reasons["1"] == "there is no picture among its members"
        assert reasons["2"].startswith(".cls: ") and "too large" in reasons["3"]

    def test_what_is_no_tar_is_a_failure(self, tmp_path):
        (tmp_path / "a.tar").write_bytes(b"no tar file" * 100)
        assert "damaged" in failures(found(tmp_path / "a.tar"))[str(tmp_path / "a.tar")]

    def test_an_extended_header_is_limited(self, tmp_path):
        import tarfile

        info = tarfile.TarInfo("x")
        info.type, info.size = tarfile.XHDTYPE, 1 << 33
        (tmp_path / "a.tar").write_bytes(info.tobuf(tarfile.GNU_FORMAT) + bytes(2048))
        assert "too long" in failures(found(tmp_path / "a.tar"))[str(tmp_path / "a.tar")]

    @pytest.mark.parametrize("key", ["a", "x/a.b.c", ".hidden/..x", "50%", "a%2Eb", "%25"])
    def test_a_key_with_dots_survives(self, key):
        assert tars.unescape(tars.escape(key)) == key
        assert "." not in tars.escape(key).rpartition("/")[2]


class TestParquet:
    @pytest.fixture
    def table(self, jpeg):
        """As Hugging Face writes pictures: a struct of bytes and path."""
        return pa.table(
            {
                "image": [{"bytes": jpeg(n), "path": f"{n}.jpg"} for n in range(5)],
                "label": pa.array(range(5), pa.int8()),
                "caption": [f"number {n}" for n in range(5)],
            }
        )

    def write(self, path, table):
        path.parent.mkdir(exist_ok=True)
        pq.write_table(table, path)
        return path

    def test_other_columns_pass_through_with_their_types(self, tmp_path, table, read_rows):
        self.write(tmp_path / "data" / "train-0.parquet", table)
        encode([tmp_path / "data"], tmp_path / "out", 16, workers=0)
        rows = read_rows(tmp_path / "out")
        assert [row["key"] for row in rows] == [f"train-0/{n:07d}" for n in range(5)]
        assert [row["label"] for row in rows] == list(range(5))
        assert rows[3]["caption"] == "number 3"
        schema = pq.read_schema(next((tmp_path / "out").glob("*.parquet")))
        assert schema.field("label").type == pa.int8()

    def test_columns_can_be_chosen_and_names_of_ours_are_moved(self, tmp_path, jpeg, read_rows):
        table = pa.table({"jpg": [jpeg(1)], "key": ["k"], "width": [640], "x": [1], "y": [2]})
        path = self.write(tmp_path / "a.parquet", table)
        encode([path], tmp_path / "out", 16, workers=0, columns=Columns(passed=("width", "y")))
        (row,) = read_rows(tmp_path / "out")
        assert (row["key"], row["width"], row["source_width"], row["y"]) == ("k", 64, 640, 2)
        assert "x" not in row

    def test_nulls_are_failures(self, tmp_path, table):
        rows = table.to_pylist()
        rows[1]["image"] = None
        rows[2]["image"]["bytes"] = None
        path = self.write(tmp_path / "a.parquet", pa.Table.from_pylist(rows, table.schema))
        reasons = failures(found(path))
        assert reasons == {
            "a/0000001": "the picture is null",
            "a/0000002": "there are no bytes, only the path 2.jpg",
        }

    def test_text_is_no_picture_even_if_it_is_the_path_of_one(self, tmp_path, folder):
        path = str(next(folder.rglob("*.jpg")))
        table = pa.table({"image": [{"bytes": path}], "link": [path]})
        file = self.write(tmp_path / "a.parquet", table)
        with pytest.raises(OdpError, match="no column of pictures"):
            found(file)
        for column in ("image", "link"):
            reasons = failures(found(file, columns=Columns(picture=column)))
            assert reasons == {"a/0000000": "the picture is not bytes but str"}

    def test_a_file_with_other_columns_is_a_failure(self, tmp_path, table):
        self.write(tmp_path / "data" / "a.parquet", table)
        other = self.write(tmp_path / "data" / "b.parquet", table.drop_columns(["caption"]))
        more = table.append_column("extra", pa.array(range(5)))
        third = self.write(tmp_path / "data" / "c.parquet", more)
        samples = found(tmp_path / "data")
        assert set(failures(samples)) == {str(other), str(third)}
        assert len(samples) == 5 + 2

    def test_a_damaged_file_is_a_failure_and_rows_before_the_damage_are_there(self, tmp_path, jpeg):
        rows = [{"image": {"bytes": jpeg(n), "path": ""}} for n in range(100)]
        file = io.BytesIO()
        pq.write_table(pa.Table.from_pylist(rows), file, row_group_size=50, compression="zstd")
        data = bytearray(file.getvalue())
        data[len(data) // 2 : len(data) // 2 + 4000] = bytes(4000)
        (tmp_path / "a.parquet").write_bytes(data)
        samples = found(tmp_path / "a.parquet")
        assert 30 <= len(samples) < 100
        assert "lost from row" in failures(samples)[str(tmp_path / "a.parquet")]

    def test_a_file_without_pictures_is_an_error(self, tmp_path):
        path = self.write(tmp_path / "a.parquet", pa.table({"label": [1]}))
        with pytest.raises(OdpError, match="no column of pictures: it has label"):
            found(path)
        with pytest.raises(OdpError, match="no column 'photo'"):
            found(path, columns=Columns("photo"))
        (tmp_path / "a.parquet").write_bytes(b"no Parquet")
        with pytest.raises(OdpError, match="no Parquet file"):
            found(path)
