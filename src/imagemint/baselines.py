"""PCA and probabilistic PCA, class by class, as generators: the floor that a GAN must beat.

Both keep the mean of a class and the directions in which its images vary most. `pca` mints *reconstructions of
training images*: what the components keep of them. With many components these are copies by design, so it is a floor
to compare with and no way to make new images; the run holds the training images in all but name. `ppca` samples new
images from the normal distribution that fits the class best (Tipping & Bishop 1999, Probabilistic principal
component analysis, J. R. Statist. Soc. B 61(3), 611-622).

A baseline is fitted, not trained: in closed form, in double precision, one class in memory at a time.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor, nn

from imagemint.config import Baseline
from imagemint.data.pack import Pack
from imagemint.errors import PackError
from imagemint.images import to_images
from imagemint.models.shapes import ImageShape
from imagemint.progress import progress, say


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


class Reconstructions(nn.Module):
    """`pca`: z `[n, 1]` in [-1, 1] and labels int64 `[n]` -> images `[n, c, h, w]` in [-1, 1].

    z picks one of the class's training images, each with the same chance; out comes its reconstruction.
    """

    mean: Tensor  # [classes, d]
    axes: Tensor  # [classes, components, d]; zeros beyond the components that a class has
    codes: Tensor  # [images, components], class by class
    ends: Tensor  # int64 [classes]: where the codes of a class end

    def __init__(self, shape: ImageShape, classes: int, components: int, images: int) -> None:
        super().__init__()
        self.shape = shape
        values = shape.channels * shape.height * shape.width
        self.register_buffer("mean", torch.zeros(classes, values))
        self.register_buffer("axes", torch.zeros(classes, components, values))
        self.register_buffer("codes", torch.zeros(images, components))
        self.register_buffer("ends", torch.zeros(classes, dtype=torch.int64))

    def learn(self, label: int, found: Axes) -> None:
        """Take in one class; classes come in order of their label."""
        first, kept = int(self.ends[label - 1]) if label else 0, len(found.axes)
        self.mean[label] = found.mean
        self.axes[label, :kept] = found.axes
        self.codes[first : first + len(found.codes), :kept] = found.codes
        self.ends[label] = first + len(found.codes)

    def forward(self, z: Tensor, labels: Tensor) -> Tensor:
        """Shapes as above."""
        counts = self.ends.diff(prepend=self.ends.new_zeros(1))[labels]
        ordinals = ((z[:, 0] + 1) / 2 * counts).long().clamp(min=0).minimum(counts - 1)
        codes = self.codes[self.ends[labels] - counts + ordinals]
        return _along(self.axes, codes, labels, self.mean).clamp(-1, 1).view(-1, *self.shape)


class Samples(nn.Module):
    """`ppca`: z `[n, components (+ c x h x w)]` ~ N(0, 1), labels int64 `[n]` -> images `[n, c, h, w]` in [-1, 1].

    An image is W x + mean, with x the first numbers of z, W^T = (L - sigma^2 I)^(1/2) U^T, L the largest eigenvalues
    and U their eigenvectors (Tipping & Bishop 1999, eq. 7 with R = I). With `pixel_noise` each value also gets
    N(0, sigma^2) from the rest of z, as the model says. What lies outside [-1, 1] is cut.
    """

    mean: Tensor  # [classes, d]
    axes: Tensor  # W^T: [classes, components, d]; zeros beyond the components that a class has
    deviation: Tensor  # sigma: [classes]

    def __init__(self, shape: ImageShape, classes: int, components: int, pixel_noise: bool) -> None:
        super().__init__()
        self.shape, self.pixel_noise = shape, pixel_noise
        values = shape.channels * shape.height * shape.width
        self.register_buffer("mean", torch.zeros(classes, values))
        self.register_buffer("axes", torch.zeros(classes, components, values))
        self.register_buffer("deviation", torch.zeros(classes))

    def learn(self, label: int, found: Axes) -> None:
        """Take in one class."""
        kept = len(found.axes)
        self.mean[label] = found.mean
        # What is kept varies at least as much as the mean of the rest; the clamp is for rounding.
        lengths = (found.variances[:kept] - found.left_over).clamp(min=0).sqrt()
        self.axes[label, :kept] = lengths[:, None] * found.axes
        self.deviation[label] = found.left_over**0.5

    def forward(self, z: Tensor, labels: Tensor) -> Tensor:
        """Shapes as above."""
        components = self.axes.shape[1]
        made = _along(self.axes, z[:, :components], labels, self.mean)
        if self.pixel_noise:
            made = made + z[:, components:] * self.deviation[labels, None]
        return made.clamp(-1, 1).view(-1, *self.shape)


def _along(axes: Tensor, codes: Tensor, labels: Tensor, mean: Tensor) -> Tensor:
    """Mean plus codes `[n, q]` along the axes of each one's class: `[n, d]`."""
    made = mean[labels]
    for label in set(labels.tolist()):  # class by class: the axes of every image at once are n x q x d numbers
        rows = labels == label
        made[rows] += codes[rows] @ axes[label]
    return made


def unfitted(recipe: Baseline, shape: ImageShape, classes: int, images: int) -> Reconstructions | Samples:
    """The generator of a recipe before it has seen an image: what a checkpoint is loaded into."""
    if recipe.model == "pca":
        return Reconstructions(shape, classes, recipe.components, images)
    return Samples(shape, classes, recipe.components, recipe.pixel_noise)


def members(pack: Pack) -> list[np.ndarray]:
    """Indices of the images of each class. Raises PackError where a class has none: nothing can be said of it."""
    labels = np.asarray(pack.labels)
    found = [np.flatnonzero(labels == label) for label in range(len(pack.classes))]
    empty = next((name for name, rows in zip(pack.classes, found, strict=True) if not len(rows)), None)
    if empty is not None:
        remedy = "leave it out with imagemint edit drop"
        raise PackError(f"class {empty!r} of {pack.path} has no image", "at least one image of every class", remedy)
    return found


def fit(pack: Pack, by_class: Sequence[np.ndarray], recipe: Baseline) -> tuple[nn.Module, dict[str, Any]]:
    """The fitted generator, and by class name the components it has and the share of the variance that they explain.

    `by_class` is what `members` found. A class of n images has n - 1 components at most, whatever the recipe says.
    """
    images = sum(map(len, by_class))
    generator = unfitted(recipe, ImageShape(pack.channels, *pack.size), len(by_class), images)
    components, explained = {}, {}
    with progress(images, "fit") as advance:
        for label, (name, rows) in enumerate(zip(pack.classes, by_class, strict=True)):
            found = principal_axes(pack.pixels[rows], recipe.components)
            generator.learn(label, found)
            components[name], explained[name] = len(found.axes), round(found.explained, 6)
            advance(len(rows))
    cut = {name: count for name, count in components.items() if count < recipe.components}
    if cut:
        counts = ", ".join(f"{name} {count}" for name, count in cut.items())
        say(f"a class of n images has n - 1 components, not {recipe.components}: {counts}")
    return generator, {"components": components, "explained": explained}
