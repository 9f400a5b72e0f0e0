"""What PCA and probabilistic PCA share: the principal axes of each class, and how they become a run.

Both keep the mean of a class and the directions in which its images vary most. They are fitted, not trained: in
closed form, in double precision, one class in memory at a time.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple, Protocol

import numpy as np
import torch
from pydantic import Field
from torch import Tensor, nn

from imagemint import files
from imagemint.checkpoints import State, load_weights, read_tensors, tensors_of, write_state, write_tensors
from imagemint.data.pack import Pack
from imagemint.devices import usable_device
from imagemint.errors import RecipeError
from imagemint.files import keep_lines
from imagemint.images import to_images
from imagemint.methods.base import Asked, Method, members, settled
from imagemint.minter import Minter, NetworkMinter
from imagemint.models import ImageShape
from imagemint.progress import progress, say
from imagemint.recipe import AnyRecipe
from imagemint.runfolder import PackFacts, Run, RunFacts
from imagemint.samples import draw_samples
from imagemint.seeds import Noise
from imagemint.training.ranks import Ranks


class LinearRecipe(AnyRecipe):
    """Everything that a person chooses about a fit."""

    components: int = Field(64, ge=1, le=65536, description="directions of each class; fewer where it has few images")
    smallest: int = Field(1, ge=1, description="shortest side in pixels of images that the recipe is meant for")

    def check_fits(self, channels: int, size: tuple[int, int]) -> None:
        """Raise RecipeError unless the images have the right size and at least as many values as components."""
        super().check_fits(channels, size)
        values = channels * size[0] * size[1]
        if self.components > values:
            raise RecipeError(
                f"{self.components} components for images of {values} values",
                f"1 to {values} components",
                f"say --set components={values}, or fewer",
            )


class Axes(NamedTuple):
    """The principal axes of n images of d values. q: components kept, at most n - 1. All float64."""

    mean: Tensor  # [d]
    axes: Tensor  # [q, d], of length 1, largest variance first
    codes: Tensor  # [n, q]: coordinates of the images along the axes
    variances: Tensor  # [min(n, d)]: eigenvalues of the covariance matrix (divided by n), largest first

    @property
    def explained(self) -> float:
        """Share of the variance along the axes that are kept, 0 to 1; 1 where images do not vary."""
        total = float(self.variances.sum())
        return float(self.variances[: len(self.axes)].sum()) / total if total > 0 else 1.0

    @property
    def left_over(self) -> float:
        """sigma^2, the mean variance of the directions that are not kept (Tipping & Bishop 1999, eq. 8)."""
        directions, kept = len(self.mean), len(self.axes)
        return float(self.variances[kept:].sum()) / (directions - kept) if kept < directions else 0.0


def principal_axes(pixels: np.ndarray, components: int) -> Axes:
    """The first principal axes of uint8 `[n, c, h, w]`, in the units of images ([-1, 1]); n - 1 at most."""
    centred = to_images(torch.from_numpy(pixels)).flatten(1).double()
    mean = centred.mean(0)
    u, lengths, axes = torch.linalg.svd(centred.sub_(mean), full_matrices=False)
    kept = min(components, len(pixels) - 1)
    axes, codes = axes[:kept], u[:, :kept] * lengths[:kept]
    # An axis is one up to its sign; chosen so that its largest value is positive, on every machine.
    signs = axes.gather(1, axes.abs().argmax(1, keepdim=True)).sign()
    return Axes(mean, axes * signs, codes * signs.T, lengths.square() / len(pixels))


def along(axes: Tensor, codes: Tensor, labels: Tensor, mean: Tensor) -> Tensor:
    """Mean plus codes `[n, q]` along the axes of each one's class: `[n, d]`."""
    made = mean[labels]
    for label in set(labels.tolist()):  # class by class: the axes of every image at once are n x q x d numbers
        rows = labels == label
        made[rows] += codes[rows] @ axes[label]
    return made


class Fitted(Protocol):
    """A generator that takes in the axes of one class after the other."""

    def learn(self, label: int, found: Axes) -> None:
        """Take in one class; classes come in order of their label."""


class Linear(NamedTuple):
    """In what one linear method differs from another."""

    unfitted: Callable[[Any, PackFacts], nn.Module]  # the generator before it has seen an image: a Fitted network
    z_size: Callable[[Any, PackFacts], int]  # random numbers that an image is made from
    noise: Noise


def method(model: str, about: str, recipe: type[LinearRecipe], linear: Linear) -> Method:
    """A method that fits the principal axes of each class."""

    def settle(pack: Pack, wanted: LinearRecipe, asked: Asked) -> RunFacts:
        wanted.check_fits(pack.channels, pack.size)
        if usable_device(asked.device) != "cpu" and asked.device:
            say(f"recipe {wanted.name} is fitted on the CPU, not on {asked.device}")
        images = sum(map(len, members(pack)))
        return settled(RunFacts, pack, wanted, images, asked, device="cpu", precision="fp64")

    def prepare(pack: Pack, facts: RunFacts, ranks: Ranks, begins: bool) -> Callable[[Run], None]:
        ranks.check_alone(f"recipe {facts.recipe.name}")
        return lambda run: _fit_into(pack, run, linear)

    def load(run: Run, checkpoint: Path, device: str) -> Minter:
        generator = linear.unfitted(run.recipe, run.facts.pack)
        weights = read_tensors(checkpoint, "weights", run.state(checkpoint).weights)
        load_weights(generator, "generator", weights, checkpoint)
        return _minter(generator.to(device), run.facts, linear, device)

    return Method((model,), about, recipe, settle, prepare, load, sees_labels=lambda facts: True)


def _minter(generator: nn.Module, facts: RunFacts, linear: Linear, device: str = "cpu") -> NetworkMinter:
    return NetworkMinter(generator, linear.z_size(facts.recipe, facts.pack), linear.noise, device)


def _fit_into(pack: Pack, run: Run, linear: Linear) -> None:
    """Fit into the run folder. The checkpoint comes last: a run that has none starts over, with equal result."""
    if run.checkpoints():
        return
    generator = linear.unfitted(run.recipe, run.facts.pack)
    assert isinstance(run.recipe, LinearRecipe)
    found = fit(pack, members(pack), generator, run.recipe.components)  # type: ignore[arg-type]
    keep_lines(run.path / "log.jsonl", [{"images_seen": run.target, **found}])
    draw_samples(_minter(generator, run.facts, linear), run, run.target)
    with files.whole_folder(run.path / "checkpoints" / f"{run.target:012d}") as folder:
        weights = write_tensors(folder / "weights.safetensors", tensors_of({"generator": generator}))
        write_state(folder, State(images_seen=run.target, weights=weights))


def fit(
    pack: Pack, by_class: Sequence[np.ndarray], generator: Fitted, components: int
) -> dict[str, dict[str, float]]:
    """Fit a generator to the images `by_class`, indices int64. Gives what each class has, by name.

    `components`: how many, n - 1 at most in a class of n images; `explained`: their share of the variance.
    """
    kept: dict[str, float] = {}
    explained: dict[str, float] = {}
    with progress(sum(map(len, by_class)), "fit") as advance:
        for label, (name, rows) in enumerate(zip(pack.classes, by_class, strict=True)):
            found = principal_axes(pack.pixels[rows], components)
            generator.learn(label, found)
            kept[name], explained[name] = len(found.axes), round(found.explained, 6)
            advance(len(rows))
    cut = {name: count for name, count in kept.items() if count < components}
    if cut:
        counts = ", ".join(f"{name} {count}" for name, count in cut.items())
        say(f"a class of n images has n - 1 components, not {components}: {counts}")
    return {"components": kept, "explained": explained}


def image_shape(pack: PackFacts) -> ImageShape:
    """The shape of the images of a pack."""
    return ImageShape(pack.channels, *pack.size)
