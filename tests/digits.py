"""Real images that are always at hand: scikit-learn's 1,797 digits of 8x8 pixels."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from sklearn.datasets import load_digits

from imagemint.data.pack import Origin, Pack, open_pack, writing

NAMES = [f"digit {k}" for k in range(10)]


def digits(count: int | None = None) -> tuple[np.ndarray, np.ndarray]:
    """Pixels uint8 `[n, 1, 8, 8]` and labels int64 `[n]`, the first `count` of them."""
    images, labels = load_digits(return_X_y=True)
    pixels = (images * 255 / 16).round().astype(np.uint8).reshape(-1, 1, 8, 8)
    return pixels[:count], labels[:count].astype(np.int64)


def write(
    dest: Path, pixels: np.ndarray, labels: np.ndarray, names: list[str] = NAMES, origin: Origin = "real"
) -> Pack:
    """A pack of these images."""
    with writing(dest, classes=names, origin=origin, history=[]) as writer:
        writer.add(pixels, labels)
    return open_pack(dest)
