"""The state dicts of the published models have the names and shapes of the reference code."""

import ast

import pytest

torch = pytest.importorskip("torch", reason="needs the extra onedpiece[torch]")

from published_shapes import SIZES, published_shapes  # noqa: E402

from onedpiece.errors import ModelError  # noqa: E402
from onedpiece.tokenizer.config import CONFIGS, Vit  # noqa: E402
from onedpiece.tokenizer.published import load_published, shapes  # noqa: E402


@pytest.mark.parametrize("size, count", [("s", 308), ("b", 404), ("l", 692)])
def test_one_d_piece_has_the_entries_of_the_list(size, count):
    width, layers, heads = SIZES[size]
    config = CONFIGS[f"one-d-piece-{size}-256"]
    assert config.encoder == config.decoder == Vit(width, layers, heads)
    assert shapes(config) == published_shapes(width, layers)
    assert len(shapes(config)) == count


@pytest.mark.parametrize("size, hidden", [("s", 1024), ("b", 1536), ("l", 2048)])
def test_the_head_is_twice_as_wide_as_the_transformer(size, hidden):
    entries = shapes(CONFIGS[f"one-d-piece-{size}-256"])
    assert entries["decoder.ffn.0.weight"] == (hidden, hidden // 2, 1, 1)
    assert entries["decoder.ffn.2.weight"] == (1024, hidden, 1, 1)


@pytest.mark.parametrize(
    "name, size, tokens", [("s-128", "s", 128), ("b-64", "b", 64), ("l-32", "l", 32)]
)
def test_titok_differs_in_the_number_of_tokens(name, size, tokens):
    width, layers, _ = SIZES[size]
    assert shapes(CONFIGS[f"titok-{name}"]) == published_shapes(width, layers, tokens)


def test_the_small_model_of_these_tests_has_them_too(paper):
    assert shapes(paper) == published_shapes(32, 1, base=32)


def test_the_list_of_s_is_that_of_the_reference_vectors(shared):
    lines = (shared / "reference" / "state_dict_s256.txt").read_text().splitlines()
    entries = dict(line.split(" ", 1) for line in lines)
    assert published_shapes(512, 8) == {k: ast.literal_eval(v) for k, v in entries.items()}


def test_a_titok_that_is_not_legacy_is_refused(paper, published, tmp_path):
    """Its head gives pixels: `TiTokDecoder` with `is_legacy: false` in the reference code."""
    state = torch.load(published, weights_only=True)
    width = paper.decoder.width
    for layer in ("decoder.ffn.0", "decoder.ffn.2"):
        del state[f"{layer}.weight"], state[f"{layer}.bias"]
    state["decoder.ffn.0.weight"] = torch.zeros(16 * 16 * 3, width, 1, 1)
    state["decoder.ffn.0.bias"] = torch.zeros(16 * 16 * 3)
    state["decoder.conv_out.weight"] = torch.zeros(3, 3, 3, 3)
    state["decoder.conv_out.bias"] = torch.zeros(3)
    torch.save(state, tmp_path / "pytorch_model.bin")
    with pytest.raises(ModelError, match="is not"):
        load_published(tmp_path / "pytorch_model.bin", paper)
