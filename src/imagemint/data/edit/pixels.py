"""Edits that change pixels: resize, tile, crop, invert, grayscale, blur."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from PIL import Image

from imagemint import arguments
from imagemint.data.pack import Pack, open_pack
from imagemint.data.rewriting import rewrite
from imagemint.errors import PackError
from imagemint.images import gray, to_pil

FILTERS = {
    "nearest": Image.Resampling.NEAREST,
    "box": Image.Resampling.BOX,
    "bilinear": Image.Resampling.BILINEAR,
    "hamming": Image.Resampling.HAMMING,
    "bicubic": Image.Resampling.BICUBIC,
    "lanczos": Image.Resampling.LANCZOS,
}
_LARGEST_SIDE = 16_384


def resize(
    pack: Pack | Path | str, dest: Path | str, width: int, height: int | None = None, *, filter: str = "lanczos"
) -> Pack:
    """All images to `width` x `height` (default: a square), stretched, with one of Pillow's `FILTERS`.

    Crop first where the proportions should stay.
    """
    pack, width = open_pack(pack), arguments.whole(width, "width", 1, _LARGEST_SIDE)
    height = width if height is None else arguments.whole(height, "height", 1, _LARGEST_SIDE)
    if filter not in FILTERS:
        raise PackError(f"filter {filter!r}", ", ".join(FILTERS), "choose one of them")
    size, method = (width, height), FILTERS[filter]

    def change(pixels: np.ndarray, _: np.ndarray) -> np.ndarray:
        small = np.empty((*pixels.shape[:2], height, width), np.uint8)
        for image, target in zip(pixels, small, strict=True):
            target[:] = np.asarray(to_pil(image).resize(size, method)).reshape(height, width, -1).transpose(2, 0, 1)
        return small

    growth = height * width / (pack.size[0] * pack.size[1])
    parameters = {"width": width, "height": height, "filter": filter}
    return rewrite(pack, dest, "resize", parameters, change=change, growth=growth)


def tile(pack: Pack | Path | str, dest: Path | str, height: int, width: int | None = None) -> Pack:
    """Every image cut into tiles of `height` x `width` (default: square), row by row; remainders are dropped.

    Tiles inherit the label and columns of their image and stand together, in order.
    """
    pack, height = open_pack(pack), arguments.whole(height, "height")
    width = height if width is None else arguments.whole(width, "width")
    _check_inside(pack, height, width, "tile")
    down, across = pack.size[0] // height, pack.size[1] // width

    def change(pixels: np.ndarray, _: np.ndarray) -> np.ndarray:
        n, c = pixels.shape[:2]
        whole = pixels[:, :, : down * height, : across * width]
        tiles = whole.reshape(n, c, down, height, across, width).transpose(0, 2, 4, 1, 3, 5)
        return tiles.reshape(n * down * across, c, height, width)

    return rewrite(pack, dest, "tile", {"height": height, "width": width}, change=change)


def crop(
    pack: Pack | Path | str,
    dest: Path | str,
    height: int,
    width: int | None = None,
    *,
    top: int | None = None,
    left: int | None = None,
) -> Pack:
    """A box of `height` x `width` (default: square) of every image: at `top`, `left`, or else in the middle."""
    pack, height = open_pack(pack), arguments.whole(height, "height")
    width = height if width is None else arguments.whole(width, "width")
    _check_inside(pack, height, width, "box")
    h, w = pack.size
    top = (h - height) // 2 if top is None else arguments.whole(top, "top")
    left = (w - width) // 2 if left is None else arguments.whole(left, "left")
    if not (0 <= top <= h - height and 0 <= left <= w - width):
        raise PackError(
            f"a box of {height} x {width} at top {top}, left {left} reaches out of images of {h} x {w}",
            f"top 0 to {h - height}, left 0 to {w - width}",
            "move or shrink the box",
        )

    def change(pixels: np.ndarray, _: np.ndarray) -> np.ndarray:
        return pixels[:, :, top : top + height, left : left + width]

    parameters = {"height": height, "width": width, "top": top, "left": left}
    return rewrite(pack, dest, "crop", parameters, change=change)


def invert(pack: Pack | Path | str, dest: Path | str) -> Pack:
    """255 - p: white on black becomes black on white."""

    def change(pixels: np.ndarray, _: np.ndarray) -> np.ndarray:
        return 255 - pixels

    return rewrite(open_pack(pack), dest, "invert", {}, change=change)


def grayscale(pack: Pack | Path | str, dest: Path | str) -> Pack:
    """RGB to one channel: 0.2989 r + 0.5870 g + 0.1140 b, to the nearest level. A gray pack stays as it is."""
    pack = open_pack(pack)

    def change(pixels: np.ndarray, _: np.ndarray) -> np.ndarray:
        return gray(pixels)

    return rewrite(pack, dest, "grayscale", {}, change=change, growth=4)


def blur(pack: Pack | Path | str, dest: Path | str, sigma: float) -> Pack:
    """Every image blurred by a Gaussian of standard deviation `sigma`, in pixels (0 changes nothing).

    For backgrounds out of focus, as Élő 2021 (section 6.2.3.3) makes them; the amount is not given there. The
    Gaussian is cut at 4 sigma, and what lies outside an image continues its border.
    """
    pack = open_pack(pack)
    sigma = arguments.number(sigma, "sigma", 0, max(pack.size))
    weights = _gaussian(sigma)

    def change(pixels: np.ndarray, _: np.ndarray) -> np.ndarray:
        blurred = pixels.astype(np.float32)
        for axis in (2, 3):
            blurred = _weighted(blurred, weights, axis)
        return np.rint(blurred).astype(np.uint8)

    return rewrite(pack, dest, "blur", {"sigma": sigma}, change=change, growth=16)


def _gaussian(sigma: float) -> np.ndarray:
    """Samples of a Gaussian at whole numbers, as far as 4 sigma either way, that sum to 1: float64 `[2 r + 1]`."""
    reach = int(4 * sigma + 0.5)
    at = np.arange(-reach, reach + 1)
    weights = np.exp(-0.5 * (at / sigma) ** 2) if reach else np.ones(1)
    normed: np.ndarray = weights / weights.sum()
    return normed


def _weighted(images: np.ndarray, weights: np.ndarray, axis: int) -> np.ndarray:
    """Sums of neighbours along an axis of float32 `[n, c, h, w]`, weighted; beyond the border lies more of it."""
    reach, length = len(weights) // 2, images.shape[axis]
    total = np.zeros_like(images)
    for k, weight in enumerate(weights.astype(np.float32)):
        neighbours = np.clip(np.arange(length) + k - reach, 0, length - 1)
        total += weight * images.take(neighbours, axis)
    return total


def _check_inside(pack: Pack, height: int, width: int, what: str) -> None:
    h, w = pack.size
    if not (1 <= height <= h and 1 <= width <= w):
        raise PackError(
            f"a {what} of {height} x {width} and images of {h} x {w} (height x width)",
            f"at most {h} x {w} and at least 1 x 1",
            f"choose a smaller {what}" if height > h or width > w else f"choose a larger {what}",
        )
