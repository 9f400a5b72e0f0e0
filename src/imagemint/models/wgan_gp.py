"""WGAN-GP: Élő 2021, nearly all of its generator in one dense layer, then narrower and narrower convolutions.

For 128x128x3 images and z of 1,536 numbers the generator has 2,417,796 trainable parameters (2,421,054 with the
statistics of its batch normalisation) and the discriminator 2,448,097, as in tables 7.1 and 7.2.

Other sizes: 96 channels on the smallest map that halving reaches, 4x4 where the sides are powers of two, then half as
many channels after each doubling but never below 3, and the last layer has the image's channels. At 128 pixels these
are its 48, 24, 12, 6 and 3. D's four strided convolutions fit every size. The thesis does not state the initial
weights and the constants of batch normalisation; we take Keras' Glorot uniform and biases 0, and torch's constants.
"""

from __future__ import annotations

from itertools import pairwise

from pydantic import Field
from torch import Tensor, nn

from imagemint.models.layers import LeakyReLU, before_last, glorot
from imagemint.models.shapes import ImageShape
from imagemint.settings import Strict

_LEAK = 0.2
_START = 96  # channels of G's smallest map
_WIDTHS = (48, 96, 192, 384)  # channels of D after each halving
ABOUT = "Élő 2021: WGAN-GP, one large dense layer in G, then narrower and narrower convolutions"


class Options(Strict):
    """The family's choices."""

    dropout: float = Field(0.3, ge=0, lt=1, description="in D, after the third convolution and before the output")


class Generator(nn.Module):
    """z float `[n, z_size]` -> images `[n, c, h, w]` in [-1, 1]; labels are ignored. No layer has biases."""

    def __init__(self, shape: ImageShape, z_size: int) -> None:
        super().__init__()
        doublings = shape.halvings()
        if not doublings:
            shape.check_divisible(8, "wgan-gp")  # 4x4 is the smallest start, one doubling the least
        h, w = shape.height >> doublings, shape.width >> doublings
        widths = [max(3, _START >> k) for k in range(doublings)] + [shape.channels]
        start = _START * h * w
        layers: list[nn.Module] = [nn.Linear(z_size, start, bias=False), nn.BatchNorm1d(start)]
        layers.append(nn.Unflatten(1, (_START, h, w)))
        for before, after in pairwise(widths):
            layers += [nn.LeakyReLU(_LEAK), nn.Upsample(scale_factor=2)]
            layers += [nn.Conv2d(before, after, 3, padding=1, bias=False), nn.BatchNorm2d(after)]
        self.layers = nn.Sequential(*layers)
        glorot(self)

    def forward(self, z: Tensor, labels: Tensor) -> Tensor:
        return self.layers(z).float().tanh()


class Discriminator(nn.Module):
    """Images `[n, c, h, w]` in [-1, 1] -> logits `[n]`, unbounded scores here; labels are ignored.

    Nothing in it looks across the images of a batch, so that the gradient penalty is each image's own.
    """

    def __init__(self, options: Options, shape: ImageShape) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        h, w = shape.height, shape.width
        for k, (before, after) in enumerate(pairwise((shape.channels, *_WIDTHS))):
            layers += [nn.Conv2d(before, after, 5, stride=2, padding=2), LeakyReLU(_LEAK)]
            layers += [nn.Dropout(options.dropout)] if k == 2 else []
            h, w = -(-h // 2), -(-w // 2)
        layers += [nn.Flatten(), nn.Dropout(options.dropout), nn.Linear(_WIDTHS[-1] * h * w, 1)]
        self.layers = nn.Sequential(*layers)
        glorot(self)

    def features(self, images: Tensor, labels: Tensor) -> Tensor:
        """Float `[n, f]`: what the last layer makes logits from."""
        return before_last(self.layers, images)

    def forward(self, images: Tensor, labels: Tensor) -> Tensor:
        return self.layers[-1](self.features(images, labels)).squeeze(1)


def build(options: Options, shape: ImageShape, classes: int, z_size: int) -> tuple[Generator, Discriminator]:
    """The pair of networks for one pack."""
    return Generator(shape, z_size), Discriminator(options, shape)
