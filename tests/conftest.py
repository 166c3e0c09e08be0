"""What many tests need: synthetic pictures, a codec, the command line, the shared folder."""

import os
import subprocess
import sys
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest
from PIL import Image

REPOSITORY = Path(__file__).resolve().parents[1]


class Result(NamedTuple):
    """What a run of `odp` left behind."""

    code: int
    stdout: bytes
    stderr: str


@pytest.fixture(autouse=True)
def only_bundled_models(monkeypatch):
    """Models that the developer has installed do not take part."""
    monkeypatch.delenv("ODP_MODELS", raising=False)


@pytest.fixture(scope="session")
def shared() -> Path:
    """The folder with evaluation pictures and reference vectors, beside the checkout."""
    folder = (REPOSITORY / "../shared").resolve()
    if not folder.is_dir():
        pytest.skip("needs ../shared (evaluation pictures and reference vectors)")
    return folder


@pytest.fixture(scope="session")
def make_picture():
    """(width, height, seed) -> an RGB image of gradients, discs and stripes."""

    def make(width: int = 256, height: int = 256, seed: int = 0) -> Image.Image:
        random = np.random.default_rng(seed)
        y, x = np.mgrid[:height, :width].astype(np.float32)
        slopes = random.uniform(-0.3, 0.3, (2, 3))
        pixels = 128 + (x - width / 2)[..., None] * slopes[0] + (y - height / 2)[..., None] * slopes[1]
        for _ in range(6):
            centre, radius = random.uniform((0, 0), (width, height)), random.uniform(10, 70)
            inside = (x - centre[0]) ** 2 + (y - centre[1]) ** 2 < radius**2
            pixels[inside] = random.uniform(0, 255, 3)
        pixels += 25 * np.sin((x + y) / random.uniform(4, 12))[..., None]
        return Image.fromarray(pixels.round().clip(0, 255).astype(np.uint8))

    return make


@pytest.fixture(scope="session")
def codec():
    """The bundled model on the CPU, its networks loaded once."""
    from onedpiece.codec import Codec

    return Codec(device="cpu")


@pytest.fixture(scope="session")
def one_tile(codec, make_picture) -> bytes:
    """An .odp file of 256x256 pixels and 64 tokens."""
    return codec.encode(make_picture(), 64)


@pytest.fixture(scope="session")
def two_tiles(codec, make_picture) -> bytes:
    """An .odp file of 300x200 pixels and 2 x 32 tokens."""
    return codec.encode(make_picture(300, 200), 32)


@pytest.fixture
def run_odp(tmp_path):
    """Runs `odp` as a process of its own, in `tmp_path`."""

    def run(*args: object, stdin: bytes = b"", env: dict[str, str] | None = None) -> Result:
        done = subprocess.run(
            [sys.executable, "-m", "onedpiece.cli", *map(str, args)],
            input=stdin,
            capture_output=True,
            cwd=tmp_path,
            env={**os.environ, "OMP_NUM_THREADS": "1", **(env or {})},
            timeout=120,
        )
        return Result(done.returncode, done.stdout, done.stderr.decode())

    return run


@pytest.fixture(scope="session")
def loaded_modules():
    """Runs Python code in a fresh process; gives the names of all modules that it loaded."""

    def probe(code: str) -> set[str]:
        script = f"import sys\ntry:\n    {code}\nexcept SystemExit:\n    pass\n"
        script += "print('\\n' + '\\n'.join(sys.modules))"
        done = subprocess.run(
            [sys.executable, "-c", script], capture_output=True, text=True, check=True
        )
        return set(done.stdout.split("\n"))

    return probe
