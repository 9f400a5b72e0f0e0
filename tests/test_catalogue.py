"""What `imagemint recipes` prints is what the recipes, the tables and the networks say."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Collection

import pytest
import torch
import yaml
from torch import Tensor, nn

from imagemint.catalogue import Network, layer_tables, networks, parts, recipe_facts, shown_shape
from imagemint.config import Recipe, load_recipe, recipe_names
from imagemint.losses import LOSSES, PENALTIES
from imagemint.methods import METHODS
from imagemint.methods.joined import JOINED
from imagemint.models import MODELS, ImageShape, build, parameter_count
from imagemint.recipe_list import read_facts
from imagemint.training.optimisers import OPTIMIZERS
from tests.test_cli import Command, refused
from tests.test_cli import imagemint as imagemint  # the fixture


def test_cdcgan_layer_by_layer_as_baker_2018_prints_it() -> None:
    recipe = load_recipe("cdcgan")
    assert isinstance(recipe, Recipe)
    tables = layer_tables(shown_shape(recipe), networks(recipe))
    rows = {which: [(layer.shape, layer.trainable) for layer in table] for which, table in tables.items()}
    assert rows["discriminator"] == [
        ((11, 14, 14), 3_036),
        ((74, 7, 7), 38_924),
        ((74, 7, 7), 148),
        ((1024,), 3_724_288),
        ((1024,), 2_048),
        ((1,), 1_035),
    ]
    assert rows["generator"] == [
        ((1024,), 113_664),
        ((1024,), 2_048),
        ((6272,), 6_491_520),
        ((6272,), 12_544),
        ((128, 14, 14), 441_728),
        ((128, 14, 14), 256),
        ((1, 28, 28), 3_451),
    ]


def test_layers_are_counted_once_whether_shared_frozen_or_never_called() -> None:
    class Odd(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.twice = nn.Linear(3, 3)
            self.frozen = nn.Linear(3, 3).requires_grad_(False)
            self.by_hand = nn.Linear(3, 2)
            self.own = nn.Parameter(torch.zeros(2))

        def forward(self, x: Tensor, labels: Tensor) -> Tensor:
            return self.frozen(self.twice(self.twice(x))) @ self.by_hand.weight.t() + self.own

    recipe = load_recipe("demo", {"z_size": 3})
    assert isinstance(recipe, Recipe)
    with torch.device("meta"):
        network = Network(Odd(), 12 + 8 + 2, 12 + 12 + 8 + 2, z_size=3)
    table = layer_tables(shown_shape(recipe), {"generator": network})["generator"]
    assert {layer.name: (layer.shape, layer.trainable, layer.total) for layer in table} == {
        "twice": ((3,), 12, 12),
        "frozen": ((3,), 0, 12),
        "(itself)": ((2,), 2, 2),
        "by_hand": ((), 8, 8),
    }


@pytest.mark.parametrize("name", recipe_names())
def test_counting_without_values_counts_the_networks_that_are_trained(name: str) -> None:
    recipe = load_recipe(name)
    if not isinstance(recipe, Recipe) or recipe.model == JOINED:
        pytest.skip("a baseline is fitted and has no networks; a joined one is counted in test_recipes")
    found = networks(recipe, ImageShape(1, 16, 16)) if recipe.smallest <= 16 else networks(recipe)
    if not found:
        pytest.skip("its networks do not follow from its settings alone")
    shape = ImageShape(1, 16, 16) if recipe.smallest <= 16 else shown_shape(recipe)
    pair = build(recipe.model, recipe.options, shape, recipe.shown_at.classes, recipe.z_size)
    assert [parameter_count(network) for network in pair] == [network.trainable for network in found.values()]


def test_the_list_shows_every_recipe_within_100_columns(imagemint: Command) -> None:
    listed = imagemint("recipes")
    assert listed.status == 0
    lines = listed.out.splitlines()
    assert max(map(len, lines)) <= 100
    for name in recipe_names():
        (line,) = [line for line in lines if line.startswith(f" {name} ")]
        counts = [f"{network.trainable:,}" for network in networks(load_recipe(name)).values()]
        assert line.split()[-len(counts) :] == counts or not counts
    facts = json.loads(imagemint("recipes", "--json").out)["recipes"]
    assert [each["name"] for each in facts] == recipe_names()
    assert facts[recipe_names().index("cdcgan")]["parameters"]["generator"]["trainable"] == 7_065_211


def test_a_shown_recipe_is_a_recipe_file_and_its_layers(imagemint: Command) -> None:
    shown = imagemint("recipes", "dense", "--set", "options.hidden_g=[5]", "--size", "6x4", "--channels", 3)
    refused(shown, "6x4 images and recipe dense is for sides of 8 to")
    shown = imagemint("recipes", "dense", "--set", "options.hidden_g=[5]", "--size", "8x12", "--channels", 3)
    text, _, tables = shown.out.partition("Networks for 8x12 images, 3 channels, 10 classes")
    assert Recipe.model_validate(yaml.safe_load(text)) == load_recipe("dense", {"options.hidden_g": [5]})
    assert f"{101 * 5 + 6 * 3 * 8 * 12:,}" in tables
    facts = json.loads(imagemint("recipes", "dense", "--classes", 3, "--json").out)
    assert facts["recipe"]["name"] == "dense"
    assert facts["images"] == {"height": 28, "width": 28, "channels": 1, "classes": 3}
    assert [layer["shape"] for layer in facts["networks"]["generator"]["layers"]] == [[1024], [1024], [784]]


def test_every_part_is_named_with_its_source(imagemint: Command) -> None:
    listed = imagemint("recipes", "--parts")
    assert listed.status == 0
    assert max(map(len, listed.out.splitlines())) <= 100
    found = json.loads(imagemint("recipes", "--parts", "--json").out)["parts"]
    named = {(part["key"], name) for part in found for name in part["names"]}
    assert {("loss", name) for name in LOSSES} | {("model", name) for name in MODELS} <= named
    assert all(part.about for part in parts() if part.key in ("loss", "model"))
    tables: dict[str, Collection[str]] = {
        "penalty.name": PENALTIES,
        "optimizer_g.name": OPTIMIZERS,
        "optimizer_d.name": OPTIMIZERS,
        "noise": Recipe.model_json_schema()["properties"]["noise"]["enum"],
        "augment": Recipe.model_json_schema()["properties"]["augment"]["enum"],
        "model": [model for method in METHODS.values() for model in method.models],
    }
    for key, names in tables.items():
        assert {(key, name) for name in names} <= named
    options = {part.key for part in parts()}
    for family in MODELS.values():
        assert {f"options.{key}" for key in family.options.model_fields} <= options


def test_what_cannot_be_shown_gets_one_line(imagemint: Command) -> None:
    refused(imagemint("recipes", "--size", 8), "without NAME")
    refused(imagemint("recipes", "none"), "no recipe 'none'")
    refused(imagemint("recipes", "cdcgan", "--channels", 2), "--channels 2")
    refused(imagemint("recipes", "cdcgan", "--size", 27), "27x27", "multiples of 4")
    refused(imagemint("recipes", "demo", "--set", "options.wdith=3"), "options.wdith")


def test_the_list_in_the_file_is_that_of_the_recipes_and_their_networks() -> None:
    """If this fails: python -m imagemint.catalogue."""
    assert read_facts() == recipe_facts([load_recipe(name) for name in recipe_names()])


def test_the_list_does_not_wait_for_torch() -> None:
    code = (
        "import sys; from imagemint.cli import app; app(['recipes'], standalone_mode=False);"
        "sys.exit('torch' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], capture_output=True).returncode == 0
