"""Networks for learning from few labels and many images without: D names classes, G only helps it.

    dense       D of Salimans et al. 2016 for MNIST: no convolutions, noise in every layer
    conv        D of convolutions that halve the sides, for images of any size and colour

G has two hidden layers of 500 units in both, as in the code of Salimans et al. 2016: it is there for D's sake.

D has one logit per class; that of *generated* is 0 for every image (Salimans et al. 2016, section 5: a softmax over
k + 1 logits does not change when the same number is taken from all of them, so that the last one can be fixed). It is
joined to the others as a last column, so that losses see k + 1. Neither network looks at labels.
"""

from __future__ import annotations

from itertools import pairwise
from typing import Literal

import torch
from pydantic import Field
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.utils.parametrizations import weight_norm

from imagemint.models.dense import Units
from imagemint.models.shapes import ImageShape
from imagemint.settings import Strict

ABOUT = "semi-supervised: a discriminator with a logit per class, dense with noise or convolutional"
_LEAK = 0.2
_HIDDEN_G = 500  # units of both of its hidden layers
_SMALLEST = 4  # pixels: sides are halved while both stay at least as long


class Options(Strict):
    """The family's choices."""

    kind: Literal["dense", "conv"] = Field("conv", description="dense: Salimans et al. 2016; conv: convolutions")
    outputs: Literal["k"] = Field("k", description="one logit per class; that of *generated* is fixed at 0")
    hidden: Units = Field((1000, 500, 250, 250, 250), min_length=1, description="dense: units of D's hidden layers")
    width: int = Field(
        32,
        ge=4,
        le=512,
        description="conv: channels of D at half size, doubled at every further halving, up to 8 times",
    )
    noise: tuple[float, float] = Field(
        (0.0, 0.0),
        description="standard deviation of normal noise on D's input and on its hidden layers, in training",
    )
    weight_norm: bool = Field(
        False, description="dense layers of D have weight normalisation (Salimans & Kingma 2016)"
    )


class Noise(nn.Module):
    """Normal noise on every value in training; nothing otherwise."""

    def __init__(self, deviation: float) -> None:
        super().__init__()
        self.deviation = deviation

    def forward(self, x: Tensor) -> Tensor:
        return x + self.deviation * torch.randn_like(x) if self.training and self.deviation else x

    def extra_repr(self) -> str:
        """For printing a model."""
        return str(self.deviation)


class Generator(nn.Module):
    """z float `[n, z_size]` -> images `[n, c, h, w]` in [-1, 1]; labels are ignored."""

    def __init__(self, shape: ImageShape, z_size: int) -> None:
        super().__init__()
        self.shape = tuple(shape)
        layers: list[nn.Module] = []
        for before, after in pairwise((z_size, _HIDDEN_G, _HIDDEN_G)):
            layers += [nn.Linear(before, after, bias=False), nn.BatchNorm1d(after), nn.Softplus()]
        self.layers = nn.Sequential(*layers, nn.Linear(_HIDDEN_G, shape.channels * shape.height * shape.width))

    def forward(self, z: Tensor, labels: Tensor) -> Tensor:
        return self.layers(z).float().tanh().unflatten(1, self.shape)


class Discriminator(nn.Module):
    """Images `[n, c, h, w]` in [-1, 1] -> logits `[n, classes + 1]`, of which the last is 0; labels are ignored."""

    def __init__(self, options: Options, shape: ImageShape, classes: int) -> None:
        super().__init__()
        layers, units = (_dense if options.kind == "dense" else _conv)(options, shape)
        self.layers = nn.Sequential(*layers)
        self.last = _linear(options, units, classes)

    def features(self, images: Tensor, labels: Tensor) -> Tensor:
        """Float `[n, f]`: what the last layer makes logits from."""
        return self.layers(images)

    def forward(self, images: Tensor, labels: Tensor) -> Tensor:
        return F.pad(self.last(self.features(images, labels)), (0, 1))


def _dense(options: Options, shape: ImageShape) -> tuple[list[nn.Module], int]:
    first, others = options.noise
    layers: list[nn.Module] = [nn.Flatten(), Noise(first)]
    for before, after in pairwise((shape.channels * shape.height * shape.width, *options.hidden)):
        layers += [_linear(options, before, after), nn.ReLU(), Noise(others)]
    return layers, options.hidden[-1]


def _conv(options: Options, shape: ImageShape) -> tuple[list[nn.Module], int]:
    """4x4 convolutions halve the sides while they stay long enough; one 3x3 convolution, and a dense layer.

    Nothing is computed at full size: pooling took half of a step in bf16.
    """
    first, others = options.noise
    layers: list[nn.Module] = [Noise(first)]
    before, (h, w), width = shape.channels, (shape.height, shape.width), options.width
    while min(h, w) // 2 >= _SMALLEST:
        layers += [nn.Conv2d(before, width, 4, 2, padding=1), nn.LeakyReLU(_LEAK), Noise(others)]
        before, (h, w), width = width, (h // 2, w // 2), min(2 * width, 8 * options.width)
    last = width if before == shape.channels else before
    layers += [nn.Conv2d(before, last, 3, padding=1), nn.LeakyReLU(_LEAK), Noise(others), nn.Flatten()]
    return [*layers, _linear(options, last * h * w, 2 * last), nn.LeakyReLU(_LEAK), Noise(others)], 2 * last


def _linear(options: Options, before: int, after: int) -> nn.Module:
    layer = nn.Linear(before, after)
    return weight_norm(layer) if options.weight_norm else layer


def build(options: Options, shape: ImageShape, classes: int, z_size: int) -> tuple[nn.Module, nn.Module]:
    """The pair of networks for one pack; every size fits."""
    return Generator(shape, z_size), Discriminator(options, shape, classes)
