"""Small inputs of every kind, and what a dataset on the disk holds."""

import io
import json
import tarfile

import pytest

TOKENS = 16


@pytest.fixture(scope="session")
def jpeg(make_picture):
    """(seed, width, height) -> the bytes of a small JPEG picture."""

    def make(seed=0, width=64, height=48):
        file = io.BytesIO()
        make_picture(width, height, seed).save(file, "JPEG")
        return file.getvalue()

    return make


@pytest.fixture
def folder(tmp_path, jpeg):
    """Twelve pictures in two folders of classes."""
    for seed in range(12):
        path = tmp_path / "in" / f"class-{seed % 2}" / f"{seed:02d}.jpg"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(jpeg(seed))
    (tmp_path / "in" / "notes.md").write_text("not a picture")
    return tmp_path / "in"


@pytest.fixture
def write_tar(tmp_path):
    """(name, {member: bytes}) -> the path of a tar file."""

    def write(name, members):
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        with tarfile.open(path, "w:gz" if name.endswith("gz") else "w") as tar:
            for member, data in members.items():
                info = tarfile.TarInfo(member)
                info.size = len(data)
                tar.addfile(info, io.BytesIO(data))
        return path

    return write


@pytest.fixture
def read_rows():
    """A dataset's folder -> its rows, as dicts, in the order of the parts."""

    def read(path):
        import pyarrow.parquet as pq

        parts = sorted(path.glob("*.parquet"))
        return [row for part in parts for row in pq.ParquetFile(part).read().to_pylist()]

    return read


@pytest.fixture
def read_failures():
    """A dataset's folder -> {key: reason}."""

    def read(path):
        lines = [
            json.loads(line)
            for file in sorted((path / "failures").glob("*.jsonl"))
            for line in file.read_text().splitlines()
        ]
        return {line["key"]: line["reason"] for line in lines}

    return read
