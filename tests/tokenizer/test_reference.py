"""The paper's model against vectors made with the reference implementation (shared reference folder)."""

from __future__ import annotations

import ast
import importlib.util
from pathlib import Path

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="needs the torch extra")

REFERENCE = Path(__file__).parents[2] / "../shared/reference"
pytestmark = pytest.mark.skipif(
    not REFERENCE.exists(), reason="needs ../shared/reference, vectors of the official model"
)


@pytest.fixture(scope="module")
def model():
    from onedpiece.tokenizer.config import CONFIGS
    from onedpiece.tokenizer.onedpiece import build

    spec = importlib.util.spec_from_file_location("state", REFERENCE / "state.py")
    state = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(state)
    model = build(CONFIGS["one-d-piece-s-256"]).eval()
    weights = {}
    for line in (REFERENCE / "state_dict_s256.txt").read_text().splitlines():
        name, shape = line.split(" ", 1)
        value = np.asarray(state.parameter(name, ast.literal_eval(shape)))
        weights[name.replace("decoder.ffn.", "head.ffn.")] = torch.from_numpy(value)
    model.load_state_dict(weights)
    return model


@pytest.fixture(scope="module")
def vectors():
    with np.load(REFERENCE / "ref_s256.npz") as file:
        return dict(file)


def test_tokens_equal_those_of_the_reference(model, vectors):
    pixels = torch.from_numpy(vectors["images"]).permute(0, 3, 1, 2).float() / 255
    with torch.inference_mode():
        assert np.array_equal(model.encode(pixels).numpy(), vectors["tokens"])


@pytest.mark.parametrize("count", [1, 16, 256])
def test_pictures_equal_those_of_the_reference(model, vectors, count):
    tokens = torch.from_numpy(vectors["tokens"][:, :count].astype(np.int64))
    with torch.inference_mode():
        pixels = model.decode(tokens)[:, :, ::4, ::4].numpy()
    assert np.abs(pixels - vectors[f"recon_{count}"]).max() < 1e-4
