"""Features of images behind one call: pixels uint8 `[n, c, h, w]` -> float32 `[n, d]`, with their origin and hash."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F

from imagemint.classifiers import LeNet, features
from imagemint.classifiers.outside import Outside, read_outside
from imagemint.data.pack import Pack
from imagemint.errors import MeasureError

FILE = "file:"
LARGEST_SIDE = 32  # pixels: larger images are averaged down, so that a covariance of their pixels fits into memory
_BLOCK = 512  # images


@dataclass(frozen=True, eq=False)
class Features:
    """A way to turn images into rows of numbers."""

    name: str  # "lenet", "pixels", "file" or "inception"
    origin: str  # in words
    sha256: str  # of the weights, of the file, or of the words where there are no weights
    of: Callable[[np.ndarray], np.ndarray]  # uint8 [n, c, h, w] -> float32 [n, d]

    def named(self, metric: str) -> str:
        """A metric's name on these features: fd_lenet; FID for the one network that has a right to the name."""
        if self.name == "inception":
            return {"fd": "fid", "kd": "kid"}[metric]
        return f"{metric}_{self.name}"


def feature_file(wanted: str, pack: Pack) -> Outside | None:
    """The network of `file:PATH`, tried on images of this shape; None for features that need no file.

    Raises MeasureError for an unknown name and NetworkError for a file that cannot be used.
    """
    if wanted.startswith(FILE):
        return read_outside(wanted[len(FILE) :], pack.channels, pack.size)
    if wanted not in ("lenet", "pixels"):
        raise MeasureError(f"no features {wanted!r}", "lenet, pixels or file:PATH", "check the spelling")
    return None


def features_of(wanted: str, judge: LeNet, file: Outside | None) -> Features:
    """The features that were asked for; `judge` has learned the real images."""
    if file is not None:
        name = "inception" if file.is_inception else "file"
        return Features(name, str(file.path), file.sha256, file)
    if wanted == "pixels":
        origin = f"pixels from 0 to 1, averaged down to at most {LARGEST_SIDE} per side"
        return Features("pixels", origin, hashlib.sha256(origin.encode()).hexdigest(), pixel_features)
    origin = "LeNet, last hidden layer, learned from the real images"
    return Features("lenet", origin, judge.weights_hash(), lambda pixels: features(judge, pixels))


def pixel_features(pixels: np.ndarray) -> np.ndarray:
    """The pixels themselves, 0 to 1, averaged down where a side is over `LARGEST_SIDE`: float32 `[n, c * h * w]`.

    >>> pixel_features(np.full((1, 1, 2, 2), 255, np.uint8)).tolist()
    [[1.0, 1.0, 1.0, 1.0]]
    """
    h, w = (min(side, LARGEST_SIDE) for side in pixels.shape[2:])
    found = []
    for start in range(0, len(pixels), _BLOCK):
        images = torch.from_numpy(np.array(pixels[start : start + _BLOCK])).float().div_(255)
        found.append(F.adaptive_avg_pool2d(images, (h, w)).flatten(1).numpy())
    return np.concatenate(found)
