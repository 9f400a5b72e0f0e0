"""BEGAN: Berthelot et al. 2017, a discriminator that is an autoencoder and judges an image by how well it redraws it.

D's logit of an image v is -|v - D(v)|, the mean over its pixels of eq. 1 with eta = 1, negated: higher is more real,
as everywhere in this package. The loss that goes with it (`losses.began_d`) keeps both sides in balance.

The layers are those of section 3.5 and figure 1: 3x3 convolutions in pairs with ELU, nearest neighbours to double the
sides, strides to halve them, filters that grow linearly with each halving in the encoder and stay `width` in decoder
and generator, which are built alike and share no weights. Maps start from 8x8 where the sides are powers of two.
Where the paper is silent we read:

    output      tanh in G, so that its images stay in [-1, 1]; D redraws without a bound
    weights     Glorot uniform, biases 0; its "vanishing residuals" and skip connections, both optional, are left out
"""

from __future__ import annotations

import torch
from pydantic import Field
from torch import Tensor, nn

from imagemint.models.layers import DoublingConv, glorot
from imagemint.models.shapes import ImageShape
from imagemint.settings import Strict

_START = 7  # least side of the smallest map: 8 for powers of two, 7 for 28 pixels
ABOUT = "Berthelot et al. 2017: D is an autoencoder, and judges by how well it redraws an image"


class Options(Strict):
    """The family's choices."""

    width: int = Field(64, ge=1, le=1024, description="n: filters of the first layers; theirs 64 and 128")
    hidden: int = Field(64, ge=1, le=4096, description="N_h: numbers between D's encoder and its decoder")


class Generator(nn.Module):
    """z float `[n, z_size]` -> images `[n, c, h, w]` in [-1, 1]; labels are ignored."""

    def __init__(self, options: Options, shape: ImageShape, z_size: int) -> None:
        super().__init__()
        self.layers = _decoder(options, shape, z_size)
        glorot(self)

    def forward(self, z: Tensor, labels: Tensor) -> Tensor:
        return self.layers(z).float().tanh()


class Discriminator(nn.Module):
    """Images `[n, c, h, w]` in [-1, 1] -> logits `[n]`, which are 0 or below; labels are ignored."""

    def __init__(self, options: Options, shape: ImageShape) -> None:
        super().__init__()
        self.encoder, self.decoder = _encoder(options, shape), _decoder(options, shape, options.hidden)
        glorot(self)

    def redraw(self, images: Tensor) -> Tensor:
        """Images `[n, c, h, w]` through the encoder and the decoder: the same shape, without a bound."""
        redrawn: Tensor = self.decoder(self.encoder(images)).float()
        return redrawn

    def forward(self, images: Tensor, labels: Tensor) -> Tensor:
        return -torch.abs(images.float() - self.redraw(images)).flatten(1).mean(1)


def _decoder(options: Options, shape: ImageShape, numbers: int) -> nn.Sequential:
    """Float `[n, numbers]` -> `[n, c, h, w]`."""
    n, doublings = options.width, shape.halvings(_START)
    h, w = shape.height >> doublings, shape.width >> doublings
    layers: list[nn.Module] = [nn.Linear(numbers, n * h * w), nn.Unflatten(1, (n, h, w))]
    layers += [*_conv(n, n), *_conv(n, n)]
    for _ in range(doublings):
        layers += [DoublingConv(n, n), nn.ELU(), *_conv(n, n)]
    return nn.Sequential(*layers, nn.Conv2d(n, shape.channels, 3, padding=1))


def _encoder(options: Options, shape: ImageShape) -> nn.Sequential:
    """Images `[n, c, h, w]` -> float `[n, hidden]`."""
    n, halvings = options.width, shape.halvings(_START)
    layers = [*_conv(shape.channels, n), *_conv(n, n), *_conv(n, n)]
    for k in range(1, halvings + 1):
        layers += [*_conv(k * n, (k + 1) * n, stride=2), *_conv((k + 1) * n, (k + 1) * n)]
        layers += _conv((k + 1) * n, (k + 1) * n)
    size = (1 + halvings) * n * (shape.height >> halvings) * (shape.width >> halvings)
    return nn.Sequential(*layers, nn.Flatten(), nn.Linear(size, options.hidden))


def _conv(before: int, after: int, stride: int = 1) -> list[nn.Module]:
    return [nn.Conv2d(before, after, 3, stride, padding=1), nn.ELU()]


def build(options: Options, shape: ImageShape, classes: int, z_size: int) -> tuple[Generator, Discriminator]:
    """The pair of networks for one pack."""
    shape.check_divisible(4, "began")
    return Generator(options, shape, z_size), Discriminator(options, shape)
