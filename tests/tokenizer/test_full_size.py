"""One-D-Piece S-256 at its full size, from a state dict in a file to a codec, against vectors of the reference.

Takes a minute or two and 3 GB: deselected unless asked for with `-m full`.
"""

import ast
import importlib.util

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="needs the extra onedpiece[torch]")

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
def runtime(request, model):
    """(a runtime of the model, how far its pictures may be off)."""
    kind, tolerance = request.param
    return kind(model, "cpu"), tolerance


def test_its_shape_is_recognised(model):
    assert model.name == "one-d-piece-s-256"
    assert model.precision == "float32" and model.is_intact()


def test_tokens_are_those_of_the_reference(runtime, vectors):
    assert np.array_equal(runtime[0].encode(vectors["images"]), vectors["tokens"])


@pytest.mark.parametrize("count", COUNTS)
def test_pictures_are_those_of_the_reference(runtime, vectors, count):
    ours = runtime[0].decode(vectors["tokens"][:, :count])[:, ::4, ::4].transpose(0, 3, 1, 2) / 255
    expected = vectors[f"recon_{count}"].clip(0, 1)
    assert np.abs(ours - expected).max() < runtime[1]


@pytest.mark.parametrize("precision, equal, decibels", [("float16", 0.99, 55), ("int8", 0.95, 50)])
def test_other_precisions_are_near(model, vectors, tmp_path, precision, equal, decibels):
    from onedpiece.export.precisions import export_variant

    other = OnnxRuntime(export_variant(model, tmp_path / precision, precision), "cpu")
    assert (other.encode(vectors["images"]) == vectors["tokens"]).mean() > equal
    for count in COUNTS:
        ours = other.decode(vectors["tokens"][:, :count])[:, ::4, ::4].transpose(0, 3, 1, 2) / 255
        error = np.square(ours - vectors[f"recon_{count}"].clip(0, 1)).mean()
        assert -10 * np.log10(error) > decibels
