"""The edit `augment`: changed copies of every image, written out as a pack.

Flips, rotation, shear, zoom and distortion become one map of where each pixel comes from, so that an image is
resampled once (bilinear, by kornia; what lies outside continues the border). Every variant has its own random
numbers, from (seed, image, variant).

A `kind` is a row of `imagemint.augment.AUGMENTATIONS` and changes images by the function that the classifiers of a
study learn with, so that what an arm such as `classic` or `elastic` does can be looked at and used elsewhere.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np

from imagemint import arguments, seeds
from imagemint.data.pack import Origin, Pack, open_pack
from imagemint.data.rewriting import rewrite
from imagemint.errors import PackError
from imagemint.images import to_images, to_pixels

_MOST_VARIANTS = 1000  # of an image, which are held in memory together
_GRID = 4  # distortion moves the points of a 4 x 4 grid


@dataclass(frozen=True)
class Ranges:
    """What may happen to an image; every value is drawn uniformly. The defaults change nothing."""

    flip_horizontal: float = 0.0  # probability
    flip_vertical: float = 0.0  # probability
    rotation: float = 0.0  # largest angle in degrees, either way
    shear: float = 0.0  # largest angle in degrees, either way
    zoom: tuple[float, float] = (1.0, 1.0)  # the fraction of each side that fills the frame: 0.5 enlarges twice
    brightness: tuple[float, float] = (1.0, 1.0)  # factor
    distortion: float = 0.0  # how far the points of a 4 x 4 grid move at most, as a fraction of the side

    def __post_init__(self) -> None:
        limits = {
            "flip_horizontal": (0, 1),
            "flip_vertical": (0, 1),
            "rotation": (0, 180),
            "shear": (0, 80),
            "zoom": (0.01, 10),
            "brightness": (0, 10),
            "distortion": (0, 0.5),
        }
        for name, (low, high) in limits.items():
            value = getattr(self, name)
            single = name not in ("zoom", "brightness")
            pair = (value, value) if single else tuple(value) if isinstance(value, Iterable) else (value,)
            if len(pair) != 2:
                raise PackError(f"{name} {value!r}", "two numbers, the smaller first", "write for example (0.5, 1.0)")
            pair = tuple(arguments.number(each, name) for each in pair)
            if not low <= pair[0] <= pair[1] <= high:
                raise PackError(f"{name} {value}", f"{low} to {high}, the smaller first", "choose another range")
            object.__setattr__(self, name, pair[0] if single else pair)


PRESETS = {
    # Sterzinger, Stippel & Zogaj 2020, for photos of fruit. Our reading: one zoom for both sides, as Keras' zoom
    # range below 1 enlarges.
    "strong": Ranges(flip_horizontal=0.5, rotation=25, zoom=(0.5, 1.0), brightness=(0.2, 1.0)),
    # Élő 2021, section 6.2.2, for faces and figures. Both mirrors, rotation, shear and distortion "a minimal amount",
    # without numbers; these are ours.
    "gentle": Ranges(flip_horizontal=0.5, flip_vertical=0.5, rotation=10, shear=5, distortion=0.03),
    # Ours, for digits and letters, which a mirror would turn into something else.
    "unflipped": Ranges(rotation=10, shear=5, zoom=(0.9, 1.1), brightness=(0.8, 1.0), distortion=0.03),
}


def augment(
    pack: Pack | Path | str,
    dest: Path | str,
    variants: int = 1,
    *,
    ranges: str | Ranges = "gentle",
    kind: str | None = None,
    keep: bool = True,
    seed: int = 0,
) -> Pack:
    """`variants` changed copies of every image, each image followed by its own; without the images if not `keep`.

    `ranges` is one of `PRESETS` or your own `Ranges`; `kind`, in their place, a row of `AUGMENTATIONS` that changes
    images one by one. Column `variant` tells them apart: 0 is the image itself, k its
    k-th variant, which depends on (seed, index of the image, k) alone. Labels and columns are inherited. The origin
    of real packs becomes `augmented`, of others `mixed`.
    """
    pack = open_pack(pack)
    variants, seed = arguments.whole(variants, "variants", 1, _MOST_VARIANTS), arguments.whole(seed, "seed")
    first = 0 if keep else 1
    vary_images, what = _by_kind(kind, seed) if kind is not None else _by_ranges(ranges, seed)

    def change(pixels: np.ndarray, index: np.ndarray) -> np.ndarray:
        changed = np.empty((len(pixels), variants + 1, *pixels.shape[1:]), np.uint8)
        changed[:, 0] = pixels
        for k in range(1, variants + 1):
            changed[:, k] = vary_images(pixels, index, k)
        return changed[:, first:].reshape(-1, *pixels.shape[1:])

    origin: Origin = "augmented" if pack.manifest.origin in ("real", "augmented") else "mixed"
    return rewrite(
        pack,
        dest,
        "augment",
        {"variants": variants, **what, "keep": bool(keep), "seed": seed},
        change=change,
        growth=variants + 24,  # floats: the images twice, the map and its parts
        origin=origin,
        extra={"variant": np.arange(first, variants + 1)},
    )


Vary = Callable[[np.ndarray, np.ndarray, int], np.ndarray]  # images, their numbers, which variant -> the same shape


def _by_ranges(ranges: str | Ranges, seed: int) -> tuple[Vary, dict[str, object]]:
    if isinstance(ranges, str):
        if ranges not in PRESETS:
            raise PackError(f"preset {ranges!r}", ", ".join(PRESETS), "choose one of them")
        ranges = PRESETS[ranges]
    chosen = ranges
    return (
        lambda pixels, index, k: vary(pixels, [_draw(chosen, seed, image, k) for image in index.tolist()]),
        asdict(chosen),
    )


def _by_kind(kind: str, seed: int) -> tuple[Vary, dict[str, object]]:
    import torch

    from imagemint import augment as studies

    kinds = [name for name, row in studies.AUGMENTATIONS.items() if row.mixing == "none"]
    if kind not in kinds:
        mixes = "puts two images together" if kind in studies.AUGMENTATIONS else "is none"
        raise PackError(f"kind {kind!r}, which {mixes}", ", ".join(kinds), "choose one of them")

    def vary_images(pixels: np.ndarray, index: np.ndarray, k: int) -> np.ndarray:
        changed = np.empty_like(pixels)
        for row, image in enumerate(index.tolist()):  # alone, so that it does not depend on the others of its block
            generator = seeds.generator(seed, f"augment {kind} {k}", image)
            images = to_images(torch.from_numpy(np.array(pixels[row : row + 1])))
            changed[row] = to_pixels(studies.augment(images, generator, studies.AUGMENTATIONS[kind]))[0].numpy()
        return changed

    return vary_images, {"kind": kind}


@dataclass(frozen=True)
class Draw:
    """What happens to one image."""

    source: np.ndarray  # float64 [2, 2]: (x, y) from the middle in the variant -> (x, y) from the middle in the image
    moved: np.ndarray  # float64 [2, 4, 4]: further shift of the grid's points, in x and y, as a part of the side
    brightness: float


def _draw(ranges: Ranges, seed: int, image: int, variant: int) -> Draw:
    random = seeds.rng(seed, f"augment {variant}", image)
    flips = random.random(2) < (ranges.flip_horizontal, ranges.flip_vertical)
    turn, shear = np.radians(random.uniform(-1, 1, 2) * (ranges.rotation, ranges.shear))
    zoom, brightness = random.uniform(*ranges.zoom), random.uniform(*ranges.brightness)
    moved = random.uniform(-1, 1, (2, _GRID, _GRID)) * ranges.distortion
    rotation = np.array([[np.cos(turn), np.sin(turn)], [-np.sin(turn), np.cos(turn)]])
    sheared = np.array([[1.0, np.tan(shear)], [0.0, 1.0]])
    return Draw(np.diag(np.where(flips, -1.0, 1.0)) @ rotation @ sheared * zoom, moved, brightness)


def vary(pixels: np.ndarray, draws: list[Draw]) -> np.ndarray:
    """One variant of each image: uint8 `[n, c, h, w]` and n draws -> uint8 `[n, c, h, w]`."""
    import torch
    from kornia.geometry.transform import remap

    h, w = pixels.shape[-2:]
    x, y = np.meshgrid(np.arange(w) - (w - 1) / 2, np.arange(h) - (h - 1) / 2)
    down, across = _between(h), _between(w)
    maps = np.empty((2, len(pixels), h, w), np.float32)
    for k, draw in enumerate(draws):  # image by image, so that a variant is the same in a block of any size
        (xx, xy), (yx, yy) = draw.source
        shift_x, shift_y = down @ draw.moved @ across.T
        maps[0, k] = xx * x + xy * y + (w - 1) / 2 + shift_x * w
        maps[1, k] = yx * x + yy * y + (h - 1) / 2 + shift_y * h
    brightness = torch.tensor([draw.brightness for draw in draws], dtype=torch.float32)
    images = torch.from_numpy(pixels).float()
    map_x, map_y = torch.from_numpy(maps)
    varied = remap(images, map_x, map_y, padding_mode="border", align_corners=True)
    levels: np.ndarray = varied.mul_(brightness[:, None, None, None]).round_().clamp_(0, 255).byte().numpy()
    return levels


def _between(length: int) -> np.ndarray:
    """Weights that spread the values of `_GRID` points over `length` pixels, smoothly: float64 `[length, _GRID]`."""
    at = np.linspace(0, _GRID - 1, length) if length > 1 else np.zeros(1)
    low = np.minimum(at.astype(np.int64), _GRID - 2)
    t = at - low
    t = t * t * (3 - 2 * t)
    weights = np.zeros((length, _GRID))
    weights[np.arange(length), low] = 1 - t
    weights[np.arange(length), low + 1] = t
    return weights
