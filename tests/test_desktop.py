"""What shells and desktops know of the command and its files: completion, man page, media type."""

import configparser
import os
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path
from xml.etree import ElementTree

import pytest
from PIL import Image

from onedpiece.constants import MEDIA_TYPE

REPOSITORY = Path(__file__).resolve().parents[1]
DESKTOP = REPOSITORY / "docs" / "desktop"
VECTORS = sorted((REPOSITORY / "tests" / "vectors").rglob("*.odp"))
READABLE = [path for path in VECTORS if path.parent.name != "invalid"]
NAMESPACE = {"mime": "http://www.freedesktop.org/standards/shared-mime-info"}


def version_of(path):
    return int(re.search(r"version-(\d)", str(path))[1])


def run(*command, **options):
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, **options)
    assert done.returncode == 0 and not done.stderr, done.stderr
    return done.stdout


class TestMagic:
    @pytest.fixture
    def say(self):
        if not shutil.which("file"):
            pytest.skip("needs file(1)")

        def ask(*arguments):
            return run("file", "-m", DESKTOP / "odp.magic", "-b", *arguments)

        return ask

    def test_file_names_the_version(self, say):
        lines = say(*READABLE).splitlines()
        assert lines == [f"One-D-Piece picture, version {version_of(path)}" for path in READABLE]

    def test_and_the_media_type(self, say):
        assert set(say("--mime-type", *READABLE).splitlines()) == {MEDIA_TYPE}

    def test_other_files_are_nothing_to_it(self, say, tmp_path):
        other = tmp_path / "other.odp"
        other.write_bytes(b"PK\x03\x04" + bytes(30))
        assert "One-D-Piece" not in say(other)

    def test_the_specification_has_the_same_entry(self):
        entry = [line.split() for line in (DESKTOP / "odp.magic").read_text().splitlines()[1:]]
        lines = (REPOSITORY / "docs" / "format.md").read_text().splitlines()
        start = next(number for number, line in enumerate(lines) if "beshort" in line)
        assert [line.split() for line in lines[start : start + len(entry)]] == entry


class TestMediaType:
    @pytest.fixture
    def entry(self):
        tree = ElementTree.parse(DESKTOP / "onedpiece.xml")
        (found,) = tree.getroot().findall("mime:mime-type", NAMESPACE)
        assert found.get("type") == MEDIA_TYPE
        return found

    def test_its_magic_matches_the_vectors_and_nothing_else(self, entry):
        (top,) = entry.findall("mime:magic/mime:match", NAMESPACE)
        for path in READABLE:
            assert self.matches(top, path.read_bytes())
        png = next((REPOSITORY / "tests" / "vectors").rglob("png.odp"))
        for data in (png.read_bytes(), b"PK\x03\x04" + bytes(30), b"\x9dP\x30" + bytes(30)):
            assert not self.matches(top, data)

    def matches(self, match, data):
        """Whether data matches an element and one of those in it, as shared-mime-info does."""
        size = {"byte": 1, "big16": 2}[match.get("type")]
        start = int(match.get("offset"))
        found = int.from_bytes(data[start : start + size], "big")
        found &= int(match.get("mask", "0xffff"), 16)
        inside = match.findall("mime:match", NAMESPACE)
        fits = found == int(match.get("value"), 16)
        return fits and (not inside or any(self.matches(one, data) for one in inside))

    def test_the_first_bytes_decide_between_this_and_a_presentation(self, entry):
        # The names of presentations have the default weight, too.
        (glob,) = entry.findall("mime:glob", NAMESPACE)
        assert glob.attrib == {"pattern": "*.odp"}

    def test_the_database_of_the_desktop_takes_it(self, tmp_path):
        if not shutil.which("update-mime-database"):
            pytest.skip("needs shared-mime-info")
        packages = tmp_path / "mime" / "packages"
        packages.mkdir(parents=True)
        shutil.copy(DESKTOP / "onedpiece.xml", packages)
        run(
            *("update-mime-database", packages.parent),
            env={**os.environ, "PKGSYSTEM_ENABLE_FSYNC": "0", "XDG_DATA_DIRS": str(tmp_path)},
        )
        assert f"50:{MEDIA_TYPE}:*.odp" in (packages.parent / "globs2").read_text()
        assert MEDIA_TYPE.encode() in (packages.parent / "magic").read_bytes()


class TestThumbnailer:
    def test_it_writes_a_picture(self, one_tile, tmp_path):
        if not shutil.which("sh"):
            pytest.skip("needs a POSIX shell")
        entry = configparser.ConfigParser(interpolation=None)
        entry.read(DESKTOP / "onedpiece.thumbnailer")
        section = entry["Thumbnailer Entry"]
        assert section["MimeType"] == f"{MEDIA_TYPE};" and section["TryExec"] == "odp"
        programs = tmp_path / "bin"
        programs.mkdir()
        odp = programs / "odp"
        odp.write_text(f'#!/bin/sh\nexec {shlex.quote(sys.executable)} -m onedpiece.cli "$@"\n')
        odp.chmod(0o755)
        source, target = tmp_path / "a b'c.odp", tmp_path / "thumbnail"
        source.write_bytes(one_tile)
        command = section["Exec"].replace("%i", shlex.quote(str(source)))
        command = command.replace("%o", shlex.quote(str(target)))
        path = f"{programs}{os.pathsep}{os.environ['PATH']}"
        run(*shlex.split(command), env={**os.environ, "PATH": path}, cwd=tmp_path)
        with Image.open(target) as image:
            assert (image.format, image.size) == ("PNG", (256, 256))


class TestManualPage:
    PAGE = REPOSITORY / "docs" / "odp.1"

    def test_it_is_that_of_the_help(self):
        script = "import make_man; print(make_man.render(), end='')"
        page = run(sys.executable, "-c", script, cwd=REPOSITORY / "docs")
        assert page == self.PAGE.read_text(), "run python docs/make_man.py"

    def test_groff_has_no_complaints(self):
        if not shutil.which("groff"):
            pytest.skip("needs groff")
        text = run("groff", "-man", "-ww", "-Tascii", "-P-cbou", self.PAGE)
        assert "odp encode [options] IN OUT | IN..." in text
        assert re.search(r"--bytes BYTES\s+Maximum size of the file in bytes\.", text)


def test_completion_knows_the_verbs(tmp_path):
    script = "import sys; sys.argv = ['odp']; from onedpiece.cli import main; main()"
    words = {"_ODP_COMPLETE": "complete_bash", "COMP_WORDS": "odp enc", "COMP_CWORD": "1"}
    assert run(sys.executable, "-c", script, env={**os.environ, **words}).split() == ["encode"]
