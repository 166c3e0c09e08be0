"""The paper's model against vectors of the reference implementation (shared reference folder)."""

import importlib.util

import numpy as np
import pytest
from published_shapes import published_shapes

torch = pytest.importorskip("torch", reason="needs the extra onedpiece[torch]")


@pytest.fixture(scope="module")
def model(shared, tmp_path_factory):
    """S-256 with the pseudo-random numbers that the vectors were made with."""
    from onedpiece.tokenizer.published import load_published

    spec = importlib.util.spec_from_file_location("state", shared / "reference" / "state.py")
    numbers = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(numbers)
    state = {
        name: torch.from_numpy(np.asarray(numbers.parameter(name, shape)))
        for name, shape in published_shapes(512, 8).items()
    }
    path = tmp_path_factory.mktemp("reference") / "pytorch_model.bin"
    torch.save(state, path)
    return load_published(path)


@pytest.fixture(scope="module")
def vectors(shared):
    with np.load(shared / "reference" / "ref_s256.npz") as file:
        return dict(file)


def test_tokens_equal_those_of_the_reference(model, vectors):
    pixels = torch.from_numpy(vectors["images"]).permute(0, 3, 1, 2).float() / 255
    with torch.inference_mode():
        assert np.array_equal(model.encode(pixels).numpy(), vectors["tokens"])


@pytest.mark.parametrize("image, count", [(0, 1), (1, 16), (0, 256)])
def test_pixels_equal_those_of_the_reference(model, vectors, image, count):
    tokens = torch.from_numpy(vectors["tokens"][image : image + 1, :count].astype(np.int64))
    with torch.inference_mode():
        pixels = model.decode(tokens)[0, :, ::4, ::4].numpy()
    assert np.abs(pixels - vectors[f"recon_{count}"][image]).max() < 1e-4
