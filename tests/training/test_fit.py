"""Tables fitted to pictures."""

from dataclasses import replace

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="needs the extra onedpiece[torch]")

from onedpiece.tokenizer.config import CONFIGS  # noqa: E402
from onedpiece.training.data import Pictures  # noqa: E402
from onedpiece.training.evaluate import evaluate  # noqa: E402
from onedpiece.training.fit import fit  # noqa: E402

SHAPE = CONFIGS["tiny"].spectral


@pytest.fixture(scope="module")
def centres(pictures):
    return torch.from_numpy(np.stack([pictures.centre(i) for i in range(len(pictures))]))


def test_more_tokens_describe_the_pictures_better(fitted, centres):
    scores = evaluate(fitted, centres[:8], (1, 16, 256))
    means = [float(values.mean()) for values in scores.values()]
    assert means == sorted(means) and means[-1] > means[0] + 3


def test_every_class_is_used(fitted, centres):
    tokens = fitted.encode(centres.permute(0, 3, 1, 2).float() / 255)
    assert set(fitted.quantize.class_of[tokens[:, 0]].tolist()) == set(range(SHAPE.classes))


def test_tables_are_exact_in_float16(fitted):
    for name in ("class_mean", "class_weight", "codebooks"):
        table = getattr(fitted.quantize, name).detach()
        assert torch.equal(table, table.half().float())


def test_no_two_tokens_of_a_block_code_the_same_coefficient(fitted):
    for class_id in range(SHAPE.classes):
        for block in range(len(SHAPE.blocks)):
            order = fitted.quantize.order[class_id, fitted.quantize.block_of == block]
            assert order.unique().numel() == order.numel()


def test_too_few_pictures_for_the_classes_are_an_error(pictures):
    few = Pictures(pictures.pixels, pictures.index[:2])
    with pytest.raises(RuntimeError, match="use fewer classes or more pictures"):
        fit(replace(SHAPE, classes=4), few)
