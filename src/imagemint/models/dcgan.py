"""DCGAN: Baker 2018, the unconditional network for colour photographs (after Radford et al. 2016).

For 64x64x3 images the discriminator has 4,316,545 parameters and the generator 5,135,363, as in tables 5.3 and 5.4.
There is no table for 128x128; we read "the same network", so that the four halvings stay and only the smallest map
grows with the image: side / 16, from 4x4x512 to 8x8x512.
"""

from __future__ import annotations

from itertools import pairwise

from torch import Tensor, nn

from imagemint.models.layers import before_last
from imagemint.models.shapes import ImageShape
from imagemint.settings import Strict

_LEAK = 0.2
_WIDTHS = (64, 128, 256, 512)  # channels after each halving
ABOUT = "Baker 2018: the unconditional network for colour photographs (after Radford et al. 2016)"


class Options(Strict):
    """No choices: tables 5.3 and 5.4 fix everything."""


class Generator(nn.Module):
    """z float `[n, z_size]` -> images `[n, c, h, w]` in [-1, 1]; labels are ignored."""

    def __init__(self, shape: ImageShape, z_size: int) -> None:
        super().__init__()
        wide, *narrower = _WIDTHS[::-1]
        h, w = shape.height // 16, shape.width // 16
        layers: list[nn.Module] = [nn.Linear(z_size, wide * h * w), nn.Unflatten(1, (wide, h, w))]
        layers += [_norm(wide), nn.ReLU()]
        for before, after in pairwise((wide, *narrower)):
            layers += [_doubling(before, after), _norm(after), nn.ReLU()]
        self.layers = nn.Sequential(*layers, _doubling(narrower[-1], shape.channels))
        _initialise(self)

    def forward(self, z: Tensor, labels: Tensor) -> Tensor:
        return self.layers(z).float().tanh()


class Discriminator(nn.Module):
    """Images `[n, c, h, w]` in [-1, 1] -> logits `[n]`; labels are ignored."""

    def __init__(self, shape: ImageShape) -> None:
        super().__init__()
        layers: list[nn.Module] = [_halving(shape.channels, _WIDTHS[0]), nn.LeakyReLU(_LEAK)]
        for before, after in pairwise(_WIDTHS):
            layers += [_halving(before, after), _norm(after), nn.LeakyReLU(_LEAK)]
        size = _WIDTHS[-1] * (shape.height // 16) * (shape.width // 16)
        self.layers = nn.Sequential(*layers, nn.Flatten(), nn.Linear(size, 1))
        _initialise(self)

    def features(self, images: Tensor, labels: Tensor) -> Tensor:
        """Float `[n, f]`: what the last layer makes logits from."""
        return before_last(self.layers, images)

    def forward(self, images: Tensor, labels: Tensor) -> Tensor:
        return self.layers[-1](self.features(images, labels)).squeeze(1)


def _halving(before: int, after: int) -> nn.Conv2d:
    return nn.Conv2d(before, after, 5, stride=2, padding=2)


def _doubling(before: int, after: int) -> nn.ConvTranspose2d:
    return nn.ConvTranspose2d(before, after, 5, stride=2, padding=2, output_padding=1)


def _norm(channels: int) -> nn.BatchNorm2d:
    return nn.BatchNorm2d(channels, eps=1e-5, momentum=0.1)


def _initialise(module: nn.Module) -> None:
    """Convolutions truncated normal(0, 0.02) cut at two deviations, dense layers normal(0, 0.02), biases 0."""
    for layer in module.modules():
        if isinstance(layer, (nn.Conv2d, nn.ConvTranspose2d)):
            nn.init.trunc_normal_(layer.weight, std=0.02, a=-0.04, b=0.04)
        elif isinstance(layer, nn.Linear):
            nn.init.normal_(layer.weight, std=0.02)
        else:
            continue
        assert layer.bias is not None
        nn.init.zeros_(layer.bias)


def build(options: Options, shape: ImageShape, classes: int, z_size: int) -> tuple[Generator, Discriminator]:
    """The pair of networks for one pack."""
    shape.check_divisible(16, "dcgan")
    return Generator(shape, z_size), Discriminator(shape)
