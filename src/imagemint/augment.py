"""Augmentation: what a classifier gets for free, and the yardstick that minted images have to beat.

`affine` is shared: classic augmentation calls it here, and GANs call it for real and fake images (Zhao et al. 2020),
because gradients flow through it to the images. `augment` changes images one by one and leaves labels alone; `mix`
comes after it and puts two images together, which can change their labels. All randomness comes from the generator
that is passed.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal

import torch
from torch.nn import functional as F


@dataclass(frozen=True)
class Movement:
    """How far each image is moved, drawn uniformly from +- each value; 0 switches a movement off."""

    shift: float = 0.10  # share of the height and of the width
    rotate: float = 12.0  # degrees
    shear: float = 0.15  # radians, along x and along y
    zoom: float = 0.12  # 0.12: sizes from 0.88 to 1.12, the same in both directions
    size: float = 1.0  # the middle of the sizes


# Our choice: movements that leave a handwritten digit readable as the same digit (at 28 px: about 3 px of shift).
CLASSIC = Movement()
BRIGHTNESS = 0.2  # light is multiplied by 0.8..1.2; black stays black
ELASTIC = 0.1  # share of the side; at 28 px pixels move by 1.3 px (standard deviation)
NOISE = 25.0  # levels of 255: standard deviation of normal noise of each pixel
_POINTS = 5  # along each side of the image, which an elastic distortion moves
_CELLS = 4  # along each side of the image, of the grid in which `classmix` puts two images together
HARDER = Movement(rotate=1.6 * CLASSIC.rotate, shear=1.6 * CLASSIC.shear, zoom=1.6 * CLASSIC.zoom)


@dataclass(frozen=True)
class Ranges:
    """A row of AUGMENTATIONS: how far images are changed. A share of them may be changed `harder`."""

    movement: Movement = CLASSIC
    light: tuple[float, float] = (1.0, BRIGHTNESS)  # middle and reach of the factor that the light is multiplied by
    flips: bool = False  # whether half of the images are mirrored even where a caller does not ask for it
    harder: Movement | None = None
    harder_share: float = 0.0  # of the images, 0 to 1
    cutout: float = 0.0  # largest side of the square that is covered in harder images, as a share of the image's side
    elastic: float = 0.0  # how far points of the image are moved on their own at most, as a share of its side
    noise: float = 0.0  # standard deviation of normal noise of each pixel of noisy images, in levels of 255
    noisy_share: float = 0.0  # of the images, 0 to 1
    mixing: Literal["none", "mixup", "classmix"] = "none"  # see `mix`
    mixed: float = 0.0  # largest share of an image that is taken from its partner, 0 to 1


# 30 % moved 1.6 times as far, with a square of up to 10 of 28 pixels covered (DeVries & Taylor 2017). On two tuning
# draws of MNIST, 20 images per class, it gave 0.53 points over classic.
_STRONG = Ranges(harder=HARDER, harder_share=0.3, cutout=10 / 28)
# Parts of two images of one class, as ChimeraMix (Reinders et al. 2022) mixes them without its generator.
_CLASSMIX = Ranges(mixing="classmix", mixed=1.0)

AUGMENTATIONS: dict[str, Ranges] = {
    "classic": Ranges(),
    "strong": _STRONG,
    # Sterzinger, Stippel & Zogaj 2020: mirrored, light times 0.2 to 1, turned by up to 25 degrees and enlarged up to
    # twice (their zoom of 0.5 to 1 is the part of the image that is left; sizes are drawn evenly here, there parts).
    "sterzinger": Ranges(Movement(shift=0, rotate=25, shear=0, zoom=0.5, size=1.5), light=(0.6, 0.4), flips=True),
    # A smooth distortion after the movements of classic: Simard, Steinkraus & Platt 2003, for handwritten digits.
    "elastic": Ranges(elastic=ELASTIC),
    # A square of up to half the side in every image (DeVries & Taylor 2017 cover 16 of 32 pixels of CIFAR-10).
    "cutout": Ranges(harder=CLASSIC, harder_share=1.0, cutout=0.5),
    # The control of a study's arm `noisy`: as large a noise on as many images as `strong` changes further.
    "noise": Ranges(noise=NOISE, noisy_share=0.3),
    # Zhang et al. 2018, with the alpha of 1 that they use on CIFAR-10: the share of the partner is uniform.
    "mixup": Ranges(mixing="mixup", mixed=1.0),
    "classmix": _CLASSMIX,
    "strong+classmix": replace(_STRONG, mixing=_CLASSMIX.mixing, mixed=_CLASSMIX.mixed),
}


def times(ranges: Ranges, factor: float) -> Ranges:
    """Ranges of movements, light and mixing that reach `factor` times as far; squares, noise and mirroring stay.

    >>> times(Ranges(), 0.5).movement.rotate
    6.0
    """

    def moved(movement: Movement) -> Movement:
        reach = {name: factor * getattr(movement, name) for name in ("shift", "rotate", "shear")}
        return replace(movement, **reach, zoom=min(factor * movement.zoom, 0.9 * movement.size))

    middle, reach = ranges.light
    return replace(
        ranges,
        movement=moved(ranges.movement),
        harder=moved(ranges.harder) if ranges.harder else None,
        light=(middle, min(factor * reach, middle)),
        elastic=factor * ranges.elastic,
        mixed=min(factor * ranges.mixed, 1.0),
    )


def augment(images: torch.Tensor, generator: torch.Generator, ranges: Ranges, *, flips: bool = False) -> torch.Tensor:
    """Each image changed differently within `ranges`: float `[n, c, h, w]` in [-1, 1] -> the same shape and range.

    `flips` mirrors half of the images left to right; ask for it only where a mirror image keeps its class.
    """
    flips = flips or ranges.flips
    images = _noisy(images, generator, ranges)
    if ranges.harder is None:
        moved = affine(images, generator, ranges.movement, flips=flips)
        return _lit(elastic(moved, generator, ranges.elastic), generator, ranges)
    harder = torch.rand(len(images), generator=generator, device=generator.device) < ranges.harder_share
    harder = harder.to(images.device)
    changed = torch.empty_like(images)
    changed[~harder] = affine(images[~harder], generator, ranges.movement, flips=flips)
    changed[harder] = _covered(
        affine(images[harder], generator, ranges.harder, flips=flips), generator, ranges.cutout
    )
    return _lit(elastic(changed, generator, ranges.elastic), generator, ranges)


def mix(
    images: torch.Tensor, targets: torch.Tensor, generator: torch.Generator, ranges: Ranges
) -> tuple[torch.Tensor, torch.Tensor]:
    """Each image put together with a partner from the batch, as `ranges.mixing` says.

    Images float `[n, c, h, w]`, targets float `[n, classes]`, each row a distribution -> the same shapes. The share
    that comes from the partner is drawn uniformly from 0 to `ranges.mixed` for each image. `mixup` (Zhang et al.
    2018, equation 1) blends images and targets, whatever their classes. `classmix` takes that share of the cells of
    a grid from an image of the same most probable class, and leaves the targets as they are; an image that is alone
    in its class stays as it is.

    >>> images, targets = torch.tensor([-1.0, 1.0]).view(2, 1, 1, 1), torch.eye(2)
    >>> mixed, soft = mix(images, targets, torch.Generator().manual_seed(0), AUGMENTATIONS["mixup"])
    >>> bool(torch.allclose(mixed.flatten(), soft[:, 1] - soft[:, 0])), soft.sum(1).tolist()
    (True, [1.0, 1.0])
    """
    n, _, h, w = images.shape
    if ranges.mixing == "none" or not n:
        return images, targets
    order = torch.rand(n, generator=generator, device=generator.device).to(images.device).argsort()
    share = ranges.mixed * torch.rand(n, 1, 1, 1, generator=generator, device=generator.device).to(images.device)
    if ranges.mixing == "mixup":
        partner = torch.empty_like(order).scatter_(0, order, order.roll(-1))
        weight = share[:, 0, :, 0].to(targets.dtype)
        return torch.lerp(images, images[partner], share), torch.lerp(targets, targets[partner], weight)
    kind = targets.argmax(1)
    partner = torch.arange(n, device=images.device)
    for each in range(targets.shape[1]):
        members = order[kind[order] == each]
        partner[members] = members.roll(-1)
    cells = torch.rand(n, 1, _CELLS, _CELLS, generator=generator, device=generator.device).to(images.device) < share
    taken = cells[:, :, torch.arange(h) * _CELLS // h][:, :, :, torch.arange(w) * _CELLS // w]
    return torch.where(taken, images[partner], images), targets


def classic(
    images: torch.Tensor, generator: torch.Generator, *, flips: bool = False, movement: Movement = CLASSIC
) -> torch.Tensor:
    """`augment` within the ranges `classic`, or another `movement`."""
    return augment(images, generator, Ranges(movement), flips=flips)


def _noisy(images: torch.Tensor, generator: torch.Generator, ranges: Ranges) -> torch.Tensor:
    """A share of the images under normal noise of each pixel. It comes first, and is moved with the image."""
    if not ranges.noise:
        return images
    noisy = torch.rand(len(images), 1, 1, 1, generator=generator, device=generator.device) < ranges.noisy_share
    noise = torch.randn(images.shape, generator=generator, device=generator.device) * (ranges.noise / 127.5)
    return torch.where(noisy.to(images.device), (images + noise.to(images)).clamp(-1, 1), images)


def _lit(images: torch.Tensor, generator: torch.Generator, ranges: Ranges) -> torch.Tensor:
    """Each image darker or brighter; black stays black."""
    middle, reach = ranges.light
    light = middle + _uniform(len(images), generator, reach).to(images.device).view(-1, 1, 1, 1)
    return ((images + 1) * light - 1).clamp(-1, 1)


def _covered(images: torch.Tensor, generator: torch.Generator, largest: float) -> torch.Tensor:
    """A square of each image covered by its mean colour; sides from 0 to `largest` of the image's, anywhere in it."""
    n, _, h, w = images.shape
    side, down, across = (torch.rand(n, 1, 1, 1, generator=generator, device=generator.device) for _ in range(3))
    rows = (torch.arange(h).view(1, 1, h, 1) + 0.5) / h
    columns = (torch.arange(w).view(1, 1, 1, w) + 0.5) / w
    half = side.cpu() * largest / 2
    inside = ((rows - down.cpu()).abs() < half) & ((columns - across.cpu()).abs() < half)
    return torch.where(inside.to(images.device), images.mean((2, 3), keepdim=True), images)


def elastic(images: torch.Tensor, generator: torch.Generator, reach: float) -> torch.Tensor:
    """Each image distorted smoothly on its own: float `[n, c, h, w]` -> the same shape. Differentiable in `images`.

    The points of a 5 x 5 grid move by up to `reach` of the side in both directions, and the pixels between them
    follow, by cubic interpolation (Ronneberger, Fischer & Brox 2015, section 3.1), in place of the smoothed random
    fields of Simard, Steinkraus & Platt 2003. Between points of the grid a pixel can move up to 1.5 times as far.
    What comes in from outside repeats the border. Without a reach nothing is drawn, so that augmentations without it
    stay as they were before it was there.
    """
    n, _, h, w = images.shape
    if not n or not reach:
        return images
    moved = torch.rand(n, 2, _POINTS, _POINTS, generator=generator, device=generator.device) * 2 - 1
    field = F.interpolate(moved * (2 * reach), (h, w), mode="bicubic", align_corners=True)  # the side is 2 units long
    still = F.affine_grid(torch.eye(2, 3, device=field.device).expand(n, 2, 3), [n, 1, h, w], align_corners=True)
    grid = (still + field.permute(0, 2, 3, 1)).to(images.device, images.dtype)
    return F.grid_sample(images, grid, padding_mode="border", align_corners=True)


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
    if not n:  # torch's affine_grid refuses it
        return images
    n *= world
    shift = torch.stack([_uniform(n, generator, movement.shift * w), _uniform(n, generator, movement.shift * h)], 1)
    angle = torch.deg2rad(_uniform(n, generator, movement.rotate))
    shear_x, shear_y = (_uniform(n, generator, movement.shear).tan() for _ in range(2))
    zoom = movement.size + _uniform(n, generator, movement.zoom)
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


PHOTO = Movement(shift=1 / 8, rotate=0, shear=0, zoom=0)


def photo(
    images: torch.Tensor, generator: torch.Generator, *, flips: bool = False, rank: int = 0, world: int = 1
) -> torch.Tensor:
    """Light, saturation, contrast, shift and a covered square, for a GAN: float `[n, k x c, h, w]` -> the same shape.

    Zhao et al. 2020, the policies colour, translation and cutout in their published ranges: light plus or minus 0.5,
    colours 0 to 2 times as strong, contrast 0.5 to 1.5, shifts of up to an eighth, a square of half the side covered.
    Several images stacked as channels (c = 3, or 1 where their number is not a multiple of 3) change together.
    Differentiable in `images`; what comes out may lie outside [-1, 1]. `rank` and `world` as for `affine`.
    """
    n, channels, h, w = images.shape
    draws = torch.rand(5, n * world, 1, 1, 1, generator=generator, device=generator.device)[:, rank::world]
    light, colour, contrast, down, across = draws.to(images.device)
    each = images.view(n, -1, 3 if channels % 3 == 0 else 1, h, w) + (light.unsqueeze(1) - 0.5)
    gray = each.mean(2, keepdim=True)
    each = (each - gray) * (2 * colour.unsqueeze(1)) + gray
    middle = each.mean((2, 3, 4), keepdim=True)
    each = (each - middle) * (contrast.unsqueeze(1) + 0.5) + middle
    moved = affine(each.flatten(1, 2), generator, PHOTO, flips=flips, rank=rank, world=world)
    rows = (torch.arange(h, device=images.device).view(1, 1, h, 1) + 0.5) / h
    columns = (torch.arange(w, device=images.device).view(1, 1, 1, w) + 0.5) / w
    covered = ((rows - down).abs() < 0.25) & ((columns - across).abs() < 0.25)
    return moved.masked_fill(covered, 0.0)
