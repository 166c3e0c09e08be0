"""What many tests need: synthetic pictures, a codec, the command line, the shared folder."""

import os
import subprocess
import sys
import time
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
def only_bundled_models(monkeypatch, tmp_path_factory):
    """Tests neither see nor change the models that the developer has installed."""
    monkeypatch.setenv("ODP_MODELS", str(tmp_path_factory.getbasetemp() / "no-models"))


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
        pixels = (
            128 + (x - width / 2)[..., None] * slopes[0] + (y - height / 2)[..., None] * slopes[1]
        )
        for _ in range(6):
            centre, radius = random.uniform((0, 0), (width, height)), random.uniform(10, 70)
            inside = (x - centre[0]) ** 2 + (y - centre[1]) ** 2 < radius**2
            pixels[inside] = random.uniform(0, 255, 3)
        pixels += 25 * np.sin((x + y) / random.uniform(4, 12))[..., None]
        return Image.fromarray(pixels.round().clip(0, 255).astype(np.uint8))

    return make


@pytest.fixture(scope="session")
def randomise():
    """Fills every parameter and table of a spectral tokenizer with seeded random numbers."""

    def fill(model):
        import torch

        random = torch.Generator().manual_seed(0)
        shape = model.config.spectral
        with torch.no_grad():
            for name, value in model.state_dict().items():
                if value.is_floating_point() and not name.startswith("quantize."):
                    value.add_(0.1 * torch.randn(value.shape, generator=random))
            tables = model.quantize
            tables.colour.add_(0.1 * torch.randn(3, 3, generator=random))
            tables.class_mean.normal_(generator=random)
            tables.class_bias.normal_(generator=random)
            tables.class_weight.uniform_(0.5, 1.5, generator=random)
            tables.scale.uniform_(10, 40, generator=random)
            tables.codebooks.normal_(generator=random)
            # Tokens of a block have coefficients of their own, as fitted ones do.
            for label in range(shape.classes):
                for block in range(len(shape.blocks)):
                    in_block = tables.block_of == block
                    chosen = torch.randperm(3 * shape.frequencies**2, generator=random)
                    chosen = chosen[: int(in_block.sum()) * shape.dim].reshape(-1, shape.dim)
                    tables.order[label, in_block] = chosen.int()
        return model

    return fill


@pytest.fixture(scope="session")
def paper():
    """The shape of the published models with small networks."""
    from onedpiece.tokenizer.config import Config, Vit

    return Config("paper", Vit(32, 1, 2), Vit(32, 1, 2), base=32)


@pytest.fixture(scope="session")
def published(paper, tmp_path_factory):
    """A state dict of that shape as its authors would publish it, seeded random numbers."""
    import torch

    from onedpiece.tokenizer.published import shapes

    random = torch.Generator().manual_seed(0)
    state = {
        name: torch.randn(shape, generator=random) * (0.3 if len(shape) > 1 else 0.1)
        for name, shape in shapes(paper).items()
    }
    path = tmp_path_factory.mktemp("published") / "pytorch_model.bin"
    torch.save(state, path)
    return path


@pytest.fixture(scope="session")
def installed_paper(paper, published, tmp_path_factory):
    """The model that it becomes; exported once for all test processes."""
    from onedpiece.export.published import install
    from onedpiece.models.registry import read_model

    root = tmp_path_factory.getbasetemp()
    if "PYTEST_XDIST_WORKER" in os.environ:
        root = root.parent
    folder = root / "installed"
    try:
        folder.mkdir()
    except FileExistsError:
        deadline = time.monotonic() + 300
        while not (folder / "paper" / "model.json").exists():
            assert time.monotonic() < deadline, "another process has not exported the model"
            time.sleep(0.2)
        return read_model(folder / "paper")
    return install(published, folder, "paper", paper, commit="0" * 40)


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
    """An .odp file of 400x200 pixels and 2 x 32 tokens."""
    return codec.encode(make_picture(400, 200), 32)


@pytest.fixture(scope="session")
def uninstalled(codec) -> bytes:
    """An .odp file of a model that is not installed."""
    from odp_files import build

    from onedpiece.bitstream.header import Header

    key = bytes(octet ^ 0xFF for octet in codec.model.key)
    return build(Header(256, 256, 2, key), np.array([[1, 2]]))


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


@pytest.fixture
def odp(monkeypatch, capfdbinary):
    """Like `run_odp`, but in this process: fast enough for a run for every bit of a header."""
    from onedpiece.cli import main

    def run(*args: object) -> Result:
        monkeypatch.setattr(sys, "argv", ["odp", *map(str, args)])
        capfdbinary.readouterr()
        with pytest.raises(SystemExit) as stop:
            main()
        stdout, stderr = capfdbinary.readouterr()
        return Result(stop.value.code or 0, stdout, stderr.decode())

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
