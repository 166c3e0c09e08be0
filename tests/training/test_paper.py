"""The paper's two stages at a tiny size: proxy codes, pixels with a critic, and several processes."""

import os
import subprocess
import sys
from dataclasses import replace

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="needs the extra onedpiece[torch]")

from onedpiece.errors import ModelError  # noqa: E402
from onedpiece.tokenizer.config import CONFIGS  # noqa: E402
from onedpiece.tokenizer.onedpiece import build  # noqa: E402
from onedpiece.training.adversary import PaperAdversary, paper_critic  # noqa: E402
from onedpiece.training.data import Pictures  # noqa: E402
from onedpiece.training.distributed import Share  # noqa: E402
from onedpiece.training.feed import Batch, draw_batch, feed  # noqa: E402
from onedpiece.training.loop import Trainer, averaged_model, learning_rate  # noqa: E402
from onedpiece.training.paper import ConvNext, FrozenVq, initialise  # noqa: E402
from onedpiece.training.recipe import Recipe  # noqa: E402

SMALL = {"batch": 2, "steps": 40, "warmup_steps": 1}
PIXELS = ("pixel_decoder", "pixel_quantize", "decoder", "head")


@pytest.fixture(scope="module")
def stages():
    """The two recipes of the package, shortened."""
    first, second = (Recipe.load(f"paper-stage-{number}") for number in (1, 2))
    return replace(first, **SMALL), replace(second, **SMALL, critic_start=2, window=64)


@pytest.fixture(scope="module")
def vq_file(tmp_path_factory):
    """A frozen tokenizer of random numbers."""
    torch.manual_seed(0)
    path = tmp_path_factory.mktemp("vq") / "vq.bin"
    torch.save(FrozenVq(32).state_dict(), path)
    return path


@pytest.fixture(scope="module")
def vq(vq_file):
    return FrozenVq.load(vq_file)


@pytest.fixture(scope="module")
def perceptual():
    """ConvNeXt of random numbers, small."""
    torch.manual_seed(0)
    return ConvNext((8, 8, 16, 16), (1, 1, 1, 1))


@pytest.fixture
def model(paper, vq):
    torch.manual_seed(1)
    model = build(paper)
    initialise(model, vq)
    return model


@pytest.fixture
def batch(make_picture):
    pixels = np.stack([np.asarray(make_picture(256, 256, seed)) for seed in range(2)])
    return Batch(torch.from_numpy(pixels), torch.tensor([100, 100]), torch.ones(2))


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
        found = vq.encoder(pixels).flatten(2).transpose(1, 2)[0, 7]
        distances = (found - vq.quantize["embedding"].weight).norm(dim=1)
        assert distances.argmin() == codes[0, 7]

    def test_another_file_is_refused(self, published, vq_file, tmp_path):
        with pytest.raises(ModelError, match="no MaskGIT-VQGAN"):
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

    def test_equal_pictures_have_none_and_only_decoded_ones_get_a_gradient(self, perceptual):
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


class TestCritic:
    def test_it_scores_a_grid_of_patches(self):
        assert paper_critic(32)(torch.rand(2, 3, 128, 128)).shape == (2, 1, 16, 16)

    def test_it_learns_to_tell_noise_from_flat_pictures(self):
        torch.manual_seed(0)
        adversary = PaperAdversary(1e-3, width=32)
        real, flat = torch.rand(2, 3, 64, 64), torch.full((2, 3, 64, 64), 0.5)
        for _ in range(10):
            adversary.learn(real, flat, 1.0)
        assert adversary.complaint(flat) > adversary.complaint(real)


class TestRecipes:
    def test_they_have_the_published_values(self):
        first, second = (Recipe.load(f"paper-stage-{number}") for number in (1, 2))
        assert (first.steps, first.batch, first.rate, first.proxy) == (1_000_000, 1024, 1e-4, 1)
        assert (second.steps, second.batch, second.squared) == (500_000, 512, 1)
        assert (second.perceptual, second.adversary, second.critic_start) == (0.1, 0.01, 20_000)

    def test_the_rate_ends_at_a_tenth(self):
        recipe = Recipe.load("paper-stage-1")
        assert learning_rate(recipe, 9_999, 0) == pytest.approx(1, abs=1e-3)
        assert learning_rate(recipe, 1_000_000, 0) == pytest.approx(0.1)

    def test_the_critics_schedule_begins_when_it_does(self):
        recipe = Recipe.load("paper-stage-2")
        assert learning_rate(recipe, 20_000, 0, recipe.critic_start) == pytest.approx(1 / 5000)

    def test_a_batch_has_one_length(self):
        recipe, index = Recipe.load("paper-stage-1"), np.array([[0, 256, 256]])
        lengths = [draw_batch(index, recipe, step)[1] for step in range(200)]
        assert all((keep == keep[0]).all() for keep in lengths)
        firsts = [int(keep[0]) for keep in lengths]
        assert 1 <= min(firsts) < 20 and 236 < max(firsts) <= 256

    @pytest.mark.parametrize("stage, missing", [(0, "frozen tokenizer"), (1, "feature network")])
    def test_they_need_their_teachers(self, stages, model, tmp_path, stage, missing):
        with pytest.raises(ValueError, match=missing):
            Trainer(tmp_path, model, stages[stage])

    def test_they_are_for_the_papers_configurations(self, stages, vq, tmp_path):
        with pytest.raises(ValueError, match="paper's configurations"):
            Trainer(tmp_path, build(CONFIGS["tiny"]), stages[0], vq=vq)


class TestStageOne:
    def test_the_codes_are_learned_and_the_pixel_decoder_stays(
        self, stages, model, vq, batch, tmp_path
    ):
        trainer = Trainer(tmp_path, model, replace(stages[0], rate=2e-3), vq=vq)
        terms = []
        parts = changed(trainer, lambda: terms.append(trainer.train_step(batch)))
        assert parts == {"latent_tokens", "encoder", "quantize", "decoder", "head"}
        assert set(terms[0]) == {"proxy", "quantiser"}
        assert terms[0]["proxy"] == pytest.approx(np.log(1024), rel=0.05)
        for _ in range(2):
            terms.append(trainer.train_step(batch))
        assert terms[-1]["proxy"] < terms[0]["proxy"]


class TestStageTwo:
    @pytest.fixture
    def trainer(self, stages, model, perceptual, tmp_path):
        return Trainer(tmp_path, model, stages[1], perceptual=perceptual)

    def test_the_decoder_learns_pixels_and_the_tokens_stay(self, trainer, batch):
        terms = []
        parts = changed(trainer, lambda: terms.append(trainer.train_step(batch)))
        assert parts == set(PIXELS)
        assert set(terms[0]) == {"quantiser", "squared", "perceptual"}

    def test_the_critic_begins_later(self, trainer, batch):
        trainer.recipe = replace(trainer.recipe, critic_start=1)
        weights = trainer.adversary.critic[0].weight.detach().clone()
        trainer.train_step(batch)
        assert torch.equal(trainer.adversary.critic[0].weight, weights)
        assert "adversary" in trainer.train_step(batch)
        assert not torch.equal(trainer.adversary.critic[0].weight, weights)

    def test_a_resumed_run_goes_on_exactly(self, trainer, batch, perceptual):
        trainer.recipe = replace(trainer.recipe, critic_start=0)
        trainer.train_step(batch)
        trainer.save()
        again = Trainer.resume(trainer.folder, perceptual=perceptual)
        assert again.train_step(batch) == trainer.train_step(batch)


class TestSeveralProcesses:
    @pytest.fixture
    def folder(self, tmp_path, make_picture):
        (tmp_path / "pictures").mkdir()
        for seed in range(4):
            make_picture(256, 256, seed).save(tmp_path / "pictures" / f"{seed}.png")
        return tmp_path

    def test_their_shares_make_the_whole_batch(self, folder):
        pictures = Pictures.open([folder / "pictures"], folder / "cache")
        recipe = Recipe(steps=1, batch=4)

        def first(share):
            batches = feed(pictures, recipe, 0, torch.device("cpu"), share)
            return next(batches)

        whole, parts = first(Share()), [first(Share(rank, 2)) for rank in (0, 1)]
        for rank, part in enumerate(parts):
            assert torch.equal(part.pixels, whole.pixels[rank::2])
            assert torch.equal(part.keep, whole.keep[rank::2])

    def test_what_they_cannot_agree_on_is_refused(self, stages, model, vq, tmp_path):
        for change in ({"seconds": 9.0}, {"batch": 3}):
            trainer = Trainer(tmp_path, model, replace(stages[0], **change), vq=vq)
            with pytest.raises(ValueError, match="several processes"):
                trainer.distribute(Share(0, 2))

    def test_two_learn_what_one_learns(self, folder, stages, model, vq, vq_file):
        """The command as `torchrun` starts it, against one process with the same batches."""
        recipe = replace(stages[0], steps=2)
        for run in ("one", "two"):
            (folder / run).mkdir()
            Trainer(folder / run, model, recipe, vq=vq).save()
        pictures = Pictures.open([folder / "pictures"], folder / "cache")
        Trainer.resume(folder / "one", vq=vq).run(pictures)
        launch = [sys.executable, "-m", "torch.distributed.run", "--nproc-per-node", "2"]
        verb = ["-m", "onedpiece.training", "train", "--run", folder / "two", "--vq", vq_file]
        data = ["--data", folder / "pictures", "--cache", folder / "cache"]
        done = subprocess.run(
            [*launch, "--standalone", "--", *verb, *data],
            capture_output=True,
            text=True,
            env={**os.environ, "OMP_NUM_THREADS": "1"},
        )
        assert done.returncode == 0, done.stderr
        one, two = (
            torch.load(folder / run / "checkpoint.pt", weights_only=True) for run in ("one", "two")
        )
        assert one["step"] == two["step"] == 2
        start = model.state_dict()
        for name, value in one["model"].items():
            # AdamW's first steps are as long as the rate whatever the gradient, so a rounding error in one that is
            # nearly zero may turn a step round; on the whole the steps must agree.
            learned, ours = value - start[name], two["model"][name] - start[name]
            if learned.abs().max() > 0:
                assert (
                    torch.nn.functional.cosine_similarity(learned.ravel(), ours.ravel(), 0) > 0.95
                )

    def test_the_result_is_a_model(self, folder, stages, model, vq):
        Trainer(folder, model, stages[0], vq=vq).save()
        assert averaged_model(folder).config == model.config
