"""The paper's two stages at a tiny size: proxy codes, then pixels with a discriminator."""

from dataclasses import replace
from functools import partial

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="needs the extra onedpiece[torch]")

from onedpiece.errors import ModelError  # noqa: E402
from onedpiece.tokenizer.onedpiece import build  # noqa: E402
from onedpiece.training import checkpoint, objective  # noqa: E402
from onedpiece.training.convnext import ConvNext  # noqa: E402
from onedpiece.training.discriminator import Discriminator, patch_discriminator  # noqa: E402
from onedpiece.training.feed import Batch  # noqa: E402
from onedpiece.training.frozen_vq import FrozenVq, initialise  # noqa: E402
from onedpiece.training.loop import Trainer  # noqa: E402
from onedpiece.training.objective import FrozenNetworks  # noqa: E402
from onedpiece.training.recipe import Recipe  # noqa: E402

SMALL = {"batch": 2, "steps": 40, "warmup_steps": 1}
DECODER = {"pixel_decoder", "pixel_quantize", "decoder", "head"}


@pytest.fixture(scope="module")
def stages():
    """The two recipes of the package, shortened."""
    first, second = (Recipe.load(f"paper-stage-{number}") for number in (1, 2))
    return replace(first, **SMALL), replace(second, **SMALL, discriminator_start=2, window=64)


@pytest.fixture(scope="module")
def vq_file(tmp_path_factory):
    """Weights of a frozen tokenizer, random numbers."""
    torch.manual_seed(0)
    path = tmp_path_factory.mktemp("vq") / "vq.bin"
    torch.save(FrozenVq(32).state_dict(), path)
    return path


@pytest.fixture(scope="module")
def vq(vq_file):
    return FrozenVq.load(vq_file)


@pytest.fixture(scope="module")
def perceptual():
    """A small ConvNeXt of random numbers."""
    torch.manual_seed(0)
    return ConvNext((8, 8, 16, 16), (1, 1, 1, 1))


@pytest.fixture
def one_picture(batch):
    return Batch(batch.pixels[:1], batch.num_tokens[:1])


@pytest.fixture
def model(paper, vq):
    torch.manual_seed(1)
    model = build(paper)
    initialise(model, vq)
    return model


def changed(trainer, step) -> set[str]:
    """First parts of the names of all parameters that a step changes."""
    before = {name: value.clone() for name, value in trainer.model.state_dict().items()}
    step()
    after = trainer.model.state_dict()
    return {name.split(".")[0] for name in before if not torch.equal(before[name], after[name])}


class TestFrozenTokenizer:
    def test_it_has_the_entries_of_the_published_file(self):
        state = FrozenVq().state_dict()
        assert {name.split(".")[0] for name in state} == {"encoder", "decoder", "quantize"}
        assert state["encoder.conv_in.weight"].shape == (128, 3, 3, 3)
        assert state["encoder.down.2.block.0.nin_shortcut.weight"].shape == (256, 256, 1, 1)
        assert state["encoder.conv_out.weight"].shape == (256, 512, 1, 1)

    def test_codes_are_the_nearest_ones(self, vq):
        pixels = torch.rand(1, 3, 256, 256)
        codes = vq.codes(pixels)
        assert codes.shape == (1, 256) and len(codes.unique()) > 1
        output = vq.encoder(pixels).flatten(2).transpose(1, 2)[0, 7]
        distances = (output - vq.quantize["embedding"].weight).norm(dim=1)
        assert distances.argmin() == codes[0, 7]

    def test_another_file_is_refused(self, published, vq_file, tmp_path):
        with pytest.raises(ModelError, match="not a MaskGIT-VQGAN"):
            FrozenVq.load(published)
        state = torch.load(vq_file, weights_only=True)
        del state["quantize.embedding.weight"]
        torch.save(state, tmp_path / "x.bin")
        with pytest.raises(ModelError, match=r"embedding.weight is missing"):
            FrozenVq.load(tmp_path / "x.bin")


class TestPerceptualDistance:
    def test_it_has_the_size_of_convnext_s(self):
        with torch.device("meta"):
            assert sum(p.numel() for p in ConvNext().parameters()) == 50_223_688

    def test_it_is_zero_for_equal_pictures_and_gradients_flow_into_decoded_ones_only(
        self, perceptual
    ):
        one, other = torch.rand(2, 2, 3, 64, 64).unbind()
        assert perceptual(one, one).abs().max() == 0
        decoded, original = one.clone().requires_grad_(), other.clone().requires_grad_()
        perceptual(decoded, original).sum().backward()
        assert decoded.grad.abs().sum() > 0 and original.grad is None

    def test_weights_come_from_a_folder(self, perceptual, tmp_path, monkeypatch):
        small = ((8, 8, 16, 16), (1, 1, 1, 1))
        monkeypatch.setattr(ConvNext.__init__, "__defaults__", small)
        torch.save(perceptual.state_dict(), tmp_path / ConvNext.FILE)
        pixels = torch.rand(1, 3, 64, 64)
        one, other = (net(pixels, 1 - pixels) for net in (perceptual, ConvNext.load(tmp_path)))
        assert torch.equal(one, other)


class TestDiscriminator:
    def test_it_has_a_logit_for_each_of_16x16_patches(self):
        assert patch_discriminator(32)(torch.rand(2, 3, 128, 128)).shape == (2, 1, 16, 16)

    def test_it_learns_to_tell_noise_from_flat_pictures(self):
        torch.manual_seed(0)
        discriminator = Discriminator(1e-3, width=32)
        real, flat = torch.rand(2, 3, 64, 64), torch.full((2, 3, 64, 64), 0.5)
        for _ in range(10):
            discriminator.train_step(real, flat, 1.0)
        assert discriminator.generator_loss(flat) > discriminator.generator_loss(real)


class TestRecipes:
    @pytest.mark.parametrize("stage, missing", [(0, "frozen tokenizer"), (1, "feature network")])
    def test_they_need_their_networks(self, stages, model, tmp_path, stage, missing):
        with pytest.raises(ValueError, match=missing):
            Trainer(tmp_path, model, stages[stage])

    def test_they_are_for_the_papers_configurations(self, stages, tiny, vq, tmp_path):
        with pytest.raises(ValueError, match="paper's configurations"):
            Trainer(tmp_path, tiny, stages[0], networks=FrozenNetworks(vq=vq))


class TestStageOne:
    def test_the_codes_are_learned_and_the_pixel_decoder_is_frozen(
        self, stages, model, vq, batch, tmp_path
    ):
        recipe = replace(stages[0], learning_rate=2e-3)
        trainer = Trainer(tmp_path, model, recipe, networks=FrozenNetworks(vq=vq))
        terms = []
        names = changed(trainer, lambda: terms.append(trainer.train_step(batch)))
        assert names == {"latent_tokens", "encoder", "quantize", "decoder", "head"}
        assert set(terms[0]) == {"proxy", "quantiser"}
        assert terms[0]["proxy"] == pytest.approx(np.log(1024), rel=0.05)
        for _ in range(2):
            terms.append(trainer.train_step(batch))
        assert terms[-1]["proxy"] < terms[0]["proxy"]

    def test_the_result_is_a_model(self, stages, model, vq, tmp_path):
        Trainer(tmp_path, model, stages[0], networks=FrozenNetworks(vq=vq)).save()
        assert checkpoint.ema_model(tmp_path).config == model.config


class TestStageTwo:
    @pytest.fixture(autouse=True)
    def narrow_discriminator(self, monkeypatch):
        monkeypatch.setattr(objective, "Discriminator", partial(Discriminator, width=32))

    @pytest.fixture
    def networks(self, perceptual):
        return FrozenNetworks(perceptual=perceptual)

    def test_the_decoder_learns_pixels_and_the_discriminator_begins_later(
        self, stages, model, networks, one_picture, tmp_path
    ):
        recipe = replace(stages[1], discriminator_start=1)
        trainer = Trainer(tmp_path, model, recipe, networks=networks)
        weight = trainer.objective.discriminator.network[0].weight
        before = weight.detach().clone()
        terms = []
        names = changed(trainer, lambda: terms.append(trainer.train_step(one_picture)))
        assert names == DECODER
        assert set(terms[0]) == {"quantiser", "mse", "perceptual"}
        assert torch.equal(weight, before)
        assert set(trainer.train_step(one_picture)) == {*terms[0], "generator_loss"}
        assert not torch.equal(weight, before)

    def test_a_resumed_run_goes_on_exactly(self, stages, model, networks, one_picture, tmp_path):
        recipe = replace(stages[1], discriminator_start=0)
        trainer = Trainer(tmp_path, model, recipe, networks=networks)
        trainer.train_step(one_picture)
        trainer.save()
        resumed = Trainer.resume(tmp_path, networks=networks)
        assert resumed.train_step(one_picture) == trainer.train_step(one_picture)
        one, other = (t.objective.discriminator for t in (trainer, resumed))
        assert torch.equal(one.decoded_ema, other.decoded_ema) and one.decoded_ema != 0
