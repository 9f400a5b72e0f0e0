from __future__ import annotations

from pathlib import Path

import pytest

from imagemint.config import Recipe, load_recipe, parse_setting, recipe_names
from imagemint.errors import RecipeError


@pytest.mark.parametrize("name", recipe_names())
def test_every_recipe_loads_under_its_own_name(name: str) -> None:
    assert load_recipe(name).name == name


def test_cdcgan_is_what_baker_2018_says() -> None:
    recipe = load_recipe("cdcgan")
    assert isinstance(recipe, Recipe)
    assert (recipe.z_size, recipe.d_steps, recipe.g_steps, recipe.batch_size) == (100, 1, 2, 64)
    assert recipe.target(10_000) == 250_000  # phase A: 25 epochs of 10,000
    for optimizer in (recipe.optimizer_g, recipe.optimizer_d):
        assert (optimizer.name, optimizer.lr, optimizer.beta1) == ("adam", 2e-4, 0.5)


def test_overrides_reach_inside_and_one_duration_replaces_the_other() -> None:
    recipe = load_recipe("cdcgan", {"optimizer_g.lr": 1e-3, "images": 640})
    assert isinstance(recipe, Recipe)
    assert recipe.optimizer_g.lr == 1e-3
    assert recipe.optimizer_d.lr == 2e-4
    assert recipe.target(10_000) == 640


def test_a_recipe_goes_round_through_itself() -> None:
    recipe = load_recipe("demo", {"batch_size": 32})
    assert load_recipe(recipe) == recipe


@pytest.mark.parametrize(
    ("overrides", "line"),
    [
        ({"learning_rate": 1}, "unknown key learning_rate"),
        ({"optimizer_g.rl": 1}, "unknown key optimizer_g.rl"),
        ({"batch_size": 1}, "batch_size = 1"),
        ({"batch_size": "many"}, "batch_size = many"),
        ({"optimizer_d.lr": -1}, "optimizer_d.lr = -1"),
        ({"optimizer_d.lr": float("nan")}, "optimizer_d.lr = nan"),
        ({"images": 0}, "images = 0"),
        ({"epochs": -3}, "epochs = -3"),
        ({"noise": "pink"}, "noise = pink"),
        ({"batch_size.x": 2}, "batch_size of recipe cdcgan has no parts"),
        ({"version": 2}, "version = 2"),
    ],
)
def test_a_wrong_field_is_named_in_one_line(overrides: dict[str, object], line: str) -> None:
    with pytest.raises(RecipeError, match=line):
        load_recipe("cdcgan", overrides)


def test_unknown_recipes_name_the_known_ones(tmp_path: Path) -> None:
    with pytest.raises(RecipeError, match=r"no recipe 'stylegan'; wanted one of .*cdcgan"):
        load_recipe("stylegan")
    with pytest.raises(RecipeError, match="no recipe file"):
        load_recipe(tmp_path / "absent.yaml")
    for content, problem in (
        ("a: [", "is not YAML"),
        ("just text", "holds no settings"),
        ("name: x", "does not say"),
    ):
        (tmp_path / "bad.yaml").write_text(content)
        with pytest.raises(RecipeError, match=problem):
            load_recipe(tmp_path / "bad.yaml")


def test_settings_are_yaml() -> None:
    assert parse_setting("a.b=1e-3") == ("a.b", "1e-3")  # YAML 1.1 wants 1.0e-3; the field's type mends it
    recipe = load_recipe("demo", dict([parse_setting("optimizer_g.lr=1e-3")]))
    assert isinstance(recipe, Recipe) and recipe.optimizer_g.lr == 1e-3
    assert parse_setting("penalty=null") == ("penalty", None)
    with pytest.raises(RecipeError, match="wanted --set key=value"):
        parse_setting("lr")


def test_a_pack_of_the_wrong_size_is_refused_before_anything_is_built() -> None:
    with pytest.raises(RecipeError, match=r"32x32 images and recipe cdcgan is for sides of 8 to 28.*--size 28"):
        load_recipe("cdcgan").check_fits(1, (32, 32))
    load_recipe("cdcgan").check_fits(3, (28, 28))
