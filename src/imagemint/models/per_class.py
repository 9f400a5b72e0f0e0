"""One GAN per class: Sterzinger, Stippel & Zogaj 2020. The label selects the GAN, so the networks need no labels.

A bank holds a generator and a discriminator for every class; the members share nothing. In a `balanced` batch each
member sees `batch_size` images of its class, so they train side by side as if each were alone. The loss is a mean
over the whole batch, hence a member's gradient is 1/classes of what it would be alone: Adam and RMSProp divide by its
size and do not see that (up to their eps); SGD needs its learning rate times the number of classes.

Section 2.2 gives the layers but neither widths nor kernels. We read:

    size        G starts from a map of a quarter of the image's sides: its 16x16x128 at 64 pixels, 7x7x128 at 28 and
                8x8x128 at 32; two blocks double it
    widths      D 32, 64, 128, 256; G 64, 32 after its map of 128 channels (`width` 32 gives these)
    kernels     3x3, borders padded
    momentum    0.9 in Keras' sense, the share that stays: 0.1 in torch's
    weights     Glorot uniform and biases 0, the default of Keras' layers

At 28x28x1 a member has 726,209 parameters in G and 388,865 in D. Dropout in G is on in training and off in minting,
as in Keras.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Literal

import torch
from pydantic import Field
from torch import Tensor, nn

from imagemint.models.layers import DoublingConv, glorot
from imagemint.models.shapes import ImageShape
from imagemint.settings import Strict

_LEAK = 0.2
_MAP = 128  # channels of G's first map
ABOUT = "Sterzinger, Stippel & Zogaj 2020: one GAN for each class"


class Options(Strict):
    """The family's choices."""

    width: int = Field(32, ge=1, le=256, description="channels of D's first convolution and of G's last block")
    dropout: float = Field(0.4, ge=0, lt=1, description="after each convolution of D and in each block of G")
    output: Literal["tanh", "sigmoid"] = Field(
        "tanh", description="G's last activation; sigmoid, their first try, is stretched to [-1, 1]"
    )


class Bank(nn.Module):
    """As many networks as classes: row i of a batch goes through the member of its label.

    x `[n, ...]` and labels int64 `[n]` in 0..members-1, in any order -> what the members give, row by row.
    """

    def __init__(self, members: Iterable[nn.Module]) -> None:
        super().__init__()
        self.members = nn.ModuleList(members)

    def forward(self, x: Tensor, labels: Tensor) -> Tensor:
        """Members without a row are not called, so their statistics stay as they are."""
        order = labels.argsort(stable=True)
        counts = labels.bincount(minlength=len(self.members)).tolist()
        parts = torch.split(x[order], counts)
        made = [member(part) for member, part in zip(self.members, parts, strict=True) if len(part)]
        return torch.cat(made)[order.argsort()]


class Generator(nn.Module):
    """One member: z float `[n, z_size]` -> images `[n, c, h, w]` in [-1, 1]."""

    def __init__(self, options: Options, shape: ImageShape, z_size: int) -> None:
        super().__init__()
        h, w = shape.height // 4, shape.width // 4
        layers: list[nn.Module] = [nn.Linear(z_size, _MAP * h * w), nn.ReLU(), nn.Unflatten(1, (_MAP, h, w))]
        before = _MAP
        for channels in (2 * options.width, options.width):
            layers += [DoublingConv(before, channels)]
            layers += [nn.BatchNorm2d(channels, momentum=0.1), nn.Dropout(options.dropout), nn.ReLU()]
            before = channels
        self.layers = nn.Sequential(*layers, nn.Conv2d(before, shape.channels, 3, padding=1))
        self.sigmoid = options.output == "sigmoid"
        glorot(self)

    def forward(self, z: Tensor) -> Tensor:
        x: Tensor = self.layers(z).float()
        return 2 * x.sigmoid() - 1 if self.sigmoid else x.tanh()


class Discriminator(nn.Module):
    """One member: images `[n, c, h, w]` in [-1, 1] -> logits `[n]`."""

    def __init__(self, options: Options, shape: ImageShape) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        before, h, w = shape
        for channels in (options.width * factor for factor in (1, 2, 4, 8)):
            layers += [nn.Conv2d(before, channels, 3, stride=2, padding=1), nn.LeakyReLU(_LEAK)]
            layers += [nn.Dropout(options.dropout)]
            before, h, w = channels, -(-h // 2), -(-w // 2)
        self.layers = nn.Sequential(*layers, nn.Flatten(), nn.Linear(before * h * w, 1))
        glorot(self)

    def forward(self, images: Tensor) -> Tensor:
        return self.layers(images).squeeze(1)


def build(options: Options, shape: ImageShape, classes: int, z_size: int) -> tuple[Bank, Bank]:
    """A bank of generators and one of discriminators for one pack."""
    shape.check_divisible(4, "per-class")
    generators = Bank(Generator(options, shape, z_size) for _ in range(classes))
    return generators, Bank(Discriminator(options, shape) for _ in range(classes))
