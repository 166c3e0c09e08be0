"""Weights of a natural decoder are rounded so that their errors cancel."""

import copy
from dataclasses import replace

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="needs the extra onedpiece[torch]")
pytest.importorskip("onnxscript", reason="needs the extra onedpiece[torch]")

from onedpiece.export import rounding  # noqa: E402
from onedpiece.export.rounding import _rounded, round_weights  # noqa: E402
from onedpiece.tokenizer.config import CONFIGS, Natural  # noqa: E402
from onedpiece.tokenizer.natural import NaturalOneDPiece  # noqa: E402
from onedpiece.tokenizer.weights import row_scales, save_decoder  # noqa: E402

TOKENS = np.random.default_rng(0).integers(0, 4096, (4, 256), np.uint16)


@pytest.fixture(scope="module")
def module():
    torch.manual_seed(0)
    return NaturalOneDPiece(replace(CONFIGS["tiny"], natural=Natural(1, 8))).eval()


@pytest.fixture(scope="module")
def rounded(module):
    """The module with rounded weights, and the scales of their rows."""
    decoder = copy.deepcopy(module)
    return decoder, round_weights(decoder, [TOKENS[:2], TOKENS[2:, :40]])


@pytest.fixture
def layer():
    """Weights, their scales, and inputs that are much alike, (N, 9C)."""
    torch.manual_seed(0)
    weight, mix = torch.randn(8, 4, 3, 3), torch.randn(4, 36)
    inputs = torch.randn(500, 4) @ mix + 0.1 * torch.randn(500, 36)
    return weight, row_scales(weight), inputs


def error(weight, other, inputs) -> float:
    return float((inputs @ (weight - other).flatten(1).T).square().mean())


def test_outputs_change_far_less_than_by_the_nearest_integers(layer):
    weight, scale, inputs = layer
    nearest = (weight / scale).round() * scale
    cancelling = _rounded(weight, scale, inputs.T @ inputs / len(inputs))
    assert error(weight, cancelling, inputs) < 0.2 * error(weight, nearest, inputs)


def test_weights_that_are_left_fit_the_outputs_best(layer, monkeypatch):
    """Section 3 of the paper, with a solver of least squares in the place of its equations."""
    monkeypatch.setattr(rounding, "DAMPING", 0.0)
    weight, scale, inputs = layer
    weight, inputs = weight[:, :1], inputs[:, :9].double()
    expected, step = weight.flatten(1).double(), scale.flatten(1)
    order = inputs.square().mean(0).argsort(descending=True).tolist()
    outputs = inputs @ expected.T
    for number, column in enumerate(order, 1):
        expected[:, column] = (expected[:, column] / step[:, 0]).round() * step[:, 0]
        done, left = order[:number], order[number:]
        missing = outputs - inputs[:, done] @ expected[:, done].T
        if left:
            expected[:, left] = torch.linalg.lstsq(inputs[:, left], missing).solution.T
    products = (inputs.T @ inputs / len(inputs)).float()
    assert torch.allclose(_rounded(weight, scale, products).flatten(1), expected.float(), atol=1e-4)


def test_weights_of_independent_inputs_get_the_nearest_integers(layer):
    weight, scale, _ = layer
    assert torch.allclose(_rounded(weight, scale, torch.eye(36)), (weight / scale).round() * scale)


def test_inputs_that_are_always_zero_are_no_error(layer):
    weight, scale, _ = layer
    assert _rounded(weight, scale, torch.zeros(36, 36)).isfinite().all()


def test_every_stored_matrix_is_rounded_and_nothing_else_changes(module, rounded):
    decoder, scales = rounded
    for name, value in decoder.state_dict().items():
        if name in scales:
            integers = value / scales[name]
            assert torch.allclose(integers, integers.round(), atol=1e-3)
            assert integers.abs().max() < 127.5
        else:
            assert torch.equal(value, module.state_dict()[name])
    assert len(scales) == 3 * 5 + 4  # in the block, and what is large enough around it


def test_the_file_has_these_weights(rounded, tmp_path):
    from safetensors.torch import load_file

    decoder, scales = rounded
    save_decoder(decoder, tmp_path / "decoder.safetensors", scales=scales)
    stored = load_file(tmp_path / "decoder.safetensors")
    for name, scale in scales.items():
        assert stored[name].dtype == torch.int8
        assert torch.allclose(stored[name] * scale, decoder.state_dict()[name], atol=1e-6)
