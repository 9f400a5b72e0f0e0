"""DCGAN(F, D) and CCGAN: Rzayev & Weldegebriel, upsampling with plain convolutions, for 28x28 digits.

Figure 1 gives the order of the layers and two totals, about 7 million parameters in G and about 310,000 in D. We
chose round widths that meet them at F = D = 1: dense 1024, a map of 128 channels and 5x5 convolutions in G
(6,960,001, 0.6 % below); 3x3 convolutions of 128 and 256 channels in D (309,761, 0.1 % below). F multiplies the
channels of both networks, D counts the convolutions of 256 x F channels. D's first convolution halves the sides by
its stride; then pooling does, of the maximum because it is said to keep the features of the largest magnitude. It
does not state the initial weights; we take Glorot uniform and biases 0. Tanh at the end, since images are
zero-centred.

In CCGAN the one-hot label is joined to z before G's first dense layer; in D it goes through a dense layer of h x w
units that becomes one more plane of the image. We start that layer from normal(0, 1), so that the plane is as strong
as an image: with Glorot's weights the label was not learned in 50,000 images, with these it shows at 15,000
(experiments/ccgan).
"""

from __future__ import annotations

import torch
from pydantic import Field
from torch import Tensor, nn
from torch.nn import functional as F

from imagemint.models.layers import DoublingConv, HalfBatchNorm, before_last, glorot
from imagemint.models.shapes import ImageShape
from imagemint.settings import Strict

_DENSE, _MAP = 1024, 128  # G; its convolution is as wide as its map
_FIRST, _REST = 128, 256  # D
ABOUT_DCGAN = "Rzayev & Weldegebriel: DCGAN(F, D), upsampling with plain convolutions, for 28x28 digits"
ABOUT_CCGAN = "Rzayev & Weldegebriel: CCGAN, DCGAN(F, D) with the label in both networks"


class Options(Strict):
    """The choices of both families."""

    width: int = Field(1, ge=1, le=3, description="F: multiplies the channels of both networks")
    depth: int = Field(1, ge=1, le=3, description="D: convolutions of the discriminator after its first")
    virtual_batch_norm: bool = Field(
        False, description="the first half of a batch gives the statistics that normalise all of it"
    )


class Generator(nn.Module):
    """z float `[n, z_size]`, labels int64 `[n]` -> images `[n, c, h, w]` in [-1, 1]; classes = 0: labels ignored."""

    def __init__(self, options: Options, shape: ImageShape, classes: int, z_size: int) -> None:
        super().__init__()
        self.classes = classes
        h, w = shape.height // 4, shape.width // 4
        channels = _MAP * options.width
        self.layers = nn.Sequential(
            nn.Linear(z_size + classes, _DENSE),
            *(_norm(options, nn.BatchNorm1d(_DENSE)), nn.ReLU()),
            nn.Linear(_DENSE, channels * h * w),
            *(_norm(options, nn.BatchNorm1d(channels * h * w)), nn.ReLU()),
            nn.Unflatten(1, (channels, h, w)),
            DoublingConv(channels, channels, 5),
            *(_norm(options, nn.BatchNorm2d(channels)), nn.ReLU()),
            DoublingConv(channels, shape.channels, 5),
        )
        glorot(self)

    def forward(self, z: Tensor, labels: Tensor) -> Tensor:
        if self.classes:
            z = torch.cat([z, F.one_hot(labels, self.classes).to(z.dtype)], 1)
        return self.layers(z).float().tanh()


class Discriminator(nn.Module):
    """Images `[n, c, h, w]` in [-1, 1], labels int64 `[n]` -> logits `[n]`; classes = 0: labels ignored."""

    def __init__(self, options: Options, shape: ImageShape, classes: int) -> None:
        super().__init__()
        self.classes = classes
        self.plane = nn.Linear(classes, shape.height * shape.width) if classes else nn.Identity()
        first, rest = _FIRST * options.width, _REST * options.width
        layers: list[nn.Module] = [nn.Conv2d(shape.channels + bool(classes), first, 3, stride=2, padding=1)]
        layers += [_norm(options, nn.BatchNorm2d(first))]
        for before in (first, *[rest] * (options.depth - 1)):
            layers += [nn.ELU(), nn.Conv2d(before, rest, 3, padding=1), _norm(options, nn.BatchNorm2d(rest))]
        layers += [nn.MaxPool2d(2), nn.ELU()]  # ELU rises everywhere: it may as well come after the maximum
        size = rest * (shape.height // 4) * (shape.width // 4)
        self.layers = nn.Sequential(*layers, nn.Flatten(), nn.Linear(size, 1))
        glorot(self)
        if isinstance(self.plane, nn.Linear):  # with Glorot's weights it is twenty times fainter than an image
            nn.init.normal_(self.plane.weight)

    def features(self, images: Tensor, labels: Tensor) -> Tensor:
        """Float `[n, f]`: what the last layer makes logits from."""
        if self.classes:
            plane = self.plane(F.one_hot(labels, self.classes).to(images.dtype))
            images = torch.cat([images, plane.to(images.dtype).view(-1, 1, *images.shape[2:])], 1)
        return before_last(self.layers, images.contiguous(memory_format=torch.channels_last))

    def forward(self, images: Tensor, labels: Tensor) -> Tensor:
        return self.layers[-1](self.features(images, labels)).squeeze(1)


def _norm(options: Options, plain: nn.BatchNorm1d | nn.BatchNorm2d) -> nn.Module:
    return HalfBatchNorm(plain.num_features) if options.virtual_batch_norm else plain


def build_dcgan(options: Options, shape: ImageShape, classes: int, z_size: int) -> tuple[Generator, Discriminator]:
    """DCGAN(F, D): the pair of networks for one pack, without labels."""
    shape.check_divisible(4, "dcgan-fd")
    return Generator(options, shape, 0, z_size), Discriminator(options, shape, 0)


def build_ccgan(options: Options, shape: ImageShape, classes: int, z_size: int) -> tuple[Generator, Discriminator]:
    """CCGAN: the same with labels."""
    shape.check_divisible(4, "ccgan")
    return Generator(options, shape, classes, z_size), Discriminator(options, shape, classes)
