"""Flow matching: a small U-Net that knows time and label, and the way from noise to image that it gives.

The image goes in as 2x2 blocks of pixels (nothing is computed at full size, as in `small`), and down to maps of 7 to
15 pixels. Groups of channels are normalised within one image, so that no image depends on its batch. Time and label
scale and shift the maps of every block (Dhariwal & Nichol 2021, sec. 3.1).
"""

from __future__ import annotations

import math
from collections.abc import Callable
from itertools import pairwise
from typing import Literal

import torch
from pydantic import Field
from torch import Tensor, nn
from torch.nn import functional as F

from imagemint.models.layers import DoublingConv
from imagemint.models.shapes import ImageShape
from imagemint.settings import Strict

ABOUT = "flow matching: a small U-Net learns the velocity of straight ways from noise to image (Lipman et al. 2023)"
Solver = Literal["euler", "heun"]
Velocity = Callable[[Tensor, Tensor], Tensor]  # points float `[n, c, h, w]`, times float `[n]` in [0, 1] -> the same
_HALVINGS = 3  # at most, the one into blocks of pixels included
_SMALLEST = 7  # side of the smallest maps, at least
_WAVES = 64  # numbers that a time is made of


class Options(Strict):
    """The network's choices."""

    width: int = Field(48, ge=8, le=1024, multiple_of=8, description="channels at half size; twice as many below")
    blocks: int = Field(1, ge=1, le=8, description="residual blocks at each size, on the way down and up")


class VelocityNetwork(nn.Module):
    """Points float `[n, c, h, w]`, times `[n]` in [0, 1], labels int64 `[n]`, moved bool `[n]` -> velocities.

    Label `classes` stands for *no label*. `moved` says which training images are augmented, so that what is drawn
    with False is not (one bit of the augment label of Karras et al. 2022, app. F.2).
    """

    def __init__(self, options: Options, shape: ImageShape, classes: int) -> None:
        super().__init__()
        widths = [options.width * min(2**k, 2) for k in range(_halvings(shape))]
        known = 4 * options.width
        self.label = nn.Embedding(classes + 1, known)
        self.moved = nn.Embedding(2, known)
        self.time = nn.Sequential(nn.Linear(_WAVES, known), nn.SiLU(), nn.Linear(known, known))
        self.first = nn.Conv2d(4 * shape.channels, widths[0], 3, padding=1)
        self.downs = nn.ModuleList(_Blocks(w, w, known, options.blocks) for w in widths[:-1])
        self.halvings = nn.ModuleList(nn.Conv2d(a, b, 4, stride=2, padding=1) for a, b in pairwise(widths))
        self.middle = _Blocks(widths[-1], widths[-1], known, options.blocks + 1)
        self.doublings = nn.ModuleList(DoublingConv(b, a) for a, b in reversed(list(pairwise(widths))))
        self.ups = nn.ModuleList(_Blocks(2 * w, w, known, options.blocks) for w in reversed(widths[:-1]))
        self.norm = _norm(widths[0])
        self.last = nn.Conv2d(widths[0], 4 * shape.channels, 3, padding=1)
        nn.init.zeros_(self.last.weight)

    def forward(self, points: Tensor, times: Tensor, labels: Tensor, moved: Tensor) -> Tensor:
        known = F.silu(self.time(waves(times)) + self.label(labels) + self.moved(moved.long()))
        x = self.first(F.pixel_unshuffle(points, 2).contiguous(memory_format=torch.channels_last))
        passed = []
        for down, halve in zip(self.downs, self.halvings, strict=True):
            x = down(x, known)
            passed.append(x)
            x = halve(x)
        x = self.middle(x, known)
        for double, up in zip(self.doublings, self.ups, strict=True):
            x = up(torch.cat([double(x), passed.pop()], 1), known)
        return F.pixel_shuffle(self.last(F.silu(self.norm(x))), 2).float()


class _Blocks(nn.Module):
    """Residual blocks of one size: `[n, before, h, w]`, known `[n, k]` -> `[n, after, h, w]`."""

    def __init__(self, before: int, after: int, known: int, count: int) -> None:
        super().__init__()
        self.blocks = nn.ModuleList(_Block(before if k == 0 else after, after, known) for k in range(count))

    def forward(self, x: Tensor, known: Tensor) -> Tensor:
        for block in self.blocks:
            x = block(x, known)
        return x


class _Block(nn.Module):
    """Two 3x3 convolutions beside a short way; between them what is known scales and shifts the maps."""

    def __init__(self, before: int, after: int, known: int) -> None:
        super().__init__()
        self.norm1, self.norm2 = _norm(before), _norm(after)
        self.conv1 = nn.Conv2d(before, after, 3, padding=1)
        self.conv2 = nn.Conv2d(after, after, 3, padding=1)
        self.known = nn.Linear(known, 2 * after)
        self.short = nn.Identity() if before == after else nn.Conv2d(before, after, 1)
        nn.init.zeros_(self.conv2.weight)  # a block begins as its short way

    def forward(self, x: Tensor, known: Tensor) -> Tensor:
        scale, shift = self.known(known)[:, :, None, None].chunk(2, 1)
        deep = self.norm2(self.conv1(F.silu(self.norm1(x)))) * (1 + scale) + shift
        out: Tensor = self.short(x) + self.conv2(F.silu(deep))
        return out


class FlowGenerator(nn.Module):
    """z float `[n, c x h x w]` of N(0, 1), labels int64 `[n]` -> images `[n, c, h, w]` in [-1, 1].

    z is the noise itself, and the image lies at the end of its way. With `guidance` w the velocity is that without a
    label plus w times the difference that the label makes (Ho & Salimans 2022, eq. 6 with w - 1 for their w).
    """

    def __init__(
        self, options: Options, shape: ImageShape, classes: int, *, steps: int, solver: Solver, guidance: float
    ) -> None:
        super().__init__()
        self.velocity = VelocityNetwork(options, shape, classes)
        self.shape, self.no_label = shape, classes
        self.steps, self.solver, self.guidance = steps, solver, guidance

    def forward(self, z: Tensor, labels: Tensor) -> Tensor:
        never = torch.zeros(len(z), dtype=torch.bool, device=z.device)
        nobody = torch.full_like(labels, self.no_label)

        def velocity(points: Tensor, times: Tensor) -> Tensor:
            asked: Tensor = self.velocity(points, times, labels, never)
            if self.guidance == 1:
                return asked
            plain: Tensor = self.velocity(points, times, nobody, never)
            return plain + self.guidance * (asked - plain)

        return integrated(velocity, z.view(-1, *self.shape), self.steps, self.solver).clamp(-1, 1)


def integrated(velocity: Velocity, noise: Tensor, steps: int, solver: Solver) -> Tensor:
    """Where points that start at `noise` at time 0 are at time 1, in `steps` of equal length.

    Euler's rule looks at the velocity once per step, Heun's twice (the mean of the velocities at both ends).

    >>> integrated(lambda points, times: 2 * times.view(-1, 1), torch.zeros(1, 1), 4, "heun")
    tensor([[1.]])
    """
    points, length = noise, 1 / steps
    for k in range(steps):
        now, then = (noise.new_full((len(noise),), (k + j) * length) for j in (0, 1))
        first = velocity(points, now)
        if solver == "heun":
            first = (first + velocity(points + length * first, then)) / 2
        points = points + length * first
    return points


def waves(times: Tensor) -> Tensor:
    """Times float `[n]` in [0, 1] as sines and cosines of lengths from 1 to 1/1000: float `[n, 64]`."""
    speeds = torch.exp(torch.linspace(0, math.log(1000), _WAVES // 2, device=times.device))
    angles = times[:, None] * speeds
    return torch.cat([angles.sin(), angles.cos()], 1)


def _norm(channels: int) -> nn.GroupNorm:
    return nn.GroupNorm(math.gcd(8, channels), channels)


def _halvings(shape: ImageShape) -> int:
    return min(shape.halvings(_SMALLEST), _HALVINGS)


def build(
    options: Options, shape: ImageShape, classes: int, *, steps: int, solver: Solver, guidance: float
) -> FlowGenerator:
    """The generator for one pack. Raises RecipeError unless both sides are even and 14 pixels or more."""
    if not _halvings(shape):
        shape.check_divisible(16, "flow")
    return FlowGenerator(options, shape, classes, steps=steps, solver=solver, guidance=guidance)
