"""The programs in examples/ run as they stand, on the bundled pictures."""

import subprocess
import sys
from pathlib import Path

import pytest
from PIL import Image, ImageChops

import onedpiece

REPOSITORY = Path(__file__).resolve().parents[1]
PICTURES = REPOSITORY / "bench" / "pictures"


def run(name, *arguments, folder):
    """Run an example in a folder of its own; its standard output."""
    program = [sys.executable, REPOSITORY / "examples" / name, *map(str, arguments)]
    result = subprocess.run(program, cwd=folder, capture_output=True, text=True, timeout=120)
    assert result.returncode == 0, result.stderr
    return result.stdout


@pytest.fixture(scope="module")
def tokens(tmp_path_factory):
    folder = tmp_path_factory.mktemp("tokens")
    return run("tokens.py", "--num-tokens", 16, folder=folder), folder / "demo" / "tokens"


@pytest.fixture(scope="module")
def thumbnails(tmp_path_factory):
    folder = tmp_path_factory.mktemp("thumbnails")
    run("thumbnails.py", "--max-bytes", 60, folder=folder)
    return folder / "demo" / "thumbnails"


class TestTokens:
    def test_every_bundled_picture_becomes_256_tokens(self, tokens):
        count = len(list(PICTURES.glob("*.png")))
        assert f"{count} pictures, tokens ({count}, 256)" in tokens[0]

    def test_the_files_hold_the_prefix(self, tokens):
        for path in PICTURES.glob("*.png"):
            image = onedpiece.open(tokens[1] / f"{path.stem}.odp")
            assert (image.width, image.height) == (256, 256)
            assert image.tokens.shape == (1, 16)

    def test_the_files_decode_to_the_pictures_that_the_tokenizer_gave(self, tokens):
        decoded = onedpiece.decode(tokens[1] / "cat.odp")
        with Image.open(tokens[1] / "cat.png") as expected:
            assert largest_difference(decoded, expected) <= 3


class TestThumbnails:
    def test_every_thumbnail_keeps_the_limit(self, thumbnails):
        files = sorted(thumbnails.glob("*.odp"))
        sources = [path for path in PICTURES.iterdir() if path.suffix != ".md"]
        assert len(files) == len(sources)
        assert all(path.stat().st_size <= 60 for path in files)

    def test_the_contact_sheet_has_a_cell_for_each_picture(self, thumbnails):
        with Image.open(thumbnails / "contact-sheet.png") as sheet:
            assert sheet.size == (4 * 168 + 8, 2 * 168 + 8)


def test_the_page_of_placeholders_has_one_below_each_picture(tmp_path):
    said = run("placeholders.py", "--max-bytes", 40, folder=tmp_path)
    page = tmp_path / "demo" / "placeholders" / "placeholders.html"
    sources = [path for path in PICTURES.iterdir() if path.suffix != ".md"]
    assert f"{len(sources)} pictures, {page.stat().st_size} bytes" in said
    text = page.read_text()
    assert text.count("<odp-picture placeholder=") == text.count("<img src=") == len(sources)
    for source in sources:
        assert f'src="pictures/{source.name}"' in text
        assert (page.parent / "pictures" / source.name).read_bytes() == source.read_bytes()


def test_imageio_reads_and_writes_through_pillow(tmp_path):
    pytest.importorskip("imageio", reason="needs imageio")
    said = run("with_imageio.py", folder=tmp_path)
    coded = tmp_path / "demo" / "imageio" / "cat.odp"
    assert said.startswith(f"cat.odp: {coded.stat().st_size} bytes, (256, 256, 3) uint8")
    assert onedpiece.open(coded).num_tokens == 64
    with Image.open(coded.with_suffix(".png")) as decoded:
        assert largest_difference(onedpiece.decode(coded), decoded) <= 3


def test_a_hugging_face_dataset_decodes_through_pillow(tmp_path, monkeypatch):
    # The version tells it from a folder of this name beside the tests.
    pytest.importorskip("datasets", "2", reason="needs Hugging Face datasets")
    monkeypatch.setenv("HF_HOME", str(tmp_path / "cache"))
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    lines = run("with_datasets.py", folder=tmp_path).splitlines()
    assert len(lines) == len([path for path in PICTURES.iterdir() if path.suffix != ".md"])
    assert all(": ODP (" in line for line in lines)
    assert any(line.startswith("cat-451x300: ODP (451, 300)") for line in lines)


def largest_difference(one, other):
    """Largest difference of two pictures in levels of 255."""
    return max(high for _, high in ImageChops.difference(one, other.convert("RGB")).getextrema())
