"""Pictures, tiny models and random feature networks that the tests of training share."""

from dataclasses import dataclass, field

import numpy as np
import pytest

FIRES = {3: (64, 16, 64), 4: (128, 16, 64), 6: (128, 32, 128), 7: (256, 32, 128)}
FIRES |= {9: (256, 48, 192), 10: (384, 48, 192), 11: (384, 64, 256), 12: (512, 64, 256)}
HEADS = (64, 128, 256, 384, 384, 512, 512)
VGG = [(64, 3), (64, 64), (128, 64), (128, 128), (256, 128), (256, 256), (256, 256), (256, 256)]


@dataclass
class FeatureWeights:
    """State dicts of the published shapes, filled with random numbers."""

    squeeze: dict = field(default_factory=dict)
    heads: dict = field(default_factory=dict)
    vgg: dict = field(default_factory=dict)


@pytest.fixture(scope="session")
def pictures(make_picture):
    """24 pictures of 256x256 and wider, in memory."""
    from onedpiece.training.data import Pictures, normalise

    arrays = [normalise(make_picture(256 + 4 * seed, 256, seed)) for seed in range(24)]
    ends = np.cumsum([array.size for array in arrays])
    index = [(end - array.size, *array.shape[:2]) for end, array in zip(ends, arrays, strict=True)]
    return Pictures(np.concatenate([array.ravel() for array in arrays]), np.array(index))


@pytest.fixture
def batch(pictures):
    """Two pictures, one of few and one of many tokens."""
    import torch

    from onedpiece.training.feed import Batch

    pixels = torch.from_numpy(np.stack([pictures.centre(i) for i in range(2)]))
    return Batch(pixels, torch.tensor([9, 200]))


@pytest.fixture
def tiny(randomise):
    """A model of the configuration "tiny" with random weights and tables."""
    import torch

    from onedpiece.tokenizer.config import CONFIGS
    from onedpiece.tokenizer.onedpiece import build

    torch.manual_seed(0)
    return randomise(build(CONFIGS["tiny"]))


@pytest.fixture(scope="session")
def fitted(pictures):
    """A model of the configuration "tiny" whose tables are fitted to the pictures."""
    from onedpiece.tokenizer.config import CONFIGS
    from onedpiece.tokenizer.onedpiece import build
    from onedpiece.training.fit import fit

    model = build(CONFIGS["tiny"]).eval()
    model.quantize.load_state_dict(fit(CONFIGS["tiny"].spectral, pictures).state_dict())
    return model


@pytest.fixture(scope="session")
def weights():
    """Random weights for the feature networks."""
    import torch

    from onedpiece.training.features import Vgg

    def layer(name, channels, channels_in, size):
        weight = torch.randn(channels, channels_in, size, size) * (2 / channels_in) ** 0.5 / size
        return {f"{name}.weight": weight, f"{name}.bias": torch.zeros(channels)}

    torch.manual_seed(0)
    weights = FeatureWeights(squeeze=layer("features.0", 64, 3, 3))
    for number, (channels_in, narrow, wide) in FIRES.items():
        weights.squeeze |= layer(f"features.{number}.squeeze", narrow, channels_in, 1)
        weights.squeeze |= layer(f"features.{number}.expand1x1", wide, narrow, 1)
        weights.squeeze |= layer(f"features.{number}.expand3x3", wide, narrow, 3)
    weights.squeeze |= layer("classifier.1", 1000, 512, 1)
    weights.heads = {f"lin{i}": torch.rand(1, width, 1, 1) for i, width in enumerate(HEADS)}
    for name, (channels, channels_in) in zip(Vgg.LAYERS, VGG, strict=True):
        weights.vgg |= layer(name, channels, channels_in, 3)
    return weights


@pytest.fixture(scope="session")
def vgg(weights):
    from onedpiece.training.features import Vgg

    return Vgg(weights.vgg)


@pytest.fixture(scope="session")
def lpips(weights):
    from onedpiece.tokenizer.lpips import Lpips

    return Lpips(weights.squeeze, weights.heads)
