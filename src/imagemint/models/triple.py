"""Triple-GAN: Li et al. 2017, a generator, a discriminator of pairs of image and label, and a classifier.

D and the classifier share no parameter and stand side by side in one module, because they are updated together: the
loss (`losses.triple_d`) sends to each only its own gradient. What the paper is about are these losses. Its networks
differ with the data set; ours are those of family `small`, and a classifier of strided convolutions.
"""

from __future__ import annotations

from itertools import pairwise

import torch
from pydantic import Field
from torch import Tensor, nn

from imagemint.models import small
from imagemint.models.layers import LeakyReLU
from imagemint.models.shapes import ImageShape
from imagemint.settings import Strict

_LEAK = 0.2
ABOUT = "Li et al. 2017: a generator, a discriminator of images with their labels, and a classifier"


class Options(Strict):
    """The family's choices."""

    width: int = Field(32, ge=4, le=1024, description="channels at half size, in all three networks")
    dropout: float = Field(0.5, ge=0, lt=1, description="in the classifier, before its output")


class Classifier(nn.Module):
    """Images `[n, c, h, w]` in [-1, 1] -> logits `[n, classes]`."""

    def __init__(self, options: Options, shape: ImageShape, classes: int) -> None:
        super().__init__()
        halvings = shape.halvings()
        widths = [shape.channels, *(options.width * min(2**k, 8) for k in range(halvings))]
        layers: list[nn.Module] = []
        for before, after in pairwise(widths):
            layers += [nn.Conv2d(before, after, 4, stride=2, padding=1), LeakyReLU(_LEAK)]
            layers += [nn.Conv2d(after, after, 3, padding=1), LeakyReLU(_LEAK)]
        size = widths[-1] * (shape.height >> halvings) * (shape.width >> halvings)
        self.layers = nn.Sequential(*layers, nn.Flatten(), nn.Dropout(options.dropout), nn.Linear(size, classes))

    def forward(self, images: Tensor) -> Tensor:
        logits: Tensor = self.layers(images)
        return logits


class Discriminator(nn.Module):
    """Images `[n, c, h, w]` in [-1, 1] and labels int64 `[n]` -> D's logits of these pairs `[n]`.

    A label of -1 stands for the class that the classifier sees.
    """

    def __init__(self, options: Options, shape: ImageShape, classes: int) -> None:
        super().__init__()
        self.pairs = small.Discriminator(_small(options), shape, classes)
        self.classifier = Classifier(options, shape, classes)

    def joint(self, images: Tensor, labels: Tensor) -> Tensor:
        """Float `[n, 2 x classes]`: D's logit of the image with every label, then the classifier's logits.

        The labels given play no part.
        """
        x = self.pairs.features(images, labels)
        with_each = self.pairs.score(x) + x @ self.pairs.project.weight.t().to(x.dtype)
        return torch.cat([with_each, self.classifier(images)], 1)

    def forward(self, images: Tensor, labels: Tensor) -> Tensor:
        if bool((labels < 0).any()):
            labels = torch.where(labels < 0, self.classifier(images).argmax(1), labels)
        logits: Tensor = self.pairs(images, labels)
        return logits


def _small(options: Options) -> small.Options:
    return small.Options.model_validate({"width": options.width})


def build(options: Options, shape: ImageShape, classes: int, z_size: int) -> tuple[small.Generator, Discriminator]:
    """The generator, and the other two as one module, for one pack."""
    generator, _ = small.build(_small(options), shape, classes, z_size)
    return generator, Discriminator(options, shape, classes)
