"""PCA as a generator (Rzayev & Weldegebriel): what the components of a class keep of its training images.

With many components these are copies by design, so it is a floor to compare with and no way to make new images; the
run holds the training images in all but name.
"""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor, nn

from imagemint.methods import linear
from imagemint.methods.linear import Axes, LinearRecipe, along
from imagemint.models import ImageShape
from imagemint.runfolder import PackFacts


class PcaRecipe(LinearRecipe):
    """What a person chooses about reconstructions."""

    model: Literal["pca"]


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
        """Float z `[n, z_size]`, int64 labels `[n]` -> images float `[n, c, h, w]` in [-1, 1]."""
        counts = self.ends.diff(prepend=self.ends.new_zeros(1))[labels]
        ordinals = ((z[:, 0] + 1) / 2 * counts).long().clamp(min=0).minimum(counts - 1)
        codes = self.codes[self.ends[labels] - counts + ordinals]
        return along(self.axes, codes, labels, self.mean).clamp(-1, 1).view(-1, *self.shape)


def unfitted(recipe: PcaRecipe, pack: PackFacts) -> Reconstructions:
    """The generator before it has seen an image: what a checkpoint is loaded into."""
    return Reconstructions(linear.image_shape(pack), len(pack.classes), recipe.components, pack.images)


METHOD = linear.method(
    "pca",
    "reconstructs training images from the principal components of their class",
    PcaRecipe,
    linear.Linear(unfitted, z_size=lambda recipe, pack: 1, noise="uniform"),
)
