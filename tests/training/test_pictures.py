"""Training pictures: folders and tar files, decoded once into a cache."""

import os
import tarfile
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

pytest.importorskip("torch", reason="needs the extra onedpiece[torch]")

from onedpiece.images.reader import from_pillow
from onedpiece.training import data
from onedpiece.training.data import Pictures, normalise, shards

SIZES = [(300, 260), (100, 900), (256, 256), (40, 30)]
NAMES = ["0.png", "1.png", "2.png", "more/last.webp"]


@pytest.fixture
def folder(tmp_path, make_picture):
    """Pictures of several sizes, one of them in a subfolder, and one that cannot be read."""
    folder = tmp_path / "pictures"
    (folder / "more").mkdir(parents=True)
    for seed, (size, name) in enumerate(zip(SIZES, NAMES, strict=True)):
        make_picture(*size, seed).save(folder / name)
    (folder / "2-broken.jpg").write_bytes(b"no picture at all")
    (folder / "notes.txt").write_text("not even called a picture")
    return folder


class TestSources:
    def test_a_folder_is_read_with_its_subfolders(self, folder, tmp_path, capsys):
        pictures = Pictures.open([folder], tmp_path / "cache")
        assert [pictures[i].shape for i in range(len(pictures))] == [
            (256, 295, 3),
            (512, 256, 3),
            (256, 256, 3),
            (256, 341, 3),
        ]
        (line,) = capsys.readouterr().out.splitlines()
        assert line.startswith("skipped 2-broken.jpg: ")

    def test_a_tar_file_gives_the_same_pictures(self, folder, tmp_path):
        with tarfile.open(tmp_path / "shard.tar", "w") as tar:
            for name in (*NAMES[:3], "2-broken.jpg", NAMES[3], "notes.txt"):
                tar.add(folder / name, name)
        from_tar = Pictures.open([tmp_path / "shard.tar"], tmp_path / "tar-cache")
        from_folder = Pictures.open([folder], tmp_path / "folder-cache")
        np.testing.assert_array_equal(from_tar.index, from_folder.index)
        np.testing.assert_array_equal(from_tar.pixels, from_folder.pixels)

    def test_pictures_of_the_right_size_are_not_changed(self, folder, tmp_path, make_picture):
        pictures = Pictures.open([folder], tmp_path / "cache")
        np.testing.assert_array_equal(pictures[2], np.asarray(make_picture(256, 256, 2)))

    def test_a_folder_of_tar_files_is_replaced_by_these_oldest_first(self, tmp_path):
        for seconds, name in enumerate(("b.tar", "a.tar", "c.tar")):
            (tmp_path / name).touch()
            os.utime(tmp_path / name, (seconds, seconds))
        assert [p.name for p in shards([tmp_path])] == ["b.tar", "a.tar", "c.tar"]
        assert shards([tmp_path / "b.tar"]) == [tmp_path / "b.tar"]

    def test_a_source_without_readable_pictures_is_an_error(self, tmp_path):
        (tmp_path / "empty").mkdir()
        with pytest.raises(ValueError, match="no readable picture"):
            Pictures.open([tmp_path / "empty"], tmp_path / "cache")

    def test_a_file_that_is_not_a_whole_tar_file_is_an_error(self, folder, tmp_path):
        with tarfile.open(tmp_path / "truncated.tgz", "w:gz") as tar:
            tar.add(folder / "0.png", "0.png")
        data = (tmp_path / "truncated.tgz").read_bytes()
        (tmp_path / "truncated.tgz").write_bytes(data[: len(data) // 2])
        for source in (folder / "0.png", tmp_path / "truncated.tgz"):
            with pytest.raises(ValueError, match=r"neither a folder nor a whole tar file$"):
                Pictures.open([source], tmp_path / "cache")

    def test_a_picture_that_makes_pillow_fail_is_skipped(self, folder, tmp_path, capsys):
        data = (folder / "0.png").read_bytes()
        offset = data.rindex(b"IDAT")
        (folder / "0.png").write_bytes(data[:offset] + b"ID\0\0" + data[offset + 4 :])
        assert len(Pictures.open([folder], tmp_path / "cache")) == 3
        assert "skipped 0.png" in capsys.readouterr().out

    def test_what_is_called_a_picture_and_is_no_file_is_left_out(self, folder, tmp_path):
        (folder / "folder.jpg").mkdir()
        (folder / "link.png").symlink_to("nowhere")
        assert len(Pictures.open([folder], tmp_path / "cache")) == 4
        with tarfile.open(tmp_path / "shard.tar", "w") as tar:
            for path in sorted(folder.iterdir()):
                tar.add(path, path.name, recursive=False)
        assert len(Pictures.open([tmp_path / "shard.tar"], tmp_path / "tar-cache")) == 3

    @pytest.mark.parametrize("mode, colour", [("I;16", 30_000), ("RGBA", (255, 0, 0, 0))])
    def test_pixels_are_those_that_an_encoder_sees(self, mode, colour):
        picture = Image.new(mode, (256, 256), colour)
        np.testing.assert_array_equal(normalise(picture), from_pillow(picture).pixels)

    def test_a_long_thin_picture_does_not_become_huge_on_the_way(self, monkeypatch):
        resize, sizes = Image.Image.resize, []

        def watched(image, size, *arguments, **options):
            sizes.append(size)
            return resize(image, size, *arguments, **options)

        monkeypatch.setattr(Image.Image, "resize", watched)
        assert normalise(Image.new("RGB", (20_000, 1))).shape == (256, 512, 3)
        assert len(sizes) == 1 and max(sizes[0]) <= 16 * 256


class TestCache:
    def test_it_is_kept_for_the_same_sources_and_replaced_for_others(self, folder, tmp_path):
        cache = tmp_path / "cache"
        Pictures.open([folder], cache)
        written = (cache / "pixels.u8").stat().st_mtime_ns
        assert len(Pictures.open([folder], cache)) == 4
        assert (cache / "pixels.u8").stat().st_mtime_ns == written
        assert len(Pictures.open([folder / "more"], cache)) == 1

    def test_sources_that_come_later_are_appended(self, folder, tmp_path, monkeypatch):
        cache, more = tmp_path / "cache", folder / "more"
        Pictures.open([folder], cache)
        decoded = []
        monkeypatch.setattr(data, "normalise", lambda p: decoded.append(p) or normalise(p))
        pictures = Pictures.open([folder, more], cache)
        assert (len(pictures), len(decoded)) == (5, 1)
        np.testing.assert_array_equal(pictures[4], pictures[3])

    def test_it_survives_an_index_that_cannot_be_written(self, folder, tmp_path, monkeypatch):
        cache = tmp_path / "cache"
        Pictures.open([folder], cache)
        write = Path.write_text

        def full_disk(self, text):
            write(self, text[:20])
            raise OSError("no space left")

        monkeypatch.setattr(Path, "write_text", full_disk)
        with pytest.raises(OSError, match="no space"):
            Pictures.open([folder, folder / "more"], cache)
        assert len(Pictures.open([folder], cache)) == 4

    def test_it_survives_sources_without_a_picture(self, folder, tmp_path):
        cache = tmp_path / "cache"
        before = Pictures.open([folder], cache)
        (tmp_path / "empty").mkdir()
        with pytest.raises(ValueError, match="no readable picture"):
            Pictures.open([tmp_path / "empty"], cache)
        assert sorted(path.name for path in cache.iterdir()) == ["index.json", "pixels.u8"]
        np.testing.assert_array_equal(Pictures.open([folder], cache).pixels, before.pixels)


def test_the_centre_is_in_the_middle(pictures):
    i = len(pictures) - 1
    left = (pictures[i].shape[1] - 256) // 2
    np.testing.assert_array_equal(pictures.centre(i), pictures[i][:, left : left + 256])
