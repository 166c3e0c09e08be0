"""Exported models that the tests of this folder share: exporting takes seconds."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

PICTURES = sorted((Path(__file__).parents[2] / "bench" / "pictures").glob("*.png"))


@pytest.fixture(scope="session")
def random_model(randomise):
    """A tiny spectral model with random weights.

    It has two blocks of tokens only, because the graphs grow with their number.
    """
    pytest.importorskip("onnxscript", reason="needs the extra onedpiece[torch]")
    import torch

    from onedpiece.tokenizer.config import CONFIGS, Spectral
    from onedpiece.tokenizer.onedpiece import build

    torch.manual_seed(0)
    config = replace(CONFIGS["tiny"], spectral=Spectral(16, 2, 3, (1, 255)))
    return randomise(build(config))


@pytest.fixture(scope="session")
def exported(random_model, tmp_path_factory):
    """The directory of the random model."""
    from onedpiece.export.model_directory import export, new_decoder

    folder = tmp_path_factory.mktemp("models") / "random"
    return export(random_model, folder, "random", new_decoder("painter")).path


@pytest.fixture(scope="session")
def int8(installed_paper, tmp_path_factory):
    """The small published model in int8."""
    from onedpiece.export.precisions import export_variant

    return export_variant(installed_paper, tmp_path_factory.mktemp("int8") / "small", "int8")


@pytest.fixture(scope="session")
def photographs():
    """uint8 (4, 256, 256, 3)."""
    assert len(PICTURES) == 4
    return np.stack([np.asarray(Image.open(path)) for path in PICTURES])


@pytest.fixture(scope="session")
def synthetic(make_picture):
    """uint8 (3, 256, 256, 3)."""
    return np.stack([np.asarray(make_picture(seed=seed)) for seed in range(3)])
