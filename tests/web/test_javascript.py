"""The browser package: its own tests, and the same files read by Python and by JavaScript.

Node runs them; without it they are skipped.
"""

import base64
import importlib.util
import json
import random
import re
import shutil
import subprocess
from pathlib import Path

import fuzz
import pytest
from odp_files import parse
from vectors import make

from onedpiece.bitstream.chunks import decompress
from onedpiece.errors import OdpError

REPOSITORY = Path(__file__).resolve().parents[2]
WEB = REPOSITORY / "web"
OLDEST = 20  # version of Node
MAX_SOURCE = 40_000  # bytes of the reader without comments
MAX_PAINTER = 32_000  # of painter, element and encoder


def node(*arguments, **options):
    """Runs Node; gives its standard output."""
    program = shutil.which("node")
    if program is None:
        pytest.skip("needs Node, which is not installed")
    version = subprocess.run([program, "--version"], capture_output=True, text=True).stdout.strip()
    if int(version.removeprefix("v").split(".")[0]) < OLDEST:
        pytest.skip(f"needs Node {OLDEST} or newer, not {version}")
    done = subprocess.run(
        [program, *map(str, arguments)], cwd=WEB, capture_output=True, text=True, **options
    )
    assert done.returncode == 0, done.stdout[-4000:] + done.stderr[-4000:]
    return done.stdout


def found_by_javascript(files=(), frames=()):
    def text(many):
        return [base64.b64encode(data).decode() for data in many]

    question = json.dumps({"files": text(files), "frames": text(frames)})
    return json.loads(node("tests/outcomes.js", input=question, timeout=120))


def found_by_python(data):
    try:
        return make.facts(parse(data, tables_of=make.tables_of))
    except OdpError as error:
        return type(error).__name__


@pytest.fixture(scope="module")
def references():
    """The script that writes the reference values of the tests in JavaScript."""
    path = WEB / "tests" / "make_references.py"
    spec = importlib.util.spec_from_file_location("make_references", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_tests_in_javascript_pass():
    tests = sorted((WEB / "tests").glob("*.test.js"))
    assert tests
    node("--test", *tests, timeout=120)


def test_mutated_files_raise_nothing_but_errors_of_files():
    assert "read" in node("tests/fuzz.js", 5000, 3, timeout=120)


def test_the_reference_values_are_what_python_finds(references):
    expected = references.references()
    written = json.loads(references.FILE.read_text())
    assert written["alphas"] == expected["alphas"]
    for before, now in zip(written["sketches"], expected["sketches"], strict=True):
        assert now["tokens"] == before["tokens"]
        assert now["pixels"] == pytest.approx(before["pixels"], abs=0.05)


def test_python_and_javascript_find_the_same_in_mutated_files():
    folder = Path(make.__file__).parent
    whole = [path.read_bytes() for path in sorted(folder.glob("version-*/valid/*.odp"))]
    chance = random.Random(0)
    files = [fuzz.mutate(chance.choice(whole), chance) for _ in range(3000)]
    expected = [found_by_python(data) for data in files]
    found = found_by_javascript(files)["files"]
    for data, ours, theirs in zip(files, expected, found, strict=True):
        if isinstance(ours, dict):
            ours = json.loads(json.dumps(ours))
        assert theirs == ours, data.hex()
    assert sum(isinstance(one, dict) for one in expected) > 300


def test_frames_of_the_zstd_library_have_the_same_contents(references):
    frames = references.frames(140_000)  # more than a block
    found = found_by_javascript(frames=[frame for frame, _ in frames])["frames"]
    for (_, data), theirs in zip(frames, found, strict=True):
        assert theirs is not None and base64.b64decode(theirs) == data


def test_mutated_frames_hold_what_the_zstd_library_finds_or_are_refused(references):
    whole = [frame for frame, data in references.frames(3000) if data]
    chance = random.Random(0)
    frames = []
    for _ in range(3000):
        frame = bytearray(chance.choice(whole))
        frame[4] &= ~4  # no checksum of the contents, which JavaScript does not compare
        frame[chance.randrange(5, len(frame))] ^= 1 << chance.randrange(8)
        frames.append(bytes(frame))
    found = found_by_javascript(frames=frames)["frames"]
    refused = 0
    for frame, theirs in zip(frames, found, strict=True):
        try:
            ours = decompress(frame)
        except OdpError:
            ours, refused = None, refused + 1
        assert theirs is None or base64.b64decode(theirs) == ours, frame.hex()
    # Besides, JavaScript refuses codes of literals that do not end where they must.
    assert found.count(None) < 1.3 * refused


def code_of(*files):
    """The source of files without comments and empty lines."""
    source = "".join(path.read_text() for path in files)
    code = re.sub(r"(?s)/\*\*.*?\*/|// [^\n]*", "", source)
    return re.sub(r"\n\s*\n", "\n", code)


def test_the_source_of_the_reader_is_small():
    assert len(code_of(*(WEB / "src").glob("*.js"))) < MAX_SOURCE


def test_the_reader_needs_neither_the_painter_nor_the_encoder():
    for path in (WEB / "src").glob("*.js"):
        assert not re.search(r"from \"\./\w+/", path.read_text()), path


def test_the_source_of_the_painter_and_the_encoder_is_small():
    files = [path for folder in ("paint", "encode") for path in (WEB / "src" / folder).glob("*.js")]
    assert len(code_of(*files)) < MAX_PAINTER
