"""MITLGAN: Élő 2021, frozen generators side by side and a network that learns to join their images.

With two parents of family wgan-gp at 128x128x3 the generator has 18,461,982 trainable parameters of 23,304,090 in
all, as in table 7.3. It prints 295,168 for the third convolution; only 295,680 adds up to its totals. It prints no
activation after the first convolution of the first block; we read relu, as everywhere else. It ends in relu, which
cannot reach the dark half of [-1, 1] and may pass 1: `tanh` is our default, `relu` the literal variant.
"""

from __future__ import annotations

import math
from typing import Literal, NamedTuple

import torch
from pydantic import Field
from torch import Tensor, nn

from imagemint.errors import RecipeError
from imagemint.models import wgan_gp
from imagemint.models.layers import DoublingConv, glorot
from imagemint.models.shapes import ImageShape
from imagemint.seeds import Noise
from imagemint.settings import Strict
from imagemint.words import counted

ABOUT = "Élő 2021: frozen generators side by side and a network that learns to join their images"
Output = Literal["tanh", "relu"]
Connect = Literal["dense-residual", "residual", "dense"]


class Options(Strict):
    """The family's choices."""

    output: Output = Field("tanh", description="relu as in table 7.3; it cannot draw anything darker than mid-gray")
    width: int = Field(256, ge=4, le=4096, multiple_of=4, description="channels that each block makes")
    blocks: int = Field(6, ge=1, le=64, description="blocks between the halvings and the doublings")
    connect: Connect = Field(
        "dense-residual",
        description="what a block does with its input; dense-residual: two convolutions, joined to it (table 7.3); "
        "residual: two convolutions, added to it (He et al. 2016); dense: one convolution, joined to it "
        "(Huang et al. 2017)",
    )
    dropout: float = Field(0.3, ge=0, lt=1, description="in D, as in wgan-gp")


class Parent(NamedTuple):
    """A trained generator and the noise that it was trained with."""

    generator: nn.Module
    z_size: int
    noise: Noise = "normal"


class Joiner(nn.Module):
    """The parents' images, joined along the channels, float `[n, parents x c, h, w]` -> images `[n, c, h, w]`.

    In [-1, 1] with output tanh, 0 and above with relu; above 1 is clipped where pixels are made. Sides are multiples
    of 4 and at least 8.
    """

    def __init__(self, parents: int, shape: ImageShape, options: Options) -> None:
        super().__init__()
        shape.check_divisible(4 if min(shape.height, shape.width) > 4 else 8, "mitlgan")
        self.output = options.output
        width, half, quarter = options.width, options.width // 2, options.width // 4
        self.join = nn.Sequential(nn.Conv2d(parents * shape.channels, shape.channels, 1), nn.ReLU())
        self.down = nn.Sequential(
            _layer(shape.channels, quarter, 7), _layer(quarter, half, 3, stride=2), _layer(half, width, 3, stride=2)
        )
        grows = options.connect != "residual"
        wide = [(1 + grows * k) * width for k in range(options.blocks + 1)]  # channels before each block, and after
        self.blocks = nn.Sequential(*(_Block(channels, width, options.connect) for channels in wide[:-1]))
        self.up = nn.Sequential(*_layer_up(wide[-1], half), *_layer_up(half, quarter))
        self.last = nn.Sequential(nn.Conv2d(quarter, shape.channels, 7, padding=3), _norm(shape.channels))
        glorot(self)

    def forward(self, images: Tensor) -> Tensor:
        x = self.last(self.up(self.blocks(self.down(self.join(images))))).float()
        return x.tanh() if self.output == "tanh" else x.relu()


class _Block(nn.Module):
    """`[n, in, h, w]` -> `[n, in + width, h, w]`, or where it is residual `[n, in, h, w]` with width = in."""

    def __init__(self, channels: int, width: int, connect: Connect) -> None:
        super().__init__()
        self.adds = connect == "residual"
        self.conv1 = _layer(channels, width, 3)
        self.conv2 = nn.Identity() if connect == "dense" else _layer(width, width, 3)

    def forward(self, x: Tensor) -> Tensor:
        made = self.conv2(self.conv1(x))
        return x + made if self.adds else torch.cat([x, made], 1)


def _layer(before: int, after: int, kernel: int, stride: int = 1) -> nn.Sequential:
    conv = nn.Conv2d(before, after, kernel, stride=stride, padding=kernel // 2)
    return nn.Sequential(conv, _norm(after), nn.ReLU())


def _layer_up(before: int, after: int) -> tuple[nn.Module, ...]:
    """Sides doubled."""
    return DoublingConv(before, after), _norm(after), nn.ReLU()


def _norm(channels: int) -> nn.InstanceNorm2d:
    return nn.InstanceNorm2d(channels, affine=True)


class MitlganGenerator(nn.Module):
    """z float `[n, sum of the parents' z sizes]`, labels int64 `[n]` -> images `[n, c, h, w]`, range as in Joiner.

    Each parent gets its own part of z, in order, and the same labels. z is N(0, 1); for a parent that was trained
    with uniform noise, its part goes through the distribution function of N(0, 1), which makes it exactly U(-1, 1).
    The parents stay as they are: without gradient and in evaluation mode, whatever mode this network is in. They
    become this module's own and are saved with it.

    Raises RecipeError for fewer than two parents and for one whose images have another shape.
    """

    def __init__(self, parents: list[Parent], shape: ImageShape, options: Options) -> None:
        super().__init__()
        check_enough(len(parents))
        self.parents = nn.ModuleList(parent.generator for parent in parents).requires_grad_(False).eval()
        self.parent_z = [parent.z_size for parent in parents]
        self.parent_noise = [parent.noise for parent in parents]
        self._check_shapes(shape)
        self.joiner = Joiner(len(parents), shape, options)

    def forward(self, z: Tensor, labels: Tensor) -> Tensor:
        parts = zip(torch.split(z, self.parent_z, 1), self.parent_noise, strict=True)
        with torch.no_grad():
            noise = [torch.erf(part / math.sqrt(2)) if kind == "uniform" else part for part, kind in parts]
            made = [parent(part, labels) for parent, part in zip(self.parents, noise, strict=True)]
        return self.joiner(torch.cat(made, 1))

    def train(self, mode: bool = True) -> MitlganGenerator:
        """Training mode for the joiner alone: a frozen parent's batch statistics must not move."""
        super().train(mode)
        self.parents.eval()
        return self

    @torch.no_grad()
    def _check_shapes(self, shape: ImageShape) -> None:
        for k, (parent, z_size) in enumerate(zip(self.parents, self.parent_z, strict=True)):
            device = next(parent.parameters()).device
            if device.type == "meta":  # without values there is nothing to draw: the catalogue only counts
                continue
            label = torch.zeros(1, dtype=torch.int64, device=device)
            made = ImageShape(*parent(torch.zeros(1, z_size, device=device), label).shape[1:])
            if made != shape:
                raise RecipeError(
                    f"parent {k + 1} makes {_words(made)} images and the pack holds {_words(shape)}",
                    "parents and pack of one size and one number of channels",
                    f"train that parent on a pack of {_words(shape)} images, or pack the images again",
                )


def check_enough(parents: int) -> None:
    """Raise RecipeError for fewer than two parents."""
    if parents < 2:
        raise RecipeError(
            f"{counted(parents, 'parent')} for model mitlgan",
            "two trained runs or more",
            "name them: --set 'parents=[RUN, RUN]'",
        )


def _words(shape: ImageShape) -> str:
    return f"{shape.height}x{shape.width}x{shape.channels}"


def build(
    options: Options, shape: ImageShape, parents: list[Parent]
) -> tuple[MitlganGenerator, wgan_gp.Discriminator]:
    """The pair of networks for one pack from its trained parents; the recipe's z_size is the sum of theirs."""
    generator = MitlganGenerator(parents, shape, options)
    return generator, wgan_gp.Discriminator(wgan_gp.Options(dropout=options.dropout), shape)
