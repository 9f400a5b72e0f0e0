"""Dense networks: Winkler 2018, from the minimal GAN that collapses to the dense GAN that draws digits.

    minimal     one hidden sigmoid layer each, a digit classifier as D and its mirror as G
    relu        the same with relu or leaky relu 0.01
    dense       two hidden layers each, 256 units in D and 1024 in G (the defaults below)

Sections 4.7.1 and 4.7.3. Where they are silent, we read: the minimal net is Nielsen's 784-30-1 (Nielsen 2015); "two
dense layers" are two hidden layers, since the text sums up the change as *another* hidden layer with more nodes; relu
in the last net; weights Glorot uniform and biases 0, TensorFlow's default. A sigmoid net ends in a sigmoid, stretched
to [-1, 1]; the others in tanh.
"""

from __future__ import annotations

from itertools import pairwise
from typing import Annotated, Literal

from pydantic import Field
from torch import Tensor, nn

from imagemint.models.layers import glorot
from imagemint.models.shapes import ImageShape
from imagemint.settings import Strict

Units = tuple[Annotated[int, Field(ge=1, le=65536)], ...]
ABOUT = "Winkler 2018: dense networks, from a minimal one that collapses to one that draws digits"


class Options(Strict):
    """The family's choices."""

    hidden_g: Units = Field((1024, 1024), min_length=1, description="units of G's hidden layers")
    hidden_d: Units = Field((256, 256), min_length=1, description="units of D's hidden layers")
    activation: Literal["sigmoid", "relu", "leaky"] = Field("relu", description="of the hidden layers of both")
    leak: float = Field(0.01, ge=0, le=1, description="slope below zero of leaky")
    dropout: float = Field(0.0, ge=0, lt=1, description="share of every hidden layer that is dropped in training")
    batch_norm: bool = Field(False, description="batch normalisation before every hidden activation")


class Generator(nn.Module):
    """z float `[n, z_size]` -> images `[n, c, h, w]` in [-1, 1]; labels are ignored."""

    def __init__(self, options: Options, shape: ImageShape, z_size: int) -> None:
        super().__init__()
        size = shape.channels * shape.height * shape.width
        self.shape = tuple(shape)
        self.sigmoid = options.activation == "sigmoid"
        self.layers = nn.Sequential(*_hidden(options, (z_size, *options.hidden_g)))
        self.last = nn.Linear(options.hidden_g[-1], size)
        glorot(self)

    def forward(self, z: Tensor, labels: Tensor) -> Tensor:
        x = self.last(self.layers(z)).float().unflatten(1, self.shape)
        return 2 * x.sigmoid() - 1 if self.sigmoid else x.tanh()


class Discriminator(nn.Module):
    """Images `[n, c, h, w]` in [-1, 1] -> logits `[n]`; labels are ignored."""

    def __init__(self, options: Options, shape: ImageShape) -> None:
        super().__init__()
        size = shape.channels * shape.height * shape.width
        self.layers = nn.Sequential(nn.Flatten(), *_hidden(options, (size, *options.hidden_d)))
        self.last = nn.Linear(options.hidden_d[-1], 1)
        glorot(self)

    def features(self, images: Tensor, labels: Tensor) -> Tensor:
        """Float `[n, f]`: what the last layer makes logits from."""
        return self.layers(images)

    def forward(self, images: Tensor, labels: Tensor) -> Tensor:
        return self.last(self.features(images, labels)).squeeze(1)


def _hidden(options: Options, units: tuple[int, ...]) -> list[nn.Module]:
    """The hidden layers; `units` begins with the size of the input."""
    layers: list[nn.Module] = []
    for before, after in pairwise(units):
        layers.append(nn.Linear(before, after))
        if options.batch_norm:
            layers.append(nn.BatchNorm1d(after))
        layers.append(_activation(options))
        if options.dropout:
            layers.append(nn.Dropout(options.dropout))
    return layers


def _activation(options: Options) -> nn.Module:
    if options.activation == "leaky":
        return nn.LeakyReLU(options.leak)
    return nn.Sigmoid() if options.activation == "sigmoid" else nn.ReLU()


def build(options: Options, shape: ImageShape, classes: int, z_size: int) -> tuple[Generator, Discriminator]:
    """The pair of networks for one pack; every size fits."""
    return Generator(options, shape, z_size), Discriminator(options, shape)
