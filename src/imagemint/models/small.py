"""Small conditional networks for small data: a label embedding joined to z, a projection discriminator.

The shape follows common practice at low resolution: nearest-neighbour upsampling and 3x3 convolutions in G,
strided convolutions without normalisation in D (gradient penalties and batch statistics do not mix), and the label
as an inner product with D's features (Miyato & Koyama 2018, eq. 3).
"""

from __future__ import annotations

from itertools import pairwise

import torch
from pydantic import BaseModel, ConfigDict, Field
from torch import Tensor, nn
from torch.nn import functional as F

from imagemint.models.shapes import ImageShape

_LEAK = 0.2


class Options(BaseModel):
    """The family's choices."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    width: int = Field(
        32, ge=4, le=1024, description="channels at full size; doubled at every halving, up to 8 times"
    )
    embedding: int = Field(32, ge=1, le=1024, description="size of the label embedding in G")


class Generator(nn.Module):
    """z float `[n, z_size]`, labels int64 `[n]` -> images `[n, c, h, w]` in [-1, 1]."""

    def __init__(self, options: Options, shape: ImageShape, classes: int, z_size: int) -> None:
        super().__init__()
        widths = _widths(options, shape)[::-1]
        scale = 2 ** (len(widths) - 1)
        self.start = (widths[0], shape.height // scale, shape.width // scale)
        self.embed = nn.Embedding(classes, options.embedding)
        self.dense = nn.Linear(z_size + options.embedding, self.start[0] * self.start[1] * self.start[2])
        self.norm = nn.BatchNorm2d(widths[0])
        self.blocks = nn.ModuleList(_Up(a, b) for a, b in pairwise(widths))
        self.last = nn.Conv2d(widths[-1], shape.channels, 3, padding=1)

    def forward(self, z: Tensor, labels: Tensor) -> Tensor:
        """Shapes and ranges as above."""
        x = self.dense(torch.cat([z, self.embed(labels)], 1)).unflatten(1, self.start)
        x = F.leaky_relu(self.norm(x), _LEAK)
        for block in self.blocks:
            x = block(x)
        return self.last(x).float().tanh()


class _Up(nn.Module):
    def __init__(self, wide: int, narrow: int) -> None:
        super().__init__()
        self.conv1, self.norm1 = nn.Conv2d(wide, narrow, 3, padding=1, bias=False), nn.BatchNorm2d(narrow)
        self.conv2, self.norm2 = nn.Conv2d(narrow, narrow, 3, padding=1, bias=False), nn.BatchNorm2d(narrow)

    def forward(self, x: Tensor) -> Tensor:
        x = F.interpolate(x, scale_factor=2.0, mode="nearest")
        x = F.leaky_relu(self.norm1(self.conv1(x)), _LEAK)
        return F.leaky_relu(self.norm2(self.conv2(x)), _LEAK)


class Discriminator(nn.Module):
    """Images `[n, c, h, w]` in [-1, 1], labels int64 `[n]` -> logits `[n]`."""

    def __init__(self, options: Options, shape: ImageShape, classes: int) -> None:
        super().__init__()
        widths = _widths(options, shape)
        scale = 2 ** (len(widths) - 1)
        self.first = nn.Conv2d(shape.channels, widths[0], 3, padding=1)
        self.downs = nn.ModuleList(nn.Conv2d(a, b, 4, stride=2, padding=1) for a, b in pairwise(widths))
        features = 8 * options.width
        self.dense = nn.Linear(widths[-1] * (shape.height // scale) * (shape.width // scale), features)
        self.score = nn.Linear(features, 1)
        self.project = nn.Embedding(classes, features)
        nn.init.normal_(self.project.weight, std=features**-0.5)

    def forward(self, images: Tensor, labels: Tensor) -> Tensor:
        """Shapes and ranges as above."""
        x = F.leaky_relu(self.first(images), _LEAK)
        for down in self.downs:
            x = F.leaky_relu(down(x), _LEAK)
        x = F.leaky_relu(self.dense(x.flatten(1)), _LEAK)
        return self.score(x).squeeze(1) + (self.project(labels) * x).sum(1)


def _widths(options: Options, shape: ImageShape) -> list[int]:
    """Channels from full size downwards."""
    return [options.width * min(2**k, 8) for k in range(shape.halvings() + 1)]


def build(options: Options, shape: ImageShape, classes: int, z_size: int) -> tuple[Generator, Discriminator]:
    """The pair of networks for one pack."""
    if not shape.halvings():
        shape.check_divisible(8, "small")  # 4x4 is the smallest start, one doubling the least
    return Generator(options, shape, classes, z_size), Discriminator(options, shape, classes)
