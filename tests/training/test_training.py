"""Training: pictures from folders and tars, batches that depend on nothing but the step, exact resume."""

import itertools
import json
import os
import tarfile
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="needs the extra onedpiece[torch]")

from onedpiece.tokenizer.config import CONFIGS  # noqa: E402
from onedpiece.tokenizer.onedpiece import build  # noqa: E402
from onedpiece.training import __main__ as command  # noqa: E402
from onedpiece.training import data, loop, parts  # noqa: E402
from onedpiece.training.data import Pictures, normalise, shards  # noqa: E402
from onedpiece.training.evaluate import evaluate  # noqa: E402
from onedpiece.training.feed import cut_out, draw_batch, enlarge, feed  # noqa: E402
from onedpiece.training.fit import fit  # noqa: E402
from onedpiece.training.loop import Trainer, averaged_model, learning_rate  # noqa: E402
from onedpiece.training.losses import draw_lengths, log_distortion  # noqa: E402
from onedpiece.training.recipe import RECIPES, Recipe  # noqa: E402
from onedpiece.training.weights_files import inherit, pack, unpack  # noqa: E402

TINY = CONFIGS["tiny"]
RECIPE = Recipe(seconds=20, batch=2, matrix_rate=1e-3, warmup_steps=2)
SIZES = [(300, 260), (100, 900), (256, 256), (40, 30)]


@pytest.fixture
def folder(tmp_path, make_picture):
    """Pictures of several sizes, one of them below another folder, and one that cannot be read."""
    place = tmp_path / "pictures"
    (place / "more").mkdir(parents=True)
    for seed, size in enumerate(SIZES):
        name = "more/last.webp" if seed == 3 else f"{seed}.png"
        make_picture(*size, seed).save(place / name)
    (place / "2-broken.jpg").write_bytes(b"no picture at all")
    (place / "notes.txt").write_text("not even called a picture")
    return place


@pytest.fixture(scope="module")
def pictures(make_picture):
    """40 pictures of 256x256 and more, in memory."""
    arrays = [normalise(make_picture(256 + 4 * seed, 256, seed)) for seed in range(40)]
    ends = np.cumsum([array.size for array in arrays])
    index = [(end - array.size, *array.shape[:2]) for end, array in zip(ends, arrays, strict=True)]
    return Pictures(np.concatenate([array.ravel() for array in arrays]), np.array(index))


@pytest.fixture(scope="module")
def fitted(pictures):
    """A tiny model whose tables are fitted to the pictures."""
    model = build(TINY).eval()
    model.quantize.load_state_dict(fit(TINY.spectral, pictures).state_dict())
    return model


class TestPictures:
    def test_a_folder_is_read_with_everything_below_it(self, folder, tmp_path, capsys):
        pictures = Pictures.open([folder], tmp_path / "cache")
        assert [pictures[i].shape for i in range(len(pictures))] == [
            (256, 295, 3),
            (512, 256, 3),
            (256, 256, 3),
            (256, 341, 3),
        ]
        (line,) = capsys.readouterr().out.splitlines()
        assert line.startswith("skipped 2-broken.jpg: ")

    def test_a_tar_holds_the_same_pictures(self, folder, tmp_path):
        with tarfile.open(tmp_path / "shard.tar", "w") as tar:
            for name in ("0.png", "1.png", "2.png", "2-broken.jpg", "more/last.webp", "notes.txt"):
                tar.add(folder / name, name)
        ours = Pictures.open([tmp_path / "shard.tar"], tmp_path / "tar-cache")
        theirs = Pictures.open([folder], tmp_path / "folder-cache")
        np.testing.assert_array_equal(ours.index, theirs.index)
        np.testing.assert_array_equal(ours.pixels, theirs.pixels)

    def test_pictures_of_the_right_size_are_left_alone(self, folder, tmp_path, make_picture):
        pictures = Pictures.open([folder], tmp_path / "cache")
        np.testing.assert_array_equal(pictures[2], np.asarray(make_picture(256, 256, 2)))

    def test_the_cache_is_kept_for_the_same_sources_and_made_anew_for_others(
        self, folder, tmp_path, make_picture
    ):
        cache = tmp_path / "cache"
        Pictures.open([folder], cache)
        made = (cache / "pixels.u8").stat().st_mtime_ns
        assert len(Pictures.open([folder], cache)) == 4
        assert (cache / "pixels.u8").stat().st_mtime_ns == made
        assert len(Pictures.open([folder / "more"], cache)) == 1

    def test_sources_that_come_later_are_added(self, folder, tmp_path, monkeypatch):
        cache, more = tmp_path / "cache", folder / "more"
        Pictures.open([folder], cache)
        seen = []
        monkeypatch.setattr(data, "normalise", lambda p: seen.append(p) or normalise(p))
        pictures = Pictures.open([folder, more], cache)
        assert (len(pictures), len(seen)) == (5, 1)
        np.testing.assert_array_equal(pictures[4], pictures[3])

    def test_a_folder_of_tars_stands_for_its_tars_in_order_of_arrival(self, tmp_path):
        for seconds, name in enumerate(("b.tar", "a.tar", "c.tar")):
            (tmp_path / name).touch()
            os.utime(tmp_path / name, (seconds, seconds))
        assert [p.name for p in shards([tmp_path])] == ["b.tar", "a.tar", "c.tar"]
        assert shards([tmp_path / "b.tar"]) == [tmp_path / "b.tar"]

    def test_nothing_readable_is_an_error(self, tmp_path):
        (tmp_path / "empty").mkdir()
        with pytest.raises(ValueError, match="no readable picture"):
            Pictures.open([tmp_path / "empty"], tmp_path / "cache")

    def test_a_source_that_is_no_tar_is_an_error(self, folder, tmp_path):
        with tarfile.open(tmp_path / "cut.tgz", "w:gz") as tar:
            tar.add(folder / "0.png", "0.png")
        data = (tmp_path / "cut.tgz").read_bytes()
        (tmp_path / "cut.tgz").write_bytes(data[: len(data) // 2])
        for source in (folder / "0.png", tmp_path / "cut.tgz"):
            with pytest.raises(ValueError, match=r"neither a folder nor a whole tar file$"):
                Pictures.open([source], tmp_path / "cache")

    def test_a_picture_that_pillow_stumbles_over_is_skipped(self, folder, tmp_path, capsys):
        data = (folder / "0.png").read_bytes()
        at = data.rindex(b"IDAT")
        (folder / "0.png").write_bytes(data[:at] + b"ID\0\0" + data[at + 4 :])
        assert len(Pictures.open([folder], tmp_path / "cache")) == 3
        assert "skipped 0.png" in capsys.readouterr().out

    def test_a_cache_whose_index_cannot_be_written_is_as_it_was(
        self, folder, tmp_path, monkeypatch
    ):
        cache = tmp_path / "cache"
        Pictures.open([folder], cache)
        write = Path.write_text

        def full_disk(self, text):
            write(self, text[:20])
            raise OSError("no space left")

        monkeypatch.setattr(Path, "write_text", full_disk)
        with pytest.raises(OSError, match="no space"):
            Pictures.open([folder, folder / "more"], cache)
        assert len(Pictures.open([folder], cache)) == 4

    def test_sources_without_a_picture_leave_the_cache_as_it_was(self, folder, tmp_path):
        cache = tmp_path / "cache"
        before = Pictures.open([folder], cache)
        (tmp_path / "empty").mkdir()
        with pytest.raises(ValueError, match="no readable picture"):
            Pictures.open([tmp_path / "empty"], cache)
        assert sorted(path.name for path in cache.iterdir()) == ["index.json", "pixels.u8"]
        np.testing.assert_array_equal(Pictures.open([folder], cache).pixels, before.pixels)

    def test_the_centre_is_in_the_middle(self, pictures):
        i = 39
        left = (pictures[i].shape[1] - 256) // 2
        np.testing.assert_array_equal(pictures.centre(i), pictures[i][:, left : left + 256])


class TestBatches:
    def draw(self, pictures, recipe, step):
        crops, keep, zoom = draw_batch(pictures.index, recipe, step)
        return pictures.crops(crops), keep, zoom

    def test_a_batch_depends_on_seed_and_step_alone(self, pictures):
        recipe = replace(RECIPE, zoomed=0.5)
        drawn = self.draw(pictures, recipe, 7)
        self.draw(pictures, recipe, 8)
        for once, again in zip(drawn, self.draw(pictures, recipe, 7), strict=True):
            np.testing.assert_array_equal(once, again)
        pixels = self.draw(pictures, RECIPE, 7)[0]
        for recipe, step in ((RECIPE, 8), (replace(RECIPE, seed=1), 7)):
            assert not np.array_equal(pixels, self.draw(pictures, recipe, step)[0])

    def test_the_feed_gives_them_in_order_from_any_step(self, pictures):
        for step, batch in enumerate(
            itertools.islice(feed(pictures, RECIPE, 5, torch.device("cpu")), 3), 5
        ):
            pixels, keep, zoom = self.draw(pictures, RECIPE, step)
            np.testing.assert_array_equal(batch.pixels.numpy(), pixels)
            assert torch.equal(batch.keep, keep) and torch.equal(batch.zoom, zoom)
            assert batch.pixels.dtype == torch.uint8

    def test_crops_cut_on_a_device_are_the_same(self, pictures):
        crops, _, _ = draw_batch(pictures.index, replace(RECIPE, batch=12), 0)
        assert 0 < crops.mirror.sum() < 12
        cut = cut_out(torch.from_numpy(pictures.pixels), pictures.index, crops)
        np.testing.assert_array_equal(cut.numpy(), pictures.crops(crops))

    def test_the_asked_share_of_pictures_is_enlarged(self, pictures):
        zoom = draw_batch(pictures.index, replace(RECIPE, batch=4000, zoomed=0.25), 0)[2]
        assert ((zoom >= 1) & (zoom <= 2)).all()
        assert (zoom > 1).float().mean() == pytest.approx(0.25, abs=0.03)

    def test_the_asked_share_of_pictures_is_drawn_and_the_same_from_any_step(self, pictures):
        recipe, cpu = replace(RECIPE, batch=200, drawn=0.25), torch.device("cpu")
        first, second = itertools.islice(feed(pictures, recipe, 5, cpu), 2)
        plain = next(feed(pictures, replace(recipe, drawn=0), 5, cpu))
        drawn = (first.pixels != plain.pixels).flatten(1).any(1)
        assert drawn.float().mean() == pytest.approx(0.25, abs=0.1)
        assert torch.equal(next(feed(pictures, recipe, 6, cpu)).pixels, second.pixels)

    def test_enlarging_shows_the_middle_and_leaves_the_others_alone(self):
        ramp = torch.linspace(0, 1, 256).expand(2, 3, 256, 256)
        out = enlarge(ramp, torch.tensor([1.0, 2.0]))
        assert torch.equal(out[0], ramp[0])
        expected = 0.25 + 0.5 * (torch.arange(256) + 0.5) / 256
        assert torch.allclose(out[1, 0, 7], expected, atol=2e-3)

    def test_lengths_are_half_uniform_and_half_logarithmic(self):
        lengths = draw_lengths(20_000, np.random.default_rng(0))
        assert (lengths.min(), lengths.max()) == (1, 256)
        uniform, logarithmic = 16 / 256, np.log(17) / np.log(257)
        assert (lengths <= 16).mean() == pytest.approx((uniform + logarithmic) / 2, abs=0.02)
        uniform, logarithmic = 128 / 256, 1 - np.log(129) / np.log(257)
        assert (lengths >= 129).mean() == pytest.approx((uniform + logarithmic) / 2, abs=0.02)


def test_the_rate_warms_up_by_steps_and_falls_by_seconds():
    recipe = Recipe(seconds=100, warmup_steps=10)
    assert learning_rate(recipe, 0, 0) == pytest.approx(0.1)
    assert learning_rate(recipe, 9, 0) == learning_rate(recipe, 500, 0) == pytest.approx(1)
    assert learning_rate(recipe, 500, 50) == pytest.approx(0.505)
    assert learning_rate(recipe, 500, 100) == learning_rate(recipe, 500, 999) == pytest.approx(0.01)


def test_the_rate_can_fall_by_steps():
    recipe = Recipe(steps=1000, warmup_steps=10)
    assert learning_rate(recipe, 500, 1e9) == pytest.approx(0.505)
    assert learning_rate(recipe, 1000, 0) == pytest.approx(0.01)


class TestRecipe:
    @pytest.mark.parametrize("path", sorted(RECIPES.glob("*.toml")), ids=lambda path: path.stem)
    def test_every_recipe_of_the_package_can_be_read(self, path):
        assert Recipe.load(path.stem) == Recipe.load(str(path))

    def test_unknown_settings_are_an_error(self, tmp_path):
        (tmp_path / "mine.toml").write_text("seconds = 5\nspeed = 3\n")
        with pytest.raises(ValueError, match="no such setting: speed"):
            Recipe.load(str(tmp_path / "mine.toml"))

    def test_a_schedule_needs_an_end(self):
        with pytest.raises(ValueError, match="seconds or steps"):
            Recipe()


def test_the_loss_weighs_decibels_and_not_errors():
    target = torch.zeros(2, 3, 4, 4)
    decoded = torch.stack((torch.full((3, 4, 4), 0.5), torch.full((3, 4, 4), 0.05)))
    expected = (np.log(0.25 + 2e-4) + np.log(0.0025 + 2e-4)) / 2
    assert float(log_distortion(decoded, target)) == pytest.approx(expected, abs=1e-5)


class TestRun:
    @pytest.fixture(autouse=True)
    def clock(self, monkeypatch):
        """A second passes at every look at the clock, so that the schedule is the same every time."""
        ticks = itertools.count()
        monkeypatch.setattr(loop, "time", SimpleNamespace(monotonic=lambda: float(next(ticks))))

    @pytest.fixture
    def start(self, tmp_path, randomise):
        """Starts a run of the same untrained model in a folder of the given name."""

        def begin(name):
            torch.manual_seed(0)
            (tmp_path / name).mkdir()
            Trainer(tmp_path / name, randomise(build(TINY)), RECIPE).save()
            return tmp_path / name

        return begin

    def test_a_resumed_run_ends_with_the_same_bits(self, start, pictures):
        whole, parts = start("whole"), start("parts")
        Trainer.resume(whole).run(pictures, 5)
        Trainer.resume(parts).run(pictures, 2)
        Trainer.resume(parts).run(pictures, 5)
        one, other = (
            torch.load(run / "checkpoint.pt", weights_only=True) for run in (whole, parts)
        )
        assert (one["step"], one["seconds"]) == (other["step"], other["seconds"]) == (5, 5.0)
        for kind in ("model", "average"):
            for name, value in one[kind].items():
                assert torch.equal(value, other[kind][name]), f"{kind}: {name}"
        assert len(one["optimizers"]) == 2
        for mine, others in zip(one["optimizers"], other["optimizers"], strict=True):
            assert mine["state"]
            for index, moments in mine["state"].items():
                for name, value in moments.items():
                    assert torch.equal(value, others["state"][index][name])

    def test_training_moves_the_networks_and_not_the_tables(self, start, pictures):
        run = start("run")
        before = torch.load(run / "checkpoint.pt", weights_only=True)["model"]
        Trainer.resume(run).run(pictures, 3)
        after = torch.load(run / "checkpoint.pt", weights_only=True)["model"]
        moved = {name for name in before if not torch.equal(before[name], after[name])}
        assert {"repair.head.weight", "decoder.decoder_embed.weight", "hint.embed.weight"} <= moved
        assert not any(name.startswith("quantize.") for name in moved)

    def test_the_run_ends_when_its_seconds_are_over(self, start, pictures):
        run = start("run")
        trainer = Trainer.resume(run, recipe=replace(RECIPE, seconds=3))
        trainer.run(pictures)
        assert trainer.step == 3
        assert torch.load(run / "checkpoint.pt", weights_only=True)["step"] == 3

    def test_the_run_ends_when_its_steps_are_over(self, start, pictures):
        trainer = Trainer.resume(start("run"), recipe=Recipe(steps=3, batch=2))
        trainer.run(pictures)
        assert trainer.step == 3

    def test_a_run_can_be_interrupted_and_goes_on(self, start, pictures, monkeypatch):
        monkeypatch.setattr(loop, "LOG_STEPS", 2)
        trainer = Trainer.resume(start("run"))
        trainer.run(pictures, 9, interrupted=lambda: True)
        assert trainer.step == 2
        trainer.run(pictures, 5)
        assert trainer.step == 5

    def test_watched_pictures_are_evaluated_on_the_way(self, start, pictures, monkeypatch):
        monkeypatch.setattr(loop, "WATCH_SECONDS", 3)
        run = start("run")
        watched = torch.from_numpy(pictures.centre(0)[None].copy())
        Trainer.resume(run).run(pictures, 3, watched)
        rows = [json.loads(line) for line in (run / "log.jsonl").read_text().splitlines()]
        assert rows and all(row["psnr_256"] > 5 for row in rows)

    def test_the_log_can_say_how_much_of_the_device_is_used(self, start, pictures, monkeypatch):
        monkeypatch.setattr(loop, "LOG_STEPS", 2)
        run = start("run")
        trainer = Trainer.resume(run)
        trainer.measure(pictures)
        assert trainer.work.flops > 1e8 and trainer.work.peak > 1e9
        trainer.run(pictures, 2)
        row = json.loads((run / "log.jsonl").read_text())
        # The clock of this test says a second for each step.
        expected = trainer.work.flops / trainer.work.peak
        assert row["of_peak"] == pytest.approx(expected, abs=1e-4)

    def test_another_recipe_starts_anew_from_the_averaged_weights(self, start, pictures):
        run = start("run")
        Trainer.resume(run).run(pictures, 2)
        again = Trainer.resume(run, recipe=replace(RECIPE, rate=1e-4))
        saved = torch.load(run / "checkpoint.pt", weights_only=True)["average"]
        assert (again.step, again.seconds, again.recipe.rate) == (0, 0.0, 1e-4)
        for state in (again.model.state_dict(), again.average):
            assert all(torch.equal(value, saved[name]) for name, value in state.items())

    def test_progress_is_logged(self, start, pictures, monkeypatch):
        monkeypatch.setattr(loop, "LOG_STEPS", 2)
        run = start("run")
        Trainer.resume(run).run(pictures, 5)
        rows = [json.loads(line) for line in (run / "log.jsonl").read_text().splitlines()]
        assert [(row["step"], row["pictures"]) for row in rows] == [(2, 4), (4, 8)]

    def test_the_averaged_model_is_what_is_evaluated(self, start, pictures):
        run = start("run")
        trainer = Trainer.resume(run)
        trainer.run(pictures, 2)
        model = averaged_model(run)
        assert not model.training
        for name, value in model.state_dict().items():
            assert torch.equal(value, trainer.average[name])


class TestParts:
    def test_a_packed_model_comes_back_with_half_the_bytes(self, tmp_path, randomise, monkeypatch):
        monkeypatch.setattr(parts, "PART_BYTES", 10_000)
        model = randomise(build(TINY))
        pack(model, tmp_path)
        names = sorted(p.name for p in tmp_path.iterdir())
        size = sum((tmp_path / name).stat().st_size for name in names)
        assert len(names) == -(-size // 10_000) > 11
        assert size < 0.6 * sum(v.nbytes for v in model.state_dict().values())
        for name, value in unpack(tmp_path).state_dict().items():
            assert torch.allclose(value, model.state_dict()[name], rtol=0.01, atol=1e-4), name

    def test_packing_again_leaves_no_part_of_before(self, tmp_path, randomise):
        (tmp_path / "weights-9").write_bytes(b"of a larger model")
        pack(randomise(build(TINY)), tmp_path)
        assert unpack(tmp_path).config == TINY

    def test_nothing_packed_is_an_error(self, tmp_path):
        with pytest.raises(FileNotFoundError, match="no packed model"):
            unpack(tmp_path)

    def test_grain_is_inherited_whole_or_not_at_all(self, randomise):
        parent = randomise(build(CONFIGS["tiny"]))
        same, wider = build(parent.config), build(replace(parent.config, channels=16))
        for model in (same, wider):
            inherit(model, parent)
        assert torch.equal(same.grain.strength.weight, parent.grain.strength.weight)
        assert not wider.grain.strength.weight.any()

    def test_a_deeper_model_starts_as_the_one_it_inherits_from(self, randomise):
        parent = randomise(build(TINY)).eval()
        deeper = build(replace(TINY, depth=2)).eval()
        inherit(deeper, parent)
        pixels = torch.rand(1, 3, 256, 256)
        tokens = parent.encode(pixels)
        assert torch.equal(deeper.encode(pixels), tokens)
        assert torch.allclose(deeper.decode(tokens), parent.decode(tokens), atol=1e-6)


class TestFit:
    def test_more_tokens_describe_the_pictures_better(self, fitted, pictures):
        centres = torch.from_numpy(np.stack([pictures.centre(i) for i in range(len(pictures))]))
        scores = evaluate(fitted, centres, (1, 4, 16, 64, 256))
        means = [float(values.mean()) for values in scores.values()]
        assert means == sorted(means) and means[-1] > means[0] + 3

    def test_every_class_is_used(self, fitted, pictures):
        centres = np.stack([pictures.centre(i) for i in range(len(pictures))])
        tokens = fitted.encode(torch.from_numpy(centres).permute(0, 3, 1, 2).float() / 255)
        assert set(fitted.quantize.label(tokens).tolist()) == set(range(TINY.spectral.classes))

    def test_tables_are_what_float16_holds(self, fitted):
        for name in ("class_mean", "class_weight", "codebooks"):
            table = getattr(fitted.quantize, name).detach()
            assert torch.equal(table, table.half().float())

    def test_tokens_of_a_block_code_coefficients_of_their_own(self, fitted):
        for label in range(TINY.spectral.classes):
            for block in range(len(TINY.spectral.blocks)):
                order = fitted.quantize.order[label, fitted.quantize.block_of == block]
                assert order.unique().numel() == order.numel()

    def test_too_few_pictures_for_the_classes_are_an_error(self, pictures):
        few = Pictures(pictures.pixels, pictures.index[:2])
        with pytest.raises(RuntimeError, match="use fewer classes or more pictures"):
            fit(replace(TINY.spectral, classes=4), few)


class TestCommand:
    def call(self, monkeypatch, *arguments):
        monkeypatch.setattr("sys.argv", ["training", *map(str, arguments)])
        command.main()

    def test_tables_are_measured_without_what_the_recipe_needs(
        self, monkeypatch, tmp_path, fitted, folder
    ):
        Trainer(tmp_path, fitted, RECIPE).save()
        before = torch.load(tmp_path / "checkpoint.pt", weights_only=True)
        before["recipe"]["features"] = 1.0  # its networks are not at hand
        torch.save(before, tmp_path / "checkpoint.pt")
        data = ["--data", folder, "--cache", tmp_path / "cache"]
        self.call(monkeypatch, "tables", "--run", tmp_path, *data)
        after = torch.load(tmp_path / "checkpoint.pt", weights_only=True)
        table = after["average"].pop("quantize.frequency")
        assert not torch.equal(table, before["average"].pop("quantize.frequency"))
        assert torch.equal(table, after["model"]["quantize.frequency"])
        assert all(
            torch.equal(after["average"][name], value) for name, value in before["average"].items()
        )

    def test_fit_train_and_evaluate(self, monkeypatch, tmp_path, make_picture, capsys):
        (tmp_path / "data").mkdir()
        for seed in range(12):
            make_picture(256, 256, seed).save(tmp_path / "data" / f"{seed}.png")
        run = ["--run", tmp_path / "run"]
        data = ["--data", tmp_path / "data", "--cache", tmp_path / "cache"]
        self.call(monkeypatch, "fit", *run, *data, "--config", "tiny")
        (tmp_path / "quick.toml").write_text("steps = 2\nbatch = 2\n")
        train = ["train", *run, *data, "--stop", 1]
        self.call(monkeypatch, *train, "--recipe", tmp_path / "quick.toml")
        self.call(monkeypatch, *train)
        self.call(monkeypatch, *train)
        state = torch.load(tmp_path / "run" / "checkpoint.pt", weights_only=True)
        assert (state["step"], state["recipe"]["batch"]) == (2, 2)
        self.call(monkeypatch, "pack", *run, tmp_path / "packed")
        self.call(
            monkeypatch,
            "start",
            "--run",
            tmp_path / "other",
            "--config",
            "tiny",
            "--from",
            tmp_path / "packed",
        )
        other = torch.load(tmp_path / "other" / "checkpoint.pt", weights_only=True)
        assert other["step"] == 0
        books = "quantize.codebooks"
        assert torch.equal(other["model"][books], state["average"][books])
        capsys.readouterr()
        self.call(monkeypatch, "evaluate", *run, tmp_path / "data")
        lines = capsys.readouterr().out.splitlines()
        assert [int(line.split()[0]) for line in lines] == [1, 16, 32, 64, 128, 208, 256]


def test_training_needs_torch_numpy_and_pillow_only(loaded_modules):
    loaded = loaded_modules("import onedpiece.training.__main__")
    assert {"torch", "numpy", "PIL"} <= loaded
    assert not loaded & {"safetensors", "onnx", "onnxscript", "onnxruntime", "typer", "rich"}
