"""A loss, a penalty, an optimiser, a model and a method are each one function or class and one row of a table.

Each is added here from outside the package and used in a tiny training; and PCA goes with its own files.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pytest
import torch
from torch import Tensor, nn

import imagemint
from imagemint import checkpoints, files
from imagemint.catalogue import parts
from imagemint.classifiers.network import Network
from imagemint.classifiers.training import CLASSIFIERS, Kind
from imagemint.config import Recipe, load_recipe
from imagemint.data.pack import Pack, writing
from imagemint.errors import RecipeError
from imagemint.fitting import train
from imagemint.losses import LOSSES, PENALTIES, AdversarialLoss, Penalty
from imagemint.methods import METHODS, Asked, Method
from imagemint.methods.base import members, settled
from imagemint.metrics.comparison import Comparison, Weights
from imagemint.metrics.measures import METRICS, Metric, measure
from imagemint.minter import Minter
from imagemint.minting import mint
from imagemint.models import MODELS, Family, ImageShape
from imagemint.recipe import AnyRecipe
from imagemint.runfolder import Run, RunFacts
from imagemint.runs import open_run
from imagemint.samples import draw_samples
from imagemint.seeds import Noise
from imagemint.settings import Strict
from imagemint.studies.arms import ARMS, Arm, Sources, TrainingSet
from imagemint.studies.study import study
from imagemint.training.optimisers import OPTIMIZERS, Optimizer
from imagemint.training.optimisers import Row as OptimizerRow
from imagemint.training.ranks import Ranks

SHORT = {"images": 64, "watch_every": 32, "checkpoint_every": 32}


def goes_on(pack: Pack, recipe: AnyRecipe, folder: Path) -> Run:
    """Trained in one go and in two: the same weights."""
    straight = train(pack, recipe, folder / "straight")
    train(pack, recipe, folder / "halves", images=32)
    resumed = train(pack, recipe, folder / "halves", images=64, resume=True)
    assert resumed.checkpoint_hash == straight.checkpoint_hash
    return straight


def test_a_loss(digits: Pack, tiny: Recipe, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def exponential_d(real: Tensor, fake: Tensor) -> Tensor:
        return torch.exp(-real.clamp(-5, 5)) + torch.exp(fake.clamp(-5, 5))

    def exponential_g(real: Tensor, fake: Tensor) -> Tensor:
        return torch.exp(-fake.clamp(-5, 5))

    with pytest.raises(RecipeError, match="loss = exponential"):
        load_recipe(tiny, {"loss": "exponential"})
    monkeypatch.setitem(LOSSES, "exponential", AdversarialLoss(exponential_d, exponential_g, source="this test"))
    run = goes_on(digits, load_recipe(tiny, {**SHORT, "loss": "exponential"}), tmp_path)
    assert run.log()[0]["loss_d"] > 0
    with pytest.raises(RecipeError, match="label_smoothing goes with"):
        load_recipe(tiny, {"loss": "exponential", "label_smoothing": 0.1})
    assert any(part.key == "loss" and part.names == ("exponential",) for part in parts())


def test_a_penalty(digits: Pack, tiny: Recipe, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def small_logits(d: Callable[[Tensor], Tensor], real: Tensor, fake: Tensor, share: Tensor) -> Tensor:
        return d(real).square().mean()

    monkeypatch.setitem(PENALTIES, "small-logits", Penalty(small_logits, source="Karras et al. 2018, drift"))
    penalty = {"name": "small-logits", "weight": 0.1}
    assert goes_on(digits, load_recipe(tiny, {**SHORT, "penalty": penalty}), tmp_path).log()[0]["penalty"] > 0


def test_an_optimiser(digits: Pack, tiny: Recipe, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def adagrad(parameters: list[nn.Parameter], choice: Optimizer) -> torch.optim.Optimizer:
        return torch.optim.Adagrad(parameters, lr=choice.lr)

    row = OptimizerRow(adagrad, frozenset({"step", "sum"}), "Duchi et al. 2011")
    monkeypatch.setitem(OPTIMIZERS, "adagrad", row)
    goes_on(digits, load_recipe(tiny, {**SHORT, "optimizer_g.name": "adagrad"}), tmp_path)


class Options(Strict):
    width: int = 4


class Painter(nn.Module):
    def __init__(self, shape: ImageShape, classes: int, z_size: int, width: int) -> None:
        super().__init__()
        self.shape = shape
        self.label = nn.Embedding(classes, width)
        self.layers = nn.Linear(z_size + width, shape.channels * shape.height * shape.width)

    def forward(self, z: Tensor, labels: Tensor) -> Tensor:
        return self.layers(torch.cat([z, self.label(labels)], 1)).tanh().view(-1, *self.shape)


class Critic(nn.Module):
    def __init__(self, shape: ImageShape) -> None:
        super().__init__()
        self.last = nn.Linear(shape.channels * shape.height * shape.width, 1)

    def forward(self, images: Tensor, labels: Tensor) -> Tensor:
        return self.last(images.flatten(1)).squeeze(1)


def painters(options: Options, shape: ImageShape, classes: int, z_size: int) -> tuple[nn.Module, nn.Module]:
    return Painter(shape, classes, z_size, options.width), Critic(shape)


def test_a_model(digits: Pack, tiny: Recipe, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(MODELS, "painter", Family(Options, painters, conditional=True, about="this test"))
    changes: dict[str, Any] = {**SHORT, "model": "painter", "options": {"width": 3}}
    run = goes_on(digits, load_recipe(tiny, changes), tmp_path)
    assert mint(run, tmp_path / "minted", per_class=2).counts() == dict.fromkeys("0123456789", 2)
    with pytest.raises(RecipeError, match=r"options\.depth"):
        load_recipe(tiny, {**changes, "options": {"depth": 3}})
    with pytest.raises(RecipeError, match="a model with one discriminator that gives its features"):
        train(digits, load_recipe(tiny, {**changes, "loss_g": "feature-matching"}), tmp_path / "run")


class MeanRecipe(AnyRecipe):
    model: Literal["mean"]
    spread: int = 10


class MeanMinter:
    """The mean image of each class, lighter or darker."""

    z_size = 1
    noise: Noise = "uniform"

    def __init__(self, means: np.ndarray, spread: int) -> None:
        self.means, self.spread = means, spread

    def draw(self, image_seeds: Any, labels: np.ndarray) -> np.ndarray:
        shift = np.array([seed % (2 * self.spread + 1) - self.spread for seed in image_seeds])
        made: np.ndarray = (self.means[labels] + shift[:, None, None, None]).clip(0, 255).astype(np.uint8)
        return made


def settle(pack: Pack, recipe: MeanRecipe, asked: Asked) -> RunFacts:
    images = sum(map(len, members(pack)))
    return settled(RunFacts, pack, recipe, images, asked, device="cpu", precision="fp64")


def prepare(pack: Pack, facts: RunFacts, ranks: Ranks, begins: bool) -> Callable[[Run], None]:
    def fill(run: Run) -> None:
        means = np.stack([pack.pixels[rows].mean(0) for rows in members(pack)])
        assert isinstance(run.recipe, MeanRecipe)
        draw_samples(MeanMinter(means, run.recipe.spread), run, run.target)
        with files.whole_folder(run.path / "checkpoints" / f"{run.target:012d}") as folder:
            tensors = {"means": torch.from_numpy(means)}
            weights = checkpoints.write_tensors(folder / "weights.safetensors", tensors)
            checkpoints.write_state(folder, checkpoints.State(images_seen=run.target, weights=weights))

    return fill


def load(run: Run, checkpoint: Path, device: str) -> Minter:
    weights = checkpoints.read_tensors(checkpoint, "weights", run.state(checkpoint).weights)
    assert isinstance(run.recipe, MeanRecipe)
    return MeanMinter(weights["means"].numpy(), run.recipe.spread)


def test_a_method(digits: Pack, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    row = Method(("mean",), "this test", MeanRecipe, settle, prepare, load, sees_labels=lambda facts: True)
    monkeypatch.setitem(METHODS, "mean", row)
    (tmp_path / "mean.yaml").write_text("name: mean\nabout: class means\nsource: this test\nmodel: mean\nspread: 3\n")
    run = train(digits, tmp_path / "mean.yaml", tmp_path / "run")
    assert open_run(run.path).recipe == load_recipe(tmp_path / "mean.yaml")
    pack = mint(run, tmp_path / "minted", per_class=3)
    mean = digits.pixels[np.flatnonzero(np.asarray(digits.labels) == 4)].mean(0)
    fours = pack.pixels[np.flatnonzero(np.asarray(pack.labels) == 4)]
    assert np.abs(fours - mean).max() <= 4
    assert any(part.key == "spread" for part in parts())


SOURCE = Path(imagemint.__file__).parent


@pytest.mark.parametrize("name", ["pca", "ppca", "joined", "per_class"])
def test_a_method_is_removed_with_its_file_and_its_row(name: str) -> None:
    """Nothing but the table imports it, and nothing but its own files and recipes names its type of recipe."""
    importing = re.compile(
        rf"^\s*(from|import) imagemint\.methods\.{name}\b|^\s*from imagemint\.methods import .*\b{name}\b", re.M
    )
    found = [
        file.relative_to(SOURCE).as_posix()
        for file in SOURCE.rglob("*.py")
        if importing.search(file.read_text(encoding="utf-8")) and file.name != f"{name}.py"
    ]
    assert found == ["methods/__init__.py"]


def test_no_code_asks_which_recipe_it_has() -> None:
    """What differs between methods stands in the methods; outside, at most the recipe of a GAN is asked for."""
    asking = re.compile(r"isinstance\([\w.]*recipe, (?!Recipe\)|dict\)|str\))")
    found = {
        file.relative_to(SOURCE).parts[0]
        for file in SOURCE.rglob("*.py")
        if asking.search(file.read_text(encoding="utf-8"))
    }
    assert found <= {"methods"}


def test_a_metric(digits: Pack, monkeypatch: pytest.MonkeyPatch) -> None:
    """A row of METRICS is measured, and carries its direction, floor and interval, like those that ship."""

    def farthest(compared: Comparison, weights: Weights) -> np.ndarray:
        centre = compared.real.features.mean(0)
        return np.full(len(weights.sample), np.abs(compared.sample.features - centre).max())

    row = Metric(farthest, "lower", "farthest feature", bounds=(0, np.inf))
    monkeypatch.setitem(METRICS, "farthest", row)
    values = measure(digits, digits, features="pixels").model_dump(mode="json")["values"]
    assert values["farthest"]["direction"] == "lower"
    assert values["farthest"]["low"] <= values["farthest"]["value"] <= values["farthest"]["high"]
    assert values["farthest"]["floor"] > 0


class Mean(Network):
    """Dense layer on the mean of each channel: a classifier of four lines."""

    def __init__(self, channels: int, size: tuple[int, int], classes: int) -> None:
        super().__init__(size)
        self.out = nn.Linear(channels, classes)

    def maps(self, images: Tensor) -> Tensor:
        return images.mean((2, 3))


def dark_and_light(folder: Path, name: str, count: int) -> Pack:
    """Two classes that differ in nothing but their light."""
    random = np.random.default_rng(count)
    labels = np.arange(count) % 2
    pixels = random.integers(0, 60, (count, 1, 8, 8)) + 190 * labels[:, None, None, None]
    with writing(folder / name, classes=["dark", "light"], origin="real", history=[]) as writer:
        writer.add(pixels.astype(np.uint8), labels)
    return writer.pack()


def test_a_classifier_and_an_arm(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Both are rows that a study uses by name: the classifier learns the light, the arm turns the labels round."""

    def turned(sources: Sources) -> TrainingSet:
        pixels, labels = sources.real
        return TrainingSet(pixels, 1 - labels, n_real=len(labels), n_added=0)

    monkeypatch.setitem(CLASSIFIERS, "mean", Kind(Mean, "mean of the channels", 0.1))
    arm = Arm(about="real images under the other name", images=turned, learns_from=("real",), against=("real",))
    monkeypatch.setitem(ARMS, "turned", arm)
    made = study(
        dark_and_light(tmp_path, "train", 40),
        dark_and_light(tmp_path, "test", 60),
        None,
        tmp_path / "study",
        budgets=["10"],
        repeats=2,
        arms=["real", "turned"],
        classifier="mean",
        classifier_images=2000,
        classifier_epochs=1,
    )
    assert {row.arm: row.accuracy for row in made.rows} == {"real": 1.0, "turned": 0.0}
    assert [each.word for each in made.verdicts["10"]] == ["hurts"]
