"""Recipes and their schedules."""

import pytest

pytest.importorskip("torch", reason="needs the extra onedpiece[torch]")

from onedpiece.training.recipe import RECIPES, Recipe
from onedpiece.training.schedule import is_finished, learning_rate_factor


class TestRecipe:
    @pytest.mark.parametrize("path", sorted(RECIPES.glob("*.toml")), ids=lambda path: path.stem)
    def test_every_recipe_of_the_package_can_be_read(self, path):
        assert Recipe.load(path.stem) == Recipe.load(str(path))

    def test_those_of_the_paper_have_the_published_values(self):
        first, second = (Recipe.load(f"paper-stage-{number}") for number in (1, 2))
        assert (first.steps, first.batch, first.learning_rate) == (1_000_000, 1024, 1e-4)
        assert (first.proxy, second.mse, second.perceptual) == (1, 1, 0.1)
        assert (second.steps, second.batch) == (500_000, 512)
        assert (second.generator_loss, second.discriminator_start) == (0.01, 20_000)

    def test_unknown_settings_are_an_error(self, tmp_path):
        (tmp_path / "mine.toml").write_text("seconds = 5\nspeed = 3\n")
        with pytest.raises(ValueError, match="no such setting: speed"):
            Recipe.load(str(tmp_path / "mine.toml"))

    def test_a_schedule_needs_an_end(self):
        with pytest.raises(ValueError, match="seconds or steps"):
            Recipe()


class TestSchedule:
    def test_the_learning_rate_warms_up_by_steps_and_falls_by_seconds(self):
        recipe = Recipe(seconds=100, warmup_steps=10)
        assert learning_rate_factor(recipe, 0, 0) == pytest.approx(0.1)
        assert learning_rate_factor(recipe, 9, 0) == pytest.approx(1)
        assert learning_rate_factor(recipe, 500, 0) == pytest.approx(1)
        assert learning_rate_factor(recipe, 500, 50) == pytest.approx(0.505)
        assert learning_rate_factor(recipe, 500, 100) == pytest.approx(0.01)
        assert learning_rate_factor(recipe, 500, 999) == pytest.approx(0.01)

    def test_it_can_fall_by_steps(self):
        recipe = Recipe(steps=1000, warmup_steps=10)
        assert learning_rate_factor(recipe, 500, 1e9) == pytest.approx(0.505)
        assert learning_rate_factor(recipe, 1000, 0) == pytest.approx(0.01)

    def test_that_of_the_paper_ends_at_a_tenth(self):
        recipe = Recipe.load("paper-stage-1")
        assert learning_rate_factor(recipe, 9_999, 0) == pytest.approx(1, abs=1e-3)
        assert learning_rate_factor(recipe, 1_000_000, 0) == pytest.approx(0.1)

    def test_that_of_the_discriminator_begins_when_the_discriminator_does(self):
        recipe = Recipe.load("paper-stage-2")
        factor = learning_rate_factor(recipe, 20_000, 0, recipe.discriminator_start)
        assert factor == pytest.approx(1 / 5000)

    def test_a_run_ends_by_seconds_or_by_steps(self):
        assert is_finished(Recipe(seconds=5), 0, 5) and not is_finished(Recipe(seconds=5), 9, 4)
        assert is_finished(Recipe(steps=5), 5, 0) and not is_finished(Recipe(steps=5), 4, 9)
