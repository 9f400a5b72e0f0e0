"""Small conditional networks for small data: a label embedding joined to z, a projection discriminator.

Nothing is computed at full size: G's last transposed convolution makes the image from maps of half its size, and D's
first strided one looks at the image (Radford et al. 2016, 4x4 kernels with stride 2). On a CPU that is what makes a
step cheap. D has no normalisation (gradient penalties and batch statistics do not mix), and reads the label as an
inner product with its features (Miyato & Koyama 2018, eq. 3).
"""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise
from typing import Literal

import torch
from pydantic import Field
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.utils.parametrizations import spectral_norm

from imagemint.models.layers import BlurredDoubling, DoublingConv, ImageConv, LeakyReLU
from imagemint.models.shapes import ImageShape
from imagemint.settings import Strict

_LEAK = 0.2
ABOUT = "small conditional networks for small data: label embedding in G, projection discriminator"


Upsampling = Literal["auto", "transposed", "resize", "blur"]


class Options(Strict):
    """The family's choices."""

    width: int = Field(
        32, ge=4, le=1024, description="channels at half size; doubled at every further halving, up to 8 times"
    )
    embedding: int = Field(32, ge=1, le=1024, description="size of the label embedding in G")
    features: int = Field(256, ge=1, le=8192, description="size of D's last layer, which the label is compared with")
    upsampling: Upsampling = Field(
        "transposed",
        description="how G doubles the sides; transposed: 4x4 transposed convolutions, which leave a checkerboard in "
        "photographs; resize: nearest neighbours, then 3x3 convolutions; blur: 3x3 transposed convolutions, then a "
        "blur (Karras et al. 2019); auto: resize for colour, transposed for gray",
    )
    spectral_norm: bool = Field(
        False, description="every layer of D is divided by its largest singular value (Miyato et al. 2018)"
    )
    start: Literal["torch", "he"] = Field(
        "torch",
        description="D's first weights; torch: PyTorch's own, with which D hardly tells one image from another; "
        "he: of a size that keeps what images differ by through all layers (He et al. 2015)",
    )


class Generator(nn.Module):
    """z float `[n, z_size]`, labels int64 `[n]` -> images `[n, c, h, w]` in [-1, 1]."""

    def __init__(self, options: Options, shape: ImageShape, classes: int, z_size: int) -> None:
        super().__init__()
        widths = _widths(options, shape)[::-1]
        scale = 2 ** len(widths)
        self.start = (widths[0], shape.height // scale, shape.width // scale)
        self.embed = nn.Embedding(classes, options.embedding)
        self.dense = nn.Linear(z_size + options.embedding, self.start[0] * self.start[1] * self.start[2])
        self.norm = nn.BatchNorm2d(widths[0])
        doubling = _DOUBLINGS[decided(options, shape.channels).upsampling]
        self.ups = nn.ModuleList(_Up(a, b, doubling) for a, b in pairwise(widths))
        self.last = doubling(widths[-1], shape.channels, True)

    def forward(self, z: Tensor, labels: Tensor) -> Tensor:
        x = self.dense(torch.cat([z, self.embed(labels)], 1)).unflatten(1, self.start)
        x = F.leaky_relu(self.norm(x), _LEAK)
        for up in self.ups:
            x = up(x)
        return self.last(x).float().tanh()


class _Up(nn.Module):
    """Twice the sides, then a look at the neighbours: `[n, wide, h, w]` -> `[n, narrow, 2h, 2w]`."""

    def __init__(self, wide: int, narrow: int, doubling: Callable[[int, int, bool], nn.Module]) -> None:
        super().__init__()
        self.up = doubling(wide, narrow, False)
        self.norm1 = nn.BatchNorm2d(narrow)
        self.conv = nn.Conv2d(narrow, narrow, 3, padding=1, bias=False)
        self.norm2 = nn.BatchNorm2d(narrow)

    def forward(self, x: Tensor) -> Tensor:
        x = F.leaky_relu(self.norm1(self.up(x)), _LEAK)
        return F.leaky_relu(self.norm2(self.conv(x)), _LEAK)


def _transposed(before: int, after: int, bias: bool) -> nn.Module:
    return ImageConv(before, after, 4, stride=2, padding=1, bias=bias)


def _resize(before: int, after: int, bias: bool) -> nn.Module:
    return DoublingConv(before, after, bias=bias)


def _blur(before: int, after: int, bias: bool) -> nn.Module:
    return BlurredDoubling(before, after, bias=bias)


# How G doubles the sides of its maps: `(channels before, channels after, bias) -> layer`.
_DOUBLINGS: dict[str, Callable[[int, int, bool], nn.Module]] = {
    "transposed": _transposed,
    "resize": _resize,
    "blur": _blur,
}


def decided(options: Options, channels: int) -> Options:
    """The options without `auto`, for images of so many channels."""
    if options.upsampling != "auto":
        return options
    return options.model_copy(update={"upsampling": "resize" if channels == 3 else "transposed"})


class Discriminator(nn.Module):
    """Images `[n, c, h, w]` in [-1, 1], labels int64 `[n]` -> logits `[n]`."""

    def __init__(self, options: Options, shape: ImageShape, classes: int) -> None:
        super().__init__()
        widths = _widths(options, shape)
        scale = 2 ** len(widths)
        steps = pairwise((shape.channels, *widths))
        self.downs = nn.ModuleList(nn.Conv2d(a, b, 4, stride=2, padding=1) for a, b in steps)
        self.leaky = LeakyReLU(_LEAK)
        self.dense = nn.Linear(widths[-1] * (shape.height // scale) * (shape.width // scale), options.features)
        self.score = nn.Linear(options.features, 1)
        self.project = nn.Embedding(classes, options.features)
        nn.init.normal_(self.project.weight, std=options.features**-0.5)
        for layer in (*self.downs, self.dense) if options.start == "he" else ():
            nn.init.kaiming_normal_(layer.weight, _LEAK)
            nn.init.zeros_(layer.bias)
        for layer in (*self.downs, self.dense, self.score, self.project) if options.spectral_norm else ():
            spectral_norm(layer)

    def features(self, images: Tensor, labels: Tensor) -> Tensor:
        """Float `[n, f]`: what the last layer and the label are compared with."""
        x = images.contiguous(memory_format=torch.channels_last)  # 10 % of a step on a CPU whose bf16 unit is fast
        for down in self.downs:
            x = self.leaky(down(x))
        return self.leaky(self.dense(x.flatten(1)))

    def forward(self, images: Tensor, labels: Tensor) -> Tensor:
        x = self.features(images, labels)
        return self.score(x).squeeze(1) + (self.project(labels) * x).sum(1)


def _widths(options: Options, shape: ImageShape) -> list[int]:
    """Channels after each halving."""
    return [options.width * min(2**k, 8) for k in range(shape.halvings())]


def build(options: Options, shape: ImageShape, classes: int, z_size: int) -> tuple[Generator, Discriminator]:
    """The pair of networks for one pack."""
    if not shape.halvings():
        shape.check_divisible(8, "small")  # 4x4 is the smallest start, one doubling the least
    return Generator(options, shape, classes, z_size), Discriminator(options, shape, classes)
