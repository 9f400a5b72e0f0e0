"""Every recipe that comes with the package: it has its source's numbers, trains, stops, goes on and mints."""

from __future__ import annotations

import os
import signal
from itertools import count
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest

from imagemint import seeds
from imagemint.catalogue import layer_tables, networks, shown_shape
from imagemint.config import Recipe, load_recipe, recipe_names
from imagemint.data.pack import Pack
from imagemint.errors import PackError
from imagemint.fitting import train
from imagemint.methods.flow import FlowRecipe
from imagemint.methods.joined import JOINED
from imagemint.minting import mint
from imagemint.models import MODELS, ImageShape
from imagemint.runs import open_run
from imagemint.training import loop
from tests.digits import write
from tests.recipes import gan_recipe
from tests.training.test_exact import contents

# Trainable parameters of generator and discriminator where the source prints or implies them.
PRINTED = {
    "cdcgan": (7_065_211, 3_769_479),
    "dcgan-64": (5_135_363, 4_316_545),
    "wgan-gp": (2_417_796, 2_448_097),
    "wgan-clip": (2_417_796, 2_448_097),
    "mitlgan": (18_461_982, 2_448_097),
    "dense-minimal": (101 * 30 + 31 * 784, 785 * 30 + 31),  # the classifier's 784-30-1 as D, 100-30-784 as G
    "dcgan-fd": (pytest.approx(7_000_000, rel=0.03), pytest.approx(310_000, rel=0.03)),
}


class Tiny(NamedTuple):
    """A family at a size that trains in a moment."""

    shape: ImageShape
    overrides: dict[str, Any]


TINY = {
    "cdcgan": Tiny(ImageShape(1, 8, 8), {}),
    "small": Tiny(ImageShape(1, 8, 8), {"options": {"width": 4, "embedding": 4}, "smallest": 8}),
    "dcgan": Tiny(ImageShape(3, 16, 16), {"smallest": 16}),
    "dense": Tiny(ImageShape(1, 8, 8), {}),
    "conv": Tiny(ImageShape(1, 8, 8), {}),
    "dcgan-fd": Tiny(ImageShape(1, 8, 8), {}),
    "ccgan": Tiny(ImageShape(1, 8, 8), {}),
    "per-class": Tiny(ImageShape(1, 8, 8), {"weights": "last"}),  # test_choice has the best ones, and their judge
    "semi": Tiny(ImageShape(1, 8, 8), {"options": {"outputs": "k", "width": 4}}),
    "triple": Tiny(ImageShape(1, 8, 8), {"options": {"width": 4}}),
    "began": Tiny(
        ImageShape(1, 16, 16),
        {"options": {"width": 4, "hidden": 5}, "balance": {"gamma": 1.0, "gain": 1.0}, "log_every": 1},
    ),
    "wgan-gp": Tiny(ImageShape(3, 16, 16), {"z_size": 16}),
}
GANS = [name for name in recipe_names() if isinstance(load_recipe(name), Recipe)]  # test_baselines has the others
BATCH, ITERATIONS, STOPPED_AFTER = 4, 3, 2


@pytest.mark.parametrize(("name", "printed"), PRINTED.items())
def test_networks_have_the_documents_parameter_counts(name: str, printed: tuple[object, object]) -> None:
    found = networks(load_recipe(name))
    assert (found["generator"].trainable, found["discriminator"].trainable) == printed


def test_wgan_gp_counts_the_statistics_of_its_normalisation_too() -> None:
    assert networks(load_recipe("wgan-gp"))["generator"].total == 2_421_054
    assert networks(load_recipe("mitlgan"))["generator"].total == 23_304_090  # two such parents and what joins them


@pytest.mark.parametrize("name", GANS)
def test_every_recipe_builds_at_the_images_it_is_shown_at_and_its_layers_add_up(name: str) -> None:
    recipe = load_recipe(name)
    found = networks(recipe)
    tables = layer_tables(shown_shape(recipe), found)
    assert found.keys() == tables.keys()
    for which, network in found.items():
        assert network.trainable > 0
        assert sum(layer.trainable for layer in tables[which]) == network.trainable
        assert sum(layer.total for layer in tables[which]) == network.total
        assert len({layer.name for layer in tables[which]}) == len(tables[which])


def tiny(name: str) -> Tiny:
    """The row of TINY for a recipe, with the settings that make any training short."""
    model = gan_recipe(name).model
    if model not in TINY:
        pytest.fail(
            f"recipe {name}: say in TINY (tests/test_recipes.py) at which image shape and with which settings model "
            f"{model} trains {ITERATIONS} iterations in about a second; its stop, resume and minting are tested then"
        )
    every = {"log_every": 5, "picture_every": 3 * BATCH, "checkpoint_every": 10**9, "keep": 1}
    images = gan_recipe(name).batch(3) // gan_recipe(name).batch_size * BATCH * ITERATIONS * gan_recipe(name).d_steps
    shape, overrides = TINY[model]
    return Tiny(shape, {**every, "images": images, "batch_size": BATCH, "precision": "fp32", **overrides})


def noise_pack(dest: Path, shape: ImageShape) -> Pack:
    """Ten images of each of three classes, random pixels: nothing to learn, all to compute."""
    pixels = seeds.rng(0, "noise pack").integers(0, 256, (30, *shape), np.uint8)
    return write(dest, pixels, np.arange(30) % 3, ["a", "b", "c"])


@pytest.mark.parametrize("name", [name for name in recipe_names() if load_recipe(name).model != JOINED])
def test_every_recipe_takes_one_image_of_one_class(name: str, tmp_path: Path) -> None:
    """Batches are larger than the pack then. Mitlgan needs parents: it takes what they take."""
    recipe = load_recipe(name)
    shape = ImageShape(1, 8, 8)
    if isinstance(recipe, Recipe):
        shape, overrides = tiny(name)
        recipe = load_recipe(name, overrides | {"images": BATCH * recipe.d_steps})
    elif isinstance(recipe, FlowRecipe):
        shape = ImageShape(1, 16, 16)
        recipe = load_recipe(name, {"images": BATCH, "batch_size": BATCH, "options.width": 8, "steps": 1})
    else:
        recipe = load_recipe(name, {"components": 4})
    pixels = seeds.rng(0, "one image").integers(0, 256, (1, *shape), np.uint8)
    run = train(write(tmp_path / "pack", pixels, np.zeros(1, np.int64), ["one"]), recipe, tmp_path / "run")
    assert run.images_seen == run.target
    assert mint(run, tmp_path / "minted", per_class=3).counts() == {"one": 3}


@pytest.mark.parametrize("name", [name for name in GANS if gan_recipe(name).weights == "best"])
def test_the_best_weights_want_four_images_of_every_class(name: str, tmp_path: Path) -> None:
    pack = noise_pack(tmp_path / "pack", tiny(name).shape)
    few = write(tmp_path / "few", pack.pixels[:9], pack.labels[:9], pack.classes)
    recipe = gan_recipe(name, tiny(name).overrides | {"weights": "best"})
    with pytest.raises(PackError, match=r"class 'a' of .* has 3 images; wanted 4 different .* --set weights=last"):
        train(few, recipe, tmp_path / "run")
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("name", [name for name in GANS if gan_recipe(name).model != JOINED])  # test_parents has it
def test_every_recipe_trains_stops_goes_on_and_mints(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Interrupted and resumed is bit-equal to never stopped, and what is minted is what was asked for."""
    shape, overrides = tiny(name)
    pack = noise_pack(tmp_path / "pack", shape)
    recipe = gan_recipe(name, overrides)
    straight = train(pack, recipe, tmp_path / "straight", seed=3, device="cpu")

    iterations, iterate = count(1), loop.iterate

    def interrupted(*args: Any) -> None:
        if next(iterations) == STOPPED_AFTER:
            os.kill(os.getpid(), signal.SIGINT)
        iterate(*args)

    monkeypatch.setattr(loop, "iterate", interrupted)
    with pytest.raises(KeyboardInterrupt):
        train(pack, recipe, tmp_path / "stopped", seed=3, device="cpu")
    monkeypatch.undo()
    stopped_at = open_run(tmp_path / "stopped").images_seen
    assert 0 < stopped_at < straight.images_seen
    resumed = train(pack, recipe, tmp_path / "stopped", seed=3, device="cpu", resume=True)
    assert contents(resumed.path) == contents(straight.path)

    if MODELS[recipe.model].conditional:
        minted = mint(resumed, tmp_path / "minted", per_class=2, device="cpu")
        assert np.bincount(minted.labels[:], minlength=3).tolist() == [2, 2, 2]
    else:
        minted = mint(resumed, tmp_path / "minted", unlabelled=5, device="cpu")
        assert (len(minted), minted.unlabelled()) == (5, 5)
    assert minted.pixels.shape[1:] == shape
    assert minted.classes == pack.classes
