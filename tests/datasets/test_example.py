"""The example programs for token datasets run as they stand, on a few pictures."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from PIL import Image

pytest.importorskip("pyarrow", reason="needs pyarrow: pip install 'onedpiece[datasets]'")

REPOSITORY = Path(__file__).resolve().parents[2]


def run(name, *arguments, folder):
    """Run an example in a folder; its standard output."""
    command = [sys.executable, REPOSITORY / "examples" / name, *map(str, arguments)]
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1"}
    done = subprocess.run(
        command,
        cwd=folder,
        env=environment,
        capture_output=True,
        text=True,
        timeout=300,  # minutes on a busy machine
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_the_example_encodes_reads_and_goes_on(tmp_path):
    count = len(list((REPOSITORY / "bench" / "pictures").glob("*.png")))
    for expected in (f"{count} encoded, 0 before", f"0 encoded, {count} before"):
        said = run("token_dataset.py", "--out", "tokens", folder=tmp_path)
        assert said.startswith(expected)
        assert "tokens (4, " in said


def test_the_prior_starts_at_the_entropy_coder_and_paints_samples(folder, tmp_path):
    from onedpiece.datasets import encode

    encode([folder], tmp_path / "tokens", 256, square=True, workers=0)
    options = ("--tokens", 5, "--samples", 2, "--minutes", 0.001)
    said = run("prior.py", tmp_path / "tokens", *options, folder=tmp_path)
    assert "11 pictures, 1 held out, 5 tokens of each" in said
    coder, before, *_ = (float(bits) for bits in re.findall(r"([\d.]+) bits per token", said))
    assert before <= coder + 1e-3  # the files have whole bytes
    assert coder - before < 8 / 5 + 0.1
    for name in ("before.png", "after.png"):
        with Image.open(tmp_path / "demo" / "prior" / name) as sheet:
            assert sheet.size == (512, 256)


def test_tokens_and_webp_files_of_their_size_are_classified(folder, tmp_path):
    pytest.importorskip("safetensors", reason="needs the extra torch")
    said = run("classify.py", folder, "--seconds", 0.01, "--tokens", 64, folder=tmp_path)
    assert "9 pictures, 3 held out, 2 classes" in said
    shares = re.findall(r"^(.*): [\d.]+ % \(\d+ epochs\)$", said, re.MULTILINE)
    assert shares == [
        "tokens",
        "sketches of the tokens",
        "WebP files of this size",
        "pictures as they are",
    ]
