"""The natural decoder learns to paint what its teacher paints."""

import copy
import sys
from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest
from PIL import Image

torch = pytest.importorskip("torch", reason="needs the extra onedpiece[torch]")

from onedpiece.tokenizer.config import Natural  # noqa: E402
from onedpiece.tokenizer.natural import (  # noqa: E402
    NaturalOneDPiece,
    RestorationNetwork,
    correct,
    resample,
    small_side,
)
from onedpiece.training import checkpoint  # noqa: E402
from onedpiece.training.adversary import (  # noqa: E402
    ALONE,
    Adversary,
    Patches,
    Vgg19Heads,
)
from onedpiece.training.distillation import Distillation, Plan  # noqa: E402
from onedpiece.training.features import Scores  # noqa: E402
from onedpiece.training.perception import Perception  # noqa: E402
from onedpiece.training.photographs import Photographs  # noqa: E402
from onedpiece.training.targets import BATCH, LENGTHS, Targets, make_targets  # noqa: E402
from onedpiece.training.teacher import (  # noqa: E402
    load_restoration,
    teach,
    teacher_side,
)


@pytest.fixture
def natural(fitted):
    """A small natural decoder, not trained."""
    torch.manual_seed(0)
    decoder = NaturalOneDPiece(replace(fitted.config, natural=Natural(1, 8)))
    decoder.quantize.load_state_dict(fitted.quantize.state_dict())
    return decoder


@pytest.fixture(scope="module")
def teacher():
    torch.manual_seed(0)
    return RestorationNetwork(3).eval().requires_grad_(False)


@pytest.fixture(scope="module")
def targets(tmp_path_factory, fitted, teacher, pictures):
    return make_targets(fitted, teacher, pictures, tmp_path_factory.mktemp("targets"), (16, 64))


@pytest.fixture
def begin(tmp_path, natural):
    """Begins or continues a run."""

    def begin(name="run", losses=None):
        folder = tmp_path / name
        if folder.exists():
            return Distillation.resume(folder, losses)
        plan = Plan(seconds=1e6, batch=2, warmup_steps=1)
        return Distillation(folder, copy.deepcopy(natural), plan, losses)

    return begin


class TestNetwork:
    def test_the_small_picture_grows_with_the_number_of_tokens(self):
        assert [small_side(tokens) for tokens in (32, 64, 128, 256)] == [27, 31, 35, 39]
        sides = [small_side(tokens) for tokens in range(1, 257)]
        assert all(0 <= after - before <= 2 for before, after in pairwise(sides))
        assert (sides[0], sides[-1]) == (23, 39)

    @pytest.mark.parametrize("size, result", [(96, 256), (192, 256), (256, 48)])
    def test_scaling_is_that_of_pillow(self, size, result):
        pixels = np.random.default_rng(0).random((size, size), np.float32)
        expected = Image.fromarray(pixels).resize((result, result), Image.Resampling.BICUBIC)
        scaled = resample(torch.from_numpy(pixels)[None, None], result)[0, 0]
        assert np.abs(scaled.numpy() - np.asarray(expected)).max() < 1e-5

    def test_mean_colours_are_those_of_what_it_was_shown(self):
        painted, small = torch.rand(1, 3, 256, 256) / 2 + 0.25, torch.rand(1, 3, 32, 32) / 2
        means = small.mean((2, 3)), correct(painted, small).mean((2, 3))
        assert torch.allclose(*means, atol=0.02)
        assert not torch.allclose(means[0], painted.mean((2, 3)), atol=0.02)

    def test_nothing_is_darker_or_brighter_than_what_it_was_shown_around(self):
        painted = torch.rand(1, 3, 256, 256)
        small = torch.full((1, 3, 32, 32), 0.25)
        small[..., 16:] = 0.75
        corrected = correct(painted, small)
        assert torch.allclose(corrected[..., :96], torch.tensor(0.25), atol=1e-4)
        assert torch.allclose(corrected[..., 160:], torch.tensor(0.75), atol=1e-4)
        assert corrected[..., 120:136].std() > 0.1

    @pytest.mark.parametrize("tokens", [1, 64, 256])
    def test_it_paints_a_tile_from_any_prefix(self, natural, tokens):
        codes = torch.zeros(2, tokens, dtype=torch.int64)
        assert natural.decode(codes).shape == (2, 3, 256, 256)

    def test_a_batch_may_have_prefixes_of_several_lengths(self, natural):
        codes = torch.randint(0, 4096, (3, 64))
        together = natural.decode(codes, torch.tensor([5, 64, 5]))
        assert torch.allclose(together[1:2], natural.decode(codes[1:2]), atol=1e-5)
        assert torch.allclose(together[2:], natural.decode(codes[2:, :5]), atol=1e-5)

    def test_it_is_shown_what_the_tokens_say_made_small(self, fitted, natural, pictures):
        pixels = torch.from_numpy(pictures.centre(0)).permute(2, 0, 1)[None].float() / 255
        tokens = fitted.encode(pixels)[:, :200]
        small = natural.small_picture(tokens)
        expected = resample(fitted.spectral_picture(tokens), small.shape[-1]).clamp(0, 1)
        assert (small - expected).abs().mean() < 0.01


class TestWeights:
    def test_other_names_in_the_same_order_are_understood(self, tmp_path, teacher):
        state = {str(i): value.half() for i, value in enumerate(teacher.state_dict().values())}
        torch.save(state, tmp_path / "weights.pt")
        loaded = load_restoration(tmp_path / "weights.pt")
        for name, value in teacher.state_dict().items():
            assert torch.equal(loaded.state_dict()[name], value.half().float())

    def test_some_blocks_can_be_kept(self, tmp_path, teacher):
        torch.save({"params_ema": teacher.state_dict()}, tmp_path / "weights.pt")
        loaded = load_restoration(tmp_path / "weights.pt", [0, 2])
        kept, whole = loaded.state_dict(), teacher.state_dict()
        name = "rdb1.conv1.weight"
        assert torch.equal(kept[f"body.1.{name}"], whole[f"body.2.{name}"])
        assert len(loaded.body) == 2

    def test_other_networks_are_refused(self, tmp_path):
        torch.save({"weight": torch.zeros(3)}, tmp_path / "weights.pt")
        with pytest.raises(ValueError, match="residual dense blocks"):
            load_restoration(tmp_path / "weights.pt")

    def test_real_esrgan_is_the_one_of_its_reference(self, shared):
        import importlib.util

        folder = shared / "teacher"
        if not folder.exists():
            pytest.skip("needs the teacher in the shared folder")
        spec = importlib.util.spec_from_file_location("reference", folder / "realesrgan.py")
        reference = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(reference)
        pixels = torch.rand(1, 3, 12, 12, generator=torch.Generator().manual_seed(0))
        ours = load_restoration(folder / "realesrgan_x4plus.pt")(pixels)
        assert torch.allclose(ours, reference.Teacher().float()(pixels), atol=1e-4)


class TestTargets:
    def test_the_teacher_is_shown_more_detail_of_more_tokens(self):
        assert [teacher_side(tokens) for tokens in (32, 64, 128, 256)] == [24, 32, 40, 48]

    def test_each_picture_is_painted_from_one_of_the_lengths(self, targets, pictures):
        assert targets.painted.shape == (len(pictures), 256, 256, 3)
        assert sorted(set(targets.num_tokens)) == [16, 64]
        assert 256 in LENGTHS

    def test_they_are_what_the_teacher_paints(self, targets, fitted, teacher):
        tokens = torch.from_numpy(targets.tokens[:1, : targets.num_tokens[0]].astype(np.int64))
        with torch.no_grad():
            expected = teach(teacher, fitted.decode(tokens), int(targets.num_tokens[0]))
        painted = torch.from_numpy(np.array(targets.painted[:1])).permute(0, 3, 1, 2) / 255
        assert (painted - expected).abs().mean() < 0.01

    def test_a_second_call_finds_them_done(self, tmp_path, fitted, teacher, pictures):
        first = make_targets(fitted, teacher, pictures, tmp_path, (16,))

        def never(pixels):
            raise AssertionError

        again = make_targets(fitted, never, pictures, tmp_path, (16,))
        assert len(again.painted) == len(first.painted)

    def test_a_batch_has_one_number_of_tokens(self, targets):
        batch = targets.batch(3, np.random.default_rng(0))
        assert batch.tokens.shape in {(3, 16), (3, 64)}
        for pixels in (batch.painted, batch.original):
            assert pixels.shape == (3, 3, 256, 256)
            assert 0 <= pixels.min() <= pixels.max() <= 1

    def test_drawings_are_painted_with_the_least_error(self, tmp_path, fitted, teacher, pictures):
        many = replace(pictures, index=np.resize(pictures.index, (10 * BATCH, 3)))
        stopped = make_targets(fitted, teacher, many, tmp_path, (16,))
        tokens = torch.from_numpy(stopped.tokens[-1:, :16].astype(np.int64))
        with torch.no_grad():
            expected = fitted.decode(tokens).clamp(0, 1)
        painted = torch.from_numpy(np.array(stopped.painted[-1:])).permute(0, 3, 1, 2) / 255
        assert (painted - expected).abs().mean() < 0.01
        drawings = Targets(*(getattr(stopped, name)[9 * BATCH :] for name in ARRAYS))
        assert len(drawings.num_tokens) == BATCH


ARRAYS = ("tokens", "painted", "original", "num_tokens")


class TestTraining:
    def test_the_student_comes_nearer_to_the_teacher(self, begin, targets):
        run, rng = begin(), np.random.default_rng(0)
        batch = targets.batch(4, rng)
        name = "l1_alone" if batch.original is None else "l1"
        first = run.train_step(batch, rng)[name]
        for _ in range(30):
            last = run.train_step(batch, rng)[name]
        assert last < first

    def test_networks_compare_with_the_teacher_and_with_the_original(
        self, begin, targets, weights, vgg, lpips
    ):
        perception = Perception(lpips, vgg, Scores(weights.squeeze))
        batch = targets.batch(2, np.random.default_rng(0))
        run = begin(losses=perception)
        terms = run.train_step(batch, np.random.default_rng(0))
        assert set(terms) == {"l1", "original", "lpips", "vgg", "scores"}
        terms = run.train_step(replace(batch, original=None), np.random.default_rng(0))
        assert set(terms) == {"l1_alone", "lpips"}

    def test_a_resumed_run_is_the_run_that_did_not_stop(self, begin, targets):
        whole = begin("whole")
        whole.run(targets, 4)
        begin("parts").run(targets, 2)
        parts = begin("parts")
        assert parts.step == 2
        parts.run(targets, 4)
        for name, value in whole.student.state_dict().items():
            assert torch.allclose(parts.student.state_dict()[name], value, atol=1e-6)
            assert torch.allclose(parts.ema.weights[name], whole.ema.weights[name], atol=1e-6)

    def test_the_token_set_is_not_trained(self, begin, targets):
        run = begin()
        before = run.student.quantize.codebooks.clone()
        run.run(targets, 2)
        assert torch.equal(run.student.quantize.codebooks, before)


class TestDiscriminator:
    @pytest.fixture(params=["VGG-19", "patches"])
    def adversary(self, request, weights, vgg):
        def adversary():
            torch.manual_seed(0)
            if request.param == "patches":
                return Adversary(Patches())
            return Adversary(Vgg19Heads(vgg), Scores(weights.squeeze))

        return adversary

    def test_it_learns_to_tell_pictures_from_photographs(self, adversary, monkeypatch):
        monkeypatch.setattr("onedpiece.training.adversary.ALONE", 16)
        adversary, rng = adversary(), np.random.default_rng(0)
        real = torch.rand(1, 3, 128, 128, generator=torch.Generator().manual_seed(0))
        flat = real.mean((2, 3), keepdim=True).expand_as(real)
        for _ in range(16):
            assert "adversarial" not in adversary.terms(flat, flat, real, rng=rng)
        of_real, of_flat = (
            adversary.terms(seen, seen, real, rng=rng)["adversarial"].item()
            for seen in (real, flat)
        )
        assert of_real < of_flat

    def test_the_decoder_learns_from_it_when_it_has_learned(self, adversary, natural, pictures):
        adversary, rng = adversary(), np.random.default_rng(0)
        adversary.step = ALONE
        decoded = torch.rand(1, 3, 128, 128, requires_grad=True)
        loss = adversary.terms(decoded, decoded, torch.rand(1, 3, 128, 128), rng=rng)["adversarial"]
        loss.backward()
        assert decoded.grad.abs().sum() > 0

    def test_drawings_are_not_judged(self, adversary):
        drawing = torch.rand(1, 3, 256, 256)
        assert adversary().terms(drawing, drawing, rng=np.random.default_rng(0)) == {}

    def test_a_resumed_run_is_the_run_that_did_not_stop(
        self, begin, natural, pictures, adversary, monkeypatch
    ):
        monkeypatch.setattr("onedpiece.training.adversary.ALONE", 0)
        photographs = Photographs(natural, pictures)
        whole = begin("whole", adversary())
        whole.run(photographs, 2)
        begin("parts", adversary()).run(photographs, 1)
        parts = begin("parts", adversary())
        assert parts.losses.step > 0
        parts.run(photographs, 2)
        for name, value in whole.student.state_dict().items():
            assert torch.allclose(parts.student.state_dict()[name], value, atol=1e-6)

    def test_photographs_come_with_what_the_decoder_painted(self, natural, pictures):
        photographs = Photographs(natural, pictures)
        batches = [photographs.batch(2, np.random.default_rng(seed)) for seed in range(12)]
        photos = [batch for batch in batches if batch.original is not None]
        assert 0 < len(photos) < len(batches)
        with torch.no_grad():
            painted = natural.decode(photos[0].tokens).clamp(0, 1)
        assert (photos[0].painted - painted).abs().mean() < 0.01  # it may be of bfloat16

    def test_a_drawing_is_to_be_painted_as_it_is(self, natural, pictures):
        photographs = Photographs(natural, pictures)
        batches = (photographs.batch(2, np.random.default_rng(seed)) for seed in range(50))
        drawing = next(batch for batch in batches if batch.original is None)
        expected = natural.encode(drawing.painted)[:, : drawing.tokens.shape[1]]
        assert torch.equal(drawing.tokens, expected)


class TestCommand:
    def test_prune_keeps_blocks_of_the_teacher_and_no_run_is_overwritten(
        self, tmp_path, monkeypatch, teacher, fitted
    ):
        from onedpiece.training import __main__ as command

        monkeypatch.setattr(command, "_spectral", lambda model: fitted)
        torch.save(teacher.state_dict(), tmp_path / "teacher.pt")
        arguments = ["--run", tmp_path / "run", "--weights", tmp_path / "teacher.pt"]
        arguments += ["--blocks", "0", "2"]
        monkeypatch.setattr(sys, "argv", ["training", "prune", *map(str, arguments)])
        command.main()
        kept = checkpoint.ema_model(tmp_path / "run").restore.body[1].state_dict()
        for name, value in teacher.body[2].state_dict().items():
            assert torch.equal(kept[name], value)
        with pytest.raises(SystemExit, match="is a run already"):
            command.main()
