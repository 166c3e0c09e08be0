"""One-D-Piece S-256 at its full size, imported from a state dict, against the reference vectors.

Takes a minute or two and 3 GB: deselected unless asked for with `-m full`.
"""

import ast
import importlib.util

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="needs the extra onedpiece[torch]")

from onedpiece.metrics import psnr  # noqa: E402
from onedpiece.runtime.onnx import OnnxRuntime  # noqa: E402
from onedpiece.runtime.torch import TorchRuntime  # noqa: E402

pytestmark = pytest.mark.full
COUNTS = [1, 16, 256]


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
