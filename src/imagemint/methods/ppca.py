"""Probabilistic PCA: new images from the normal distribution that fits each class best; the floor for a GAN.

Tipping & Bishop 1999, Probabilistic principal component analysis, J. R. Statist. Soc. B 61(3), 611-622.
"""

from __future__ import annotations

from typing import Literal

import torch
from pydantic import Field
from torch import Tensor, nn

from imagemint.methods import linear
from imagemint.methods.linear import Axes, LinearRecipe, along
from imagemint.models import ImageShape
from imagemint.runfolder import PackFacts


class PpcaRecipe(LinearRecipe):
    """What a person chooses about samples."""

    model: Literal["ppca"]
    pixel_noise: bool = Field(
        False, description="samples hold the variance that the components do not explain, as noise of each pixel"
    )


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
        """Float z `[n, z_size]`, int64 labels `[n]` -> images float `[n, c, h, w]` in [-1, 1]."""
        components = self.axes.shape[1]
        made = along(self.axes, z[:, :components], labels, self.mean)
        if self.pixel_noise:
            made = made + z[:, components:] * self.deviation[labels, None]
        return made.clamp(-1, 1).view(-1, *self.shape)


def unfitted(recipe: PpcaRecipe, pack: PackFacts) -> Samples:
    """The generator before it has seen an image: what a checkpoint is loaded into."""
    return Samples(linear.image_shape(pack), len(pack.classes), recipe.components, recipe.pixel_noise)


def _z_size(recipe: PpcaRecipe, pack: PackFacts) -> int:
    h, w = pack.size
    return recipe.components + (pack.channels * h * w if recipe.pixel_noise else 0)


METHOD = linear.method(
    "ppca",
    "samples the normal distribution that fits each class best",
    PpcaRecipe,
    linear.Linear(unfitted, z_size=_z_size, noise="normal"),
)
