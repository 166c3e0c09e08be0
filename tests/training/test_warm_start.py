"""A run that starts from the weights of another model."""

from dataclasses import replace

import pytest

torch = pytest.importorskip("torch", reason="needs the extra onedpiece[torch]")

from onedpiece.tokenizer.config import CONFIGS  # noqa: E402
from onedpiece.tokenizer.onedpiece import build  # noqa: E402
from onedpiece.training.warm_start import copy_matching  # noqa: E402

TINY = CONFIGS["tiny"]


def test_a_deeper_model_starts_as_its_parent(tiny):
    parent, deeper = tiny.eval(), build(replace(TINY, depth=2)).eval()
    copy_matching(deeper, parent)
    pixels = torch.rand(1, 3, 256, 256)
    tokens = parent.encode(pixels)
    assert torch.equal(deeper.encode(pixels), tokens)
    assert torch.allclose(deeper.decode(tokens), parent.decode(tokens), atol=1e-6)
