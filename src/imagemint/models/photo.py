"""Networks for photographs of 32 to 128 pixels: skip-layer excitation in G, a residual D that looks at two scales.

After FastGAN (Liu et al. 2021), made smaller and conditional. In G the 4x4 start of an image opens and closes the
channels of its larger maps (skip-layer excitation, their sec. 3.1), so that what an image shows as a whole reaches
its details by a short way. Maps grow by nearest neighbours and a 3x3 convolution, which leaves no checkerboard. D
halves the maps by a strided convolution beside a pooled one (their sec. 3.2), and a second, thinner D does the same
with the image at half size; the label is compared with the features of both (Miyato & Koyama 2018, eq. 3).
"""

from __future__ import annotations

from itertools import pairwise

import torch
from pydantic import Field
from torch import Tensor, nn
from torch.nn import functional as F

from imagemint.models.layers import DoublingConv, LeakyReLU
from imagemint.models.shapes import ImageShape
from imagemint.settings import Strict

_LEAK = 0.2
_START = 4  # side of the map that opens and closes the channels of the larger ones
ABOUT = "for photographs: skip-layer excitation in G (Liu et al. 2021), a residual projection D at two scales"


class Options(Strict):
    """The family's choices."""

    width: int = Field(
        32, ge=4, le=1024, description="channels at half size; doubled at every further halving, up to 8 times"
    )
    embedding: int = Field(64, ge=1, le=1024, description="size of the label embedding in G")
    features: int = Field(256, ge=1, le=8192, description="size of the last layer of D at full size")
    scales: int = Field(2, ge=1, le=2, description="sizes that D looks at: 1 the image, 2 the image at half size too")


class Generator(nn.Module):
    """z float `[n, z_size]`, labels int64 `[n]` -> images `[n, c, h, w]` in [-1, 1]."""

    def __init__(self, options: Options, shape: ImageShape, classes: int, z_size: int) -> None:
        super().__init__()
        widths = _widths(options.width, shape.halvings())[::-1]
        scale = 2 ** len(widths)
        self.start = (widths[0], shape.height // scale, shape.width // scale)
        self.embed = nn.Embedding(classes, options.embedding)
        self.dense = nn.Linear(z_size + options.embedding, self.start[0] * self.start[1] * self.start[2])
        self.norm = nn.BatchNorm2d(widths[0])
        self.ups = nn.ModuleList(_Up(a, b, widths[0] if k > 0 else None) for k, (a, b) in enumerate(pairwise(widths)))
        self.last = DoublingConv(widths[-1], shape.channels, bias=True)

    def forward(self, z: Tensor, labels: Tensor) -> Tensor:
        x = self.dense(torch.cat([z, self.embed(labels)], 1)).unflatten(1, self.start)
        start = x = F.leaky_relu(self.norm(x), _LEAK)
        for up in self.ups:
            x = up(x, start)
        return self.last(x).float().tanh()


class _Up(nn.Module):
    """Twice the sides, a look at the neighbours, then channels opened and closed by the start of the image.

    `[n, wide, h, w]`, start `[n, first, h0, w0]` -> `[n, narrow, 2h, 2w]`; `first` None: without the start.
    """

    def __init__(self, wide: int, narrow: int, first: int | None) -> None:
        super().__init__()
        self.up = DoublingConv(wide, narrow, bias=False)
        self.norm1 = nn.BatchNorm2d(narrow)
        self.conv = nn.Conv2d(narrow, narrow, 3, padding=1, bias=False)
        self.norm2 = nn.BatchNorm2d(narrow)
        self.gate = (
            None
            if first is None
            else nn.Sequential(
                nn.AdaptiveAvgPool2d(_START),
                nn.Conv2d(first, narrow, _START),
                nn.LeakyReLU(_LEAK),
                nn.Conv2d(narrow, narrow, 1),
            )
        )

    def forward(self, x: Tensor, start: Tensor) -> Tensor:
        x = F.leaky_relu(self.norm1(self.up(x)), _LEAK)
        x = F.leaky_relu(self.norm2(self.conv(x)), _LEAK)
        return x if self.gate is None else x * (2 * self.gate(start).sigmoid())  # 2: open by one half is no change


class _Down(nn.Module):
    """Half the sides: a strided convolution, beside a pooled and a 1x1 one, added up.

    Liu et al. have a 3x3 convolution after the strided one; it takes as long as the rest of D together.
    """

    def __init__(self, narrow: int, wide: int) -> None:
        super().__init__()
        self.leaky = LeakyReLU(_LEAK)
        self.down = nn.Conv2d(narrow, wide, 4, stride=2, padding=1)
        self.short = nn.Conv2d(narrow, wide, 1)

    def forward(self, x: Tensor) -> Tensor:
        """`[n, narrow, h, w]` -> `[n, wide, h/2, w/2]`."""
        return (self.leaky(self.down(x)) + self.leaky(self.short(F.avg_pool2d(x, 2)))) * 2**-0.5


class _Eye(nn.Module):
    """Images `[n, c, h, w]` at one scale -> features `[n, features]`."""

    def __init__(self, width: int, features: int, shape: ImageShape) -> None:
        super().__init__()
        halvings = shape.halvings()
        widths, scale = _widths(width, halvings), 2**halvings
        self.leaky = LeakyReLU(_LEAK)
        self.first = nn.Conv2d(shape.channels, widths[0], 4, stride=2, padding=1)
        self.downs = nn.ModuleList(_Down(a, b) for a, b in pairwise(widths))
        self.dense = nn.Linear(widths[-1] * (shape.height // scale) * (shape.width // scale), features)

    def forward(self, images: Tensor) -> Tensor:
        x = self.leaky(self.first(images.contiguous(memory_format=torch.channels_last)))
        for down in self.downs:
            x = down(x)
        return self.leaky(self.dense(x.flatten(1)))


class Discriminator(nn.Module):
    """Images `[n, c, h, w]` in [-1, 1], labels int64 `[n]` -> logits `[n]`: the sum over the scales."""

    def __init__(self, options: Options, shape: ImageShape, classes: int) -> None:
        super().__init__()
        sizes = [options.features, options.features // 2][: options.scales]
        half = ImageShape(shape.channels, shape.height // 2, shape.width // 2)
        eyes = [_Eye(options.width, sizes[0], shape)]
        eyes += [_Eye(max(options.width // 2, 1), size, half) for size in sizes[1:]]
        self.eyes = nn.ModuleList(eyes)
        self.score = nn.Linear(sum(sizes), 1)
        self.project = nn.Embedding(classes, sum(sizes))
        nn.init.normal_(self.project.weight, std=sum(sizes) ** -0.5)

    def features(self, images: Tensor, labels: Tensor) -> Tensor:
        """Float `[n, f]`: what the last layer and the label are compared with."""
        seen = [images, F.avg_pool2d(images, 2)] if len(self.eyes) > 1 else [images]
        return torch.cat([eye(each) for eye, each in zip(self.eyes, seen, strict=True)], 1)

    def forward(self, images: Tensor, labels: Tensor) -> Tensor:
        x = self.features(images, labels)
        return self.score(x).squeeze(1) + (self.project(labels) * x).sum(1)


def _widths(width: int, halvings: int) -> list[int]:
    """Channels after each halving."""
    return [width * min(2**k, 8) for k in range(halvings)]


def build(options: Options, shape: ImageShape, classes: int, z_size: int) -> tuple[Generator, Discriminator]:
    """The pair of networks for one pack. Raises RecipeError unless both sides can be halved twice."""
    if shape.halvings() < 2:
        shape.check_divisible(16, "photo")
    return Generator(options, shape, classes, z_size), Discriminator(options, shape, classes)
