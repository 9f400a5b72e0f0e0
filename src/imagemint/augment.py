"""Augmentation: what a classifier gets for free, and the yardstick that minted images have to beat.

`affine` is shared: classic augmentation calls it here, and GANs call it for real and fake images (Zhao et al. 2020),
because gradients flow through it to the images. All randomness comes from the generator that is passed.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch.nn import functional as F


@dataclass(frozen=True)
class Movement:
    """How far each image is moved, drawn uniformly from +- each value; 0 switches a movement off."""

    shift: float = 0.10  # share of the height and of the width
    rotate: float = 12.0  # degrees
    shear: float = 0.15  # radians, along x and along y
    zoom: float = 0.12  # 0.12: sizes from 0.88 to 1.12, the same in both directions


# Our choice: movements that leave a handwritten digit readable as the same digit (at 28 px: about 3 px of shift).
CLASSIC = Movement()
BRIGHTNESS = 0.2  # light is multiplied by 0.8..1.2; black stays black


def classic(
    images: torch.Tensor, generator: torch.Generator, *, flips: bool = False, movement: Movement = CLASSIC
) -> torch.Tensor:
    """Each image moved, and lit, differently: float `[n, c, h, w]` in [-1, 1] -> the same shape and range.

    `flips` mirrors half of the images left to right; ask for it only where a mirror image keeps its class.
    """
    images = affine(images, generator, movement, flips=flips)
    light = 1 + _uniform(len(images), generator, BRIGHTNESS).to(images.device).view(-1, 1, 1, 1)
    return ((images + 1) * light - 1).clamp(-1, 1)


def affine(
    images: torch.Tensor,
    generator: torch.Generator,
    movement: Movement,
    *,
    flips: bool = False,
    rank: int = 0,
    world: int = 1,
) -> torch.Tensor:
    """Each image shifted, rotated, sheared and zoomed on its own: float `[n, c, h, w]` -> the same shape.

    Differentiable in `images`. What comes in from outside repeats the border: black is -1 here and a photo has no
    black frame, so nothing is invented. Every call draws the same number of random values, whatever the movement.
    With a `world` of several processes the images are rows rank, rank + world, ... of a batch world times as large,
    and move as they would in it.
    """
    n, _, h, w = images.shape
    n *= world
    shift = torch.stack([_uniform(n, generator, movement.shift * w), _uniform(n, generator, movement.shift * h)], 1)
    angle = torch.deg2rad(_uniform(n, generator, movement.rotate))
    shear_x, shear_y = (_uniform(n, generator, movement.shear).tan() for _ in range(2))
    zoom = 1 + _uniform(n, generator, movement.zoom)
    mirrored = torch.rand(n, generator=generator, device=generator.device) < 0.5
    if flips:
        images = torch.where(mirrored[rank::world].to(images.device)[:, None, None, None], images.flip(-1), images)
    back = _backwards(angle, shear_x, shear_y, zoom)  # [n, 2, 2], in pixels from the centre
    origin = -(back @ shift[:, :, None])
    half = torch.tensor([max(w - 1, 1) / 2, max(h - 1, 1) / 2], device=back.device)  # affine_grid's unit
    where = torch.cat([back * half, origin], 2) / half[:, None]
    grid = F.affine_grid(where[rank::world].to(images.device, images.dtype), list(images.shape), align_corners=True)
    return F.grid_sample(images, grid, padding_mode="border", align_corners=True)


def _backwards(angle: torch.Tensor, shear_x: torch.Tensor, shear_y: torch.Tensor, zoom: torch.Tensor) -> torch.Tensor:
    """The inverse of zoom x turn x shear, in closed form (the shear has determinant 1): float `[n, 2, 2]`.

    Angles in radians, shears as tangents, `[n]` each. It says from where in the image a pixel is fetched.
    """
    cos, sin = angle.cos(), angle.sin()
    turn_back = torch.stack([cos, sin, -sin, cos], 1).view(-1, 2, 2)
    shear_back = torch.stack([1 + shear_x * shear_y, shear_x, shear_y, torch.ones_like(cos)], 1).view(-1, 2, 2)
    return shear_back @ turn_back / zoom[:, None, None]


def _uniform(n: int, generator: torch.Generator, reach: float) -> torch.Tensor:
    """float32 `[n]`, uniform in +- `reach`."""
    return (torch.rand(n, generator=generator, device=generator.device) * 2 - 1) * reach
