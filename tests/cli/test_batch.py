"""Several inputs: which files they are, where outputs go, and that others go on after a failure."""

import contextlib
import errno
import json
import os
import re
import signal
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path

import pytest
from odp_files import parse
from PIL import Image


@pytest.fixture
def album(tmp_path, make_picture):
    """A folder of three small pictures and a text file."""
    folder = tmp_path / "album"
    folder.mkdir()
    for seed, name in enumerate(["a.png", "b.jpg", "c.webp"]):
        make_picture(40 + seed, 30, seed).save(folder / name)
    (folder / "notes.txt").write_text("not a picture")
    return folder


def names(folder):
    return sorted(path.name for path in folder.iterdir())


class TestInputs:
    def test_a_folder_gives_its_pictures(self, odp, album, tmp_path):
        result = odp("encode", album, "--out-dir", tmp_path / "out", "-n", 2)
        assert (result.code, result.stdout) == (0, b"")
        assert names(tmp_path / "out") == ["a.odp", "b.odp", "c.odp"]
        *lines, last = result.stderr.splitlines()
        assert [line.split(" -> ")[0] for line in lines] == [
            str(album / name) for name in ("a.png", "b.jpg", "c.webp")
        ]
        assert last == "odp: 3 done, 0 skipped, 0 failed"

    def test_a_quoted_pattern_gives_what_it_matches(self, odp, album, tmp_path):
        assert odp("encode", "album/[ab].*", "--out-dir", "out", "-n", 2).code == 0
        assert names(tmp_path / "out") == ["a.odp", "b.odp"]

    def test_a_file_whose_name_looks_like_a_pattern_is_a_file(self, odp, make_picture, tmp_path):
        make_picture(20, 20).save(tmp_path / "[ab].png")
        assert odp("encode", tmp_path / "[ab].png", "--out-dir", tmp_path / "out").code == 0
        assert names(tmp_path / "out") == ["[ab].odp"]

    def test_a_pattern_without_a_match_is_a_failure(self, odp, album, tmp_path):
        result = odp("encode", album / "*.bmp", album / "a.png", "--out-dir", tmp_path / "out")
        assert result.code == 1
        assert f"odp: {album / '*.bmp'}: cannot be opened: No such file" in result.stderr
        assert names(tmp_path / "out") == ["a.odp"]

    def test_so_is_a_folder_without_pictures(self, odp, tmp_path):
        (tmp_path / "empty").mkdir()
        result = odp("encode", tmp_path / "empty", "--out-dir", tmp_path / "out")
        assert result.code == 1
        assert result.stderr == (
            f"odp: {tmp_path / 'empty'}: the folder holds no pictures; "
            "use --recursive to search the folders in it\n"
        )

    def test_a_folder_in_place_of_a_file_is_wrong_usage(self, odp, album, tmp_path):
        result = odp("encode", album, tmp_path / "out.odp")
        assert result.code == 2 and "is a folder: use --out-dir" in result.stderr

    def test_files_and_folders_mix_and_come_back_as_pictures(self, odp, album, tmp_path):
        files, pictures = tmp_path / "files", tmp_path / "pictures"
        assert (
            odp("encode", album / "b.jpg", album / "a.png", "--out-dir", files, "-n", 2).code == 0
        )
        (files / "readme.txt").write_text("not an .odp file")
        assert odp("decode", files, "--out-dir", pictures).code == 0
        assert names(pictures) == ["a.png", "b.png"]
        with Image.open(pictures / "b.png") as picture:
            assert picture.size == (41, 30)

    def test_more_files_than_are_read_ahead(self, odp, make_picture, codec, tmp_path):
        album = tmp_path / "album"
        album.mkdir()
        for number in range(40):
            make_picture(16, 16, number).save(album / f"{number:02d}.png")
        assert odp("encode", album, "--out-dir", tmp_path / "out", "-n", 3, "-q") == (0, b"", "")
        for number in range(40):
            data = (tmp_path / "out" / f"{number:02d}.odp").read_bytes()
            assert data == codec.encode(make_picture(16, 16, number), 3)


class TestTrees:
    @pytest.fixture
    def tree(self, album):
        (album / "more" / "deep").mkdir(parents=True)
        (album / "more" / "a.png").write_bytes((album / "a.png").read_bytes())
        (album / "more" / "deep" / "d.png").write_bytes((album / "a.png").read_bytes())
        return album

    def outputs(self, folder):
        return sorted(str(p.relative_to(folder)) for p in folder.rglob("*.odp"))

    def test_recursive_takes_everything_below_and_keeps_the_tree(self, odp, tree, tmp_path):
        out = tmp_path / "out"
        assert odp("encode", "-r", tree, "--out-dir", out, "-n", 1).code == 0
        expected = ["a.odp", "b.odp", "c.odp", "more/a.odp", "more/deep/d.odp"]
        assert self.outputs(out) == expected
        assert odp("decode", "-r", out, "--out-dir", tmp_path / "back").code == 0
        assert (tmp_path / "back" / "more" / "deep" / "d.png").exists()

    def test_an_unreadable_folder_is_a_failure(self, odp, tree, tmp_path, monkeypatch):
        locked = str(tree / "more")

        def closed(look, path):
            if str(path) == locked:
                raise PermissionError(errno.EACCES, "Permission denied", locked)
            return look(path)

        for name in ("scandir", "listdir"):
            monkeypatch.setattr(os, name, partial(closed, getattr(os, name)))
        result = odp("encode", tree, "--out-dir", tmp_path / "o", "-n", 1, "--recursive")
        assert result.code == 1
        assert f"odp: {locked}: cannot be opened: Permission denied" in result.stderr
        assert self.outputs(tmp_path / "o") == ["a.odp", "b.odp", "c.odp"]

    def test_a_list_names_inputs_and_keeps_the_tree_of_relative_ones(self, odp, tree):
        listed = f"album/a.png\n./album/more/a.png\n\n{tree / 'more' / 'deep' / 'd.png'}\n"
        result = odp(
            "encode", "--files-from", "-", "--out-dir", "out", "-n", 1, stdin=listed.encode()
        )
        assert result.code == 0
        outputs = self.outputs(tree.parent / "out")
        assert outputs[:2] == ["album/a.odp", "album/more/a.odp"]
        assert outputs[2].endswith("album/more/deep/d.odp") and not outputs[2].startswith("/")

    def test_no_name_in_a_list_leads_out_of_the_output_folder(self, odp, tree, tmp_path):
        (tmp_path / "list").write_text("album/../album/a.png\n")
        assert odp("encode", "--files-from", "list", "--out-dir", "o/p", "-n", 1).code == 0
        assert self.outputs(tmp_path / "o") == ["p/album/album/a.odp"]

    def test_a_list_may_end_its_names_with_zeros_and_name_the_folder(self, odp, tree, tmp_path):
        listed = b".\0album/a.png\0album/b.jpg\0"
        result = odp("encode", "--files-from", "-", "--out-dir", "o", "-n", 1, stdin=listed)
        assert result.code == 0
        assert self.outputs(tmp_path / "o") == ["album/a.odp", "album/b.odp"]

    def test_a_list_of_find_names_the_folder_above(self, odp, tree):
        result = odp(
            "encode", "--files-from", "-", "--out-dir", "o", "-n", 1, stdin=b"..\nalbum/a.png\n"
        )
        assert result.code == 0
        assert self.outputs(tree.parent / "o") == ["album/a.odp"]

    def test_a_pattern_keeps_the_tree_below_it(self, odp, tree, tmp_path):
        result = odp("encode", "album/**/*.png", "--out-dir", "o", "-n", 1)
        assert result.code == 0
        assert self.outputs(tmp_path / "o") == ["a.odp", "more/a.odp", "more/deep/d.odp"]

    def test_skipping_hides_no_clash_of_names(self, odp, tree, tmp_path):
        (tree / "a.jpg").write_bytes((tree / "b.jpg").read_bytes())
        for _ in range(2):
            result = odp("encode", tree, "--out-dir", tmp_path / "o", "-n", 1, "--skip-existing")
            assert result.code == 1

    def test_existing_outputs_can_be_skipped(self, odp, tree, tmp_path):
        out = tmp_path / "out"
        assert odp("encode", tree / "a.png", "--out-dir", out, "-n", 1).code == 0
        before = (out / "a.odp").stat().st_mtime_ns
        result = odp("encode", tree, "--out-dir", out, "-n", 2, "--skip-existing")
        assert result.code == 0
        assert result.stderr.splitlines()[-1] == "odp: 2 done, 1 skipped, 0 failed"
        assert (out / "a.odp").stat().st_mtime_ns == before

    def test_a_missing_list_is_reported(self, odp, tmp_path):
        result = odp("encode", "--files-from", tmp_path / "list", "--out-dir", tmp_path / "out")
        assert result.code == 1
        assert result.stderr == (
            f"odp: {tmp_path / 'list'}: cannot be opened: No such file or directory\n"
        )

    def test_an_empty_list_is_wrong_usage(self, odp, tmp_path):
        (tmp_path / "list").write_text("")
        result = odp("encode", "--files-from", "list", "--out-dir", "out")
        assert result.code == 2 and "no inputs" in result.stderr


class TestInterruption:
    """However a batch is stopped, all outputs are complete, and the next run does the rest."""

    @pytest.fixture
    def many(self, tmp_path, make_picture):
        (tmp_path / "in").mkdir()
        for number in range(60):
            make_picture(40, 30, number).save(tmp_path / "in" / f"{number:02d}.png")
        return tmp_path

    def start(self, folder):
        command = [sys.executable, "-m", "onedpiece.cli", "encode", "in", "--out-dir", "out"]
        return subprocess.Popen(
            [*command, "-n", "2", "--skip-existing"], cwd=folder, stderr=subprocess.DEVNULL
        )

    @pytest.mark.skipif(sys.platform == "win32", reason="needs the signals of POSIX")
    @pytest.mark.parametrize("name", ["SIGKILL", "SIGTERM", "SIGINT"])
    def test_a_stopped_run_leaves_whole_files_and_the_next_run_does_the_rest(self, odp, many, name):
        run = self.start(many)
        deadline = time.monotonic() + 60
        while not list((many / "out").glob("*.odp")) and time.monotonic() < deadline:
            time.sleep(0.01)
        run.send_signal(getattr(signal, name))
        run.wait(60)
        for path in (many / "out").glob("*.odp"):
            assert not parse(path.read_bytes()).is_truncated
        if name != "SIGKILL":
            assert not list((many / "out").glob(".odp-*"))
        assert odp("encode", "in", "--out-dir", "out", "-n", 2, "--skip-existing").code == 0
        assert len(list((many / "out").glob("*.odp"))) == 60

    @pytest.mark.skipif(sys.platform == "win32", reason="needs a shell with ulimit")
    def test_a_full_disk_is_reported_in_one_line_and_leaves_nothing(self, many, one_tile):
        """A limit on the size of files stands in for the disk: only the token file fits."""
        (many / "big.odp").write_bytes(one_tile)
        run = subprocess.run(
            [
                "sh",
                "-c",
                f"ulimit -f 16; exec {sys.executable} -m onedpiece.cli decode big.odp out.bmp",
            ],
            cwd=many,
            capture_output=True,
            text=True,
        )
        assert run.returncode == 1
        assert run.stderr == "odp: big.odp: out.bmp cannot be written: File too large\n"
        assert sorted(p.name for p in many.iterdir()) == ["big.odp", "in"]

    @pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs a system with /dev/full")
    def test_so_is_a_full_disk_behind_standard_output(self, many, one_tile):
        (many / "x.odp").write_bytes(one_tile)
        with open("/dev/full", "wb") as full:
            run = subprocess.run(
                [sys.executable, "-m", "onedpiece.cli", "decode", "x.odp", "-", "-n", "1"],
                cwd=many,
                stdout=full,
                stderr=subprocess.PIPE,
                text=True,
            )
        assert run.returncode == 1
        assert run.stderr == "odp: x.odp: - cannot be written: No space left on device\n"

    @pytest.mark.skipif(
        not hasattr(os, "geteuid") or os.geteuid() == 0, reason="nothing is read-only for root"
    )
    def test_a_read_only_folder_is_reported_in_one_line(self, odp, many):
        (many / "out").mkdir(mode=0o500)
        result = odp("encode", "in/00.png", "out/00.odp", "-n", 2)
        assert result.code == 1 and "cannot be written: Permission denied" in result.stderr

    @pytest.mark.skipif(not Path("/proc/self").exists(), reason="needs a system with /proc")
    def test_so_is_a_file_system_that_takes_no_files(self, odp, many, one_tile):
        (many / "x.odp").write_bytes(one_tile)
        for arguments in (["/proc/y.png"], ["--out-dir", "/proc/pictures"]):
            result = odp("decode", many / "x.odp", *arguments, "-n", 1)
            assert result.code == 1 and result.stderr.count("\n") == 1
            assert result.stderr.startswith(f"odp: {many / 'x.odp'}: /proc/")


def test_a_pipe_is_an_input_like_any_other(make_picture, tmp_path):
    make_picture().save(tmp_path / "in.png")
    for verb, source, target in (("encode", "in.png", "x.odp"), ("decode", "x.odp", "y.png")):
        line = f"cat {source} | {sys.executable} -m onedpiece.cli {verb} /dev/stdin {target}"
        assert subprocess.run(["sh", "-c", line], cwd=tmp_path).returncode == 0


class TestFailures:
    def test_a_bad_file_does_not_stop_the_others(self, odp, album, tmp_path):
        (album / "aa.png").write_bytes(b"bad")
        result = odp("encode", album, "--out-dir", tmp_path / "out", "-n", 2, "--quiet")
        assert result.code == 1
        assert names(tmp_path / "out") == ["a.odp", "b.odp", "c.odp"]
        first, last = result.stderr.splitlines()
        assert first.startswith(f"odp: {album / 'aa.png'}: not a picture")
        assert last == "odp: 3 done, 0 skipped, 1 failed"

    def test_a_name_that_is_too_long_does_not_stop_a_batch(self, odp, album, one_tile, tmp_path):
        (album / "a.odp").write_bytes(one_tile)
        long = album / ("x" * 300)
        result = odp("encode", long, album / "a.png", "--out-dir", tmp_path / "out", "-n", 1)
        assert (result.code, names(tmp_path / "out")) == (1, ["a.odp"])
        result = odp("verify", long, album / "a.odp")
        assert result.code == 1 and b"a.odp: complete" in result.stdout

    def test_nor_does_one_that_fails_on_its_way_out(self, odp, one_tile, monkeypatch, tmp_path):
        for name in ("a", "b"):
            (tmp_path / f"{name}.odp").write_bytes(one_tile)
        replace = os.replace

        def full_disk(source, target):
            if Path(target).name == "a.png":
                raise OSError(errno.ENOSPC, "No space left on device")
            replace(source, target)

        monkeypatch.setattr(os, "replace", full_disk)
        result = odp("decode", tmp_path, "--out-dir", tmp_path / "out", "-n", 1, "--force")
        assert result.code == 1
        assert "No space left on device" in result.stderr
        assert names(tmp_path / "out") == ["b.png"]

    def test_nor_does_one_whose_model_is_missing(self, odp, one_tile, uninstalled, tmp_path):
        (tmp_path / "a.odp").write_bytes(uninstalled)
        (tmp_path / "b.odp").write_bytes(one_tile)
        result = odp("decode", tmp_path, "--out-dir", tmp_path / "out", "-n", 1)
        assert result.code == 1
        assert names(tmp_path / "out") == ["b.png"]

    def test_two_inputs_do_not_share_an_output(self, odp, album, codec, tmp_path):
        Image.new("RGB", (9, 9)).save(album / "a.bmp")
        result = odp("encode", album, "--out-dir", tmp_path / "out", "-n", 2, "--force")
        assert result.code == 1
        assert f"odp: {album / 'a.png'}: {tmp_path / 'out' / 'a.odp'} is the output of another" in (
            result.stderr
        )
        with Image.open(album / "a.bmp") as first:
            assert (tmp_path / "out" / "a.odp").read_bytes() == codec.encode(first, 2)

    def test_the_output_of_an_input_that_failed_is_free(self, odp, album, tmp_path):
        (album / "a.bmp").write_bytes(b"bad")
        result = odp("encode", album, "--out-dir", tmp_path / "out", "-n", 2)
        assert result.stderr.count("odp: ") == 2  # the bad file, and the summary
        assert "a.odp" in names(tmp_path / "out")

    def test_outputs_that_exist_are_kept_and_the_rest_is_done(self, odp, album, tmp_path):
        (tmp_path / "out").mkdir()
        (tmp_path / "out" / "b.odp").write_bytes(b"precious")
        result = odp("encode", album, "--out-dir", tmp_path / "out", "-n", 2, "-q")
        assert result.code == 1
        assert "b.odp exists: use --force" in result.stderr
        assert names(tmp_path / "out") == ["a.odp", "b.odp", "c.odp"]
        assert (tmp_path / "out" / "b.odp").read_bytes() == b"precious"


def test_json_has_a_line_for_every_file_failed_or_not(odp, album):
    (album / "aa.png").write_bytes(b"bad")
    result = odp("encode", "album", "--out-dir", "out", "-n", 2, "--json")
    assert result.code == 1
    *lines, last = map(json.loads, result.stdout.splitlines())
    assert last == {"summary": {"done": 3, "skipped": 0, "failed": 1}}
    lines = {line["input"]: line for line in lines}
    assert sorted(lines) == ["album/a.png", "album/aa.png", "album/b.jpg", "album/c.webp"]
    assert "not a picture" in lines["album/aa.png"]["error"]
    assert lines["album/b.jpg"]["output"] == "out/b.odp"
    assert all(line.startswith("odp: ") for line in result.stderr.splitlines())


def test_json_ends_with_a_summary_for_a_folder_of_one_picture_too(odp, album, tmp_path):
    result = odp("encode", album / "a.png", "--out-dir", tmp_path / "out", "-n", 1, "--json")
    assert json.loads(result.stdout.splitlines()[-1])["summary"]["done"] == 1


def _read_terminal(master: int) -> bytes:
    screen = b""
    with contextlib.suppress(OSError):  # a terminal ends with an error
        while output := os.read(master, 65536):
            screen += output
    return screen


class TestTerminal:
    """If stderr is a terminal, a progress bar takes the place of the lines."""

    def run(self, tmp_path, *arguments):
        """Exit code, stdout, and what appeared on the terminal."""
        pty = pytest.importorskip("pty", reason="needs a system with terminals")
        master, slave = pty.openpty()
        command = [sys.executable, "-m", "onedpiece.cli", *map(str, arguments)]
        with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=slave, cwd=tmp_path) as odp:
            os.close(slave)
            # A terminal holds a few kilobytes: it must be read while odp runs, or odp waits.
            with ThreadPoolExecutor(1) as thread:
                screen = thread.submit(_read_terminal, master)
                stdout = odp.stdout.read()
        os.close(master)
        return odp.returncode, stdout, screen.result().decode()

    def test_a_bar_is_shown_with_warnings_beside_it_and_stdout_stays_empty(
        self, one_tile, tmp_path
    ):
        (tmp_path / "a.odp").write_bytes(one_tile)
        (tmp_path / "b.odp").write_bytes(one_tile[:-50])
        code, stdout, screen = self.run(tmp_path, "decode", "a.odp", "b.odp", "--out-dir", "out")
        assert (code, stdout) == (0, b"")
        assert "100%" in screen and "->" not in screen
        assert "0:00:00" in screen and re.search(r"\d+\.\d files/s", screen)
        assert "b.odp: the file is truncated" in screen.replace("\r\n", "")

    def test_json_goes_to_stdout_and_there_is_no_bar(self, album, tmp_path):
        code, stdout, screen = self.run(
            tmp_path, "encode", album, "--out-dir", "out", "-n", 2, "--json"
        )
        assert (code, screen) == (0, "")
        assert len([json.loads(line) for line in stdout.splitlines()]) == 3 + 1


class TestDryRun:
    def test_it_counts_and_estimates_and_writes_nothing(self, odp, album, tmp_path):
        arguments = ("encode", album, tmp_path / "none.png", "--out-dir", "out", "-n", 16)
        dry = odp(*arguments, "--dry-run")
        assert dry.code == 1 and not (tmp_path / "out").exists()
        failure, line = dry.stderr.splitlines()[0], dry.stdout.decode()
        assert failure.startswith(f"odp: {tmp_path / 'none.png'}: cannot be opened")
        match = re.fullmatch(r"3 pictures, 0 skipped, 1 failed; about (\d+) bytes in \d+ s\n", line)
        odp(*arguments)
        sizes = [path.stat().st_size for path in (tmp_path / "out").iterdir()]
        assert int(match[1]) == sum(sizes), "all three are in the sample"

    def test_what_would_be_skipped_or_overwritten_is_counted(self, odp, album):
        odp("encode", album, "--out-dir", "out", "-n", 2)
        skipping = odp("encode", album, "--out-dir", "out", "--skip-existing", "--dry-run")
        assert skipping.code == 0
        assert skipping.stdout.startswith(b"0 pictures, 3 skipped, 0 failed")
        stopping = odp("encode", album, "--out-dir", "out", "--dry-run")
        assert stopping.code == 1 and "exists: use --force" in stopping.stderr

    def test_a_picture_that_cannot_be_encoded_is_reported_and_not_counted(self, odp, tmp_path):
        for name in ("a", "c"):
            Image.new("RGB", (64, 64)).save(tmp_path / f"{name}.png")
        frames = [Image.new("RGB", (64, 64), colour) for colour in ("red", "blue")]
        for name in ("0", "b"):
            frames[0].save(tmp_path / f"{name}.gif", save_all=True, append_images=frames[1:])
        dry = odp("encode", tmp_path, "--out-dir", tmp_path / "out", "--dry-run")
        assert dry.code == 1 and dry.stderr.count("several frames") == 2
        assert dry.stdout.startswith(b"2 pictures, 0 skipped, 2 failed; about ")
        assert b"about 0 bytes" not in dry.stdout

    def test_json_has_the_same_numbers(self, odp, album):
        done = odp("encode", album, "--out-dir", "out", "--bytes", 60, "--dry-run", "--json")
        fields = json.loads(done.stdout)
        assert fields.pop("seconds") >= 0 and 90 < fields.pop("bytes") <= 180
        assert fields == {"pictures": 3, "skipped": 0, "failed": 0}

    def test_larger_pictures_count_more(self):
        from onedpiece.cli.dry_run import Sample, _estimate

        jobs = {"small": 1.0, "large": 4.0, "other": 3.0}
        samples = [Sample(1.0, 100, 1.0), Sample(3.0, 300, 3.0)]
        assert _estimate(samples, jobs, same_size=False) == (800, 8)
        assert _estimate(samples, jobs, same_size=True) == (600, 8)

    def test_standard_input_cannot_be_read_twice(self, odp):
        result = odp("encode", "-", "out.odp", "--dry-run")
        assert result.code == 2 and "standard input" in result.stderr
