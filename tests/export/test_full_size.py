"""The published models at their full size.

S-256 is imported from a state dict and compared with the reference vectors. S, B and L with random
numbers run as a user runs them; `pytest -m full -s` prints their times and memory.

Takes minutes, 6 GB of memory and 8 GB of disk: deselected unless asked for with `-m full`.
"""

import ast
import importlib.util
import math
import sys
import tempfile
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

torch = pytest.importorskip("torch", reason="needs the extra onedpiece[torch]")

from published_shapes import SIZES, published_shapes  # noqa: E402

from onedpiece.bench.timing import machine, process  # noqa: E402
from onedpiece.codec import Codec  # noqa: E402
from onedpiece.metrics import psnr  # noqa: E402
from onedpiece.models.registry import find  # noqa: E402
from onedpiece.runtime.onnx import OnnxRuntime  # noqa: E402
from onedpiece.runtime.torch import TorchRuntime  # noqa: E402

pytestmark = pytest.mark.full
COUNTS = [1, 16, 256]
GB = 1e9
MAX_MEMORY = {"import": 6 * GB, "encode": 3 * GB, "decode": 3 * GB}


@pytest.fixture(scope="module")
def reference(shared):
    return shared / "reference"


@pytest.fixture(scope="module")
def vectors(reference):
    with np.load(reference / "ref_s256.npz") as file:
        return dict(file)


@pytest.fixture(scope="module")
def model(reference, tmp_path_factory):
    """What `odp models import` makes of the reference's numbers."""
    from onedpiece.export.published import install

    spec = importlib.util.spec_from_file_location("state", reference / "state.py")
    numbers = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(numbers)
    state = {}
    for line in (reference / "state_dict_s256.txt").read_text().splitlines():
        name, shape = line.split(" ", 1)
        state[name] = torch.from_numpy(np.asarray(numbers.parameter(name, ast.literal_eval(shape))))
    folder = tmp_path_factory.mktemp("published")
    torch.save(state, folder / "pytorch_model.bin")
    return install(folder / "pytorch_model.bin", folder)


@pytest.fixture(scope="module", params=[(TorchRuntime, 1e-4), (OnnxRuntime, 1e-3)])
def runtime_and_tolerance(request, model):
    """A runtime of the model, and the largest error of its pixels in 0..1."""
    runtime, tolerance = request.param
    return runtime(model, "cpu"), tolerance


def decode(runtime, tokens):
    """Every fourth row and column, as the vectors have them, in 0..1."""
    return runtime.decode(tokens)[:, ::4, ::4].transpose(0, 3, 1, 2) / 255


def test_its_shape_is_recognised(model):
    assert model.name == "one-d-piece-s-256"
    assert model.precision == "float32" and model.is_intact()


def test_tokens_equal_those_of_the_reference(runtime_and_tolerance, vectors):
    runtime, _ = runtime_and_tolerance
    assert np.array_equal(runtime.encode(vectors["images"]), vectors["tokens"])


@pytest.mark.parametrize("count", COUNTS)
def test_pixels_equal_those_of_the_reference(runtime_and_tolerance, vectors, count):
    runtime, tolerance = runtime_and_tolerance
    pixels = decode(runtime, vectors["tokens"][:, :count])
    assert np.abs(pixels - vectors[f"recon_{count}"].clip(0, 1)).max() < tolerance


@pytest.mark.parametrize("precision, equal, decibels", [("float16", 0.99, 55), ("int8", 0.95, 50)])
def test_other_precisions_are_near(model, vectors, tmp_path, precision, equal, decibels):
    from onedpiece.export.precisions import export_variant

    runtime = OnnxRuntime(export_variant(model, tmp_path / precision, precision), "cpu")
    assert (runtime.encode(vectors["images"]) == vectors["tokens"]).mean() > equal
    for count in COUNTS:
        pixels = decode(runtime, vectors["tokens"][:, :count])
        assert psnr(pixels, vectors[f"recon_{count}"].clip(0, 1), peak=1) > decibels


@pytest.fixture
def folder(monkeypatch):
    """An empty folder that is also that of the user's models.

    It is removed at the end, unlike pytest's, which would keep gigabytes.
    """
    with tempfile.TemporaryDirectory() as path:
        monkeypatch.setenv("ODP_MODELS", path)
        yield Path(path)


def write_random_state(path, shapes):
    """Seeded random numbers of these shapes, scaled so that no activation grows or vanishes."""
    random = torch.Generator().manual_seed(0)
    state = {}
    for name, shape in shapes.items():
        value = torch.randn(shape, generator=random)
        is_norm_weight = name.endswith("weight") and len(shape) == 1
        scale = 0.1 if len(shape) == 1 else math.prod(shape[1:]) ** -0.5
        state[name] = value.mul_(scale).add_(is_norm_weight)
    torch.save(state, path)


@pytest.fixture
def measured():
    """Runs `odp` as a process of its own, prints its time and memory, and limits its memory."""

    def run(verb, *arguments):
        command = [sys.executable, "-m", "onedpiece.cli", *map(str, arguments)]
        seconds, peak = process(command)
        print(f"{verb}: {seconds:.1f} s, {peak / GB:.2f} GB")
        assert peak < MAX_MEMORY[verb]

    return run


@pytest.mark.parametrize("size", SIZES)
def test_each_size_imports_encodes_and_decodes(size, folder, measured, make_picture):
    print(f"\n{size.upper()}-256 on {machine()}")
    name, state = f"one-d-piece-{size}-256", folder / "pytorch_model.bin"
    write_random_state(state, published_shapes(*SIZES[size][:2]))
    picture, coded, decoded = folder / "in.png", folder / "x.odp", folder / "out.png"
    make_picture().save(picture)
    measured("import", "models", "import", state)
    state.unlink()
    measured("encode", "encode", picture, coded, "-n", 256, "--model", name, "--device", "cpu")
    measured("decode", "decode", coded, decoded, "--device", "cpu")

    pytorch, tile = TorchRuntime(find(name), "cpu"), np.asarray(make_picture())[None]
    tokens = Codec(name, device="cpu").parse(coded.read_bytes()).tokens
    assert (tokens == pytorch.encode(tile)).mean() > 0.99
    with Image.open(decoded) as image:
        pixels = np.asarray(image)
    assert pixels.std() > 1
    assert psnr(pixels, pytorch.decode(tokens)[0]) > 50
