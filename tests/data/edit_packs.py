"""Small packs for the tests of edits, made of arrays or drawn by hypothesis."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

import numpy as np
from hypothesis import strategies as st

from imagemint.data.pack import Minting, Origin, Pack, Step, open_pack, writing


def make(
    path: Path,
    pixels: np.ndarray,
    labels: Sequence[int] | np.ndarray,
    classes: Sequence[str] = ("a", "b", "c"),
    *,
    origin: Origin = "real",
    mintings: Sequence[Minting] = (),
    columns: Mapping[str, Sequence[int]] | None = None,
) -> Pack:
    """A pack of these images."""
    with writing(path, classes=list(classes), origin=origin, history=[Step(command="pack")]) as writer:
        writer.mintings = list(mintings)
        writer.add(pixels, np.array(labels), **{name: np.array(values) for name, values in (columns or {}).items()})
    return open_pack(path)


def noise(count: int, channels: int = 1, height: int = 6, width: int = 5, seed: int = 0) -> np.ndarray:
    """Random images, all different: uint8 `[count, channels, height, width]`."""
    return np.random.default_rng(seed).integers(0, 256, (count, channels, height, width), dtype=np.uint8)


def photos(count: int, size: int = 32, channels: int = 1, seed: int = 0) -> np.ndarray:
    """Random pictures with the spectrum of photos, all different: uint8 `[count, channels, size, size]`."""
    number = np.arange(1, size // 2 + 1)
    strength = np.random.default_rng(seed).normal(size=(count, channels, 32, 32))[:, :, : size // 2, : size // 2]
    waves = np.cos(np.pi * (np.arange(size) + 0.5)[:, None] * (number - 1) / size)
    smooth = waves @ (strength / np.hypot(number[:, None], number) ** 1.5) @ waves.T
    low, high = smooth.min(axis=(1, 2, 3), keepdims=True), smooth.max(axis=(1, 2, 3), keepdims=True)
    pixels: np.ndarray = np.rint(20 + 200 * (smooth - low) / (high - low)).astype(np.uint8)
    return pixels


def minting(run: str) -> Minting:
    return Minting(run=run, checkpoint="00", images_seen=1, recipe="demo", seed=0, trained_on="11")


@contextmanager
def folder() -> Iterator[Path]:
    """A fresh folder for one example of hypothesis (its fixture would be shared by all examples)."""
    with tempfile.TemporaryDirectory() as path:
        yield Path(path)


@st.composite
def drawn(draw: st.DrawFn, *, labelled: bool = False, channels: int | None = None) -> tuple[np.ndarray, list[int]]:
    """Pixels and labels of 1 to 24 images of 3 classes; some images repeat, some are unlabelled."""
    channels = draw(st.sampled_from([1, 3])) if channels is None else channels
    height, width = draw(st.integers(1, 7)), draw(st.integers(1, 7))
    which = draw(st.lists(st.integers(0, 11), min_size=1, max_size=24))
    labels = draw(st.lists(st.integers(0 if labelled else -1, 2), min_size=len(which), max_size=len(which)))
    return noise(12, channels, height, width, seed=draw(st.integers(0, 3)))[which], labels


def multiset(pack: Pack) -> list[tuple[bytes, str]]:
    """What a pack holds, whatever the order: sorted pixels with the name of their class."""
    names = [*pack.classes, ""]
    return sorted(
        (np.asarray(pixels).tobytes(), names[label]) for pixels, label in zip(pack.pixels, pack.labels, strict=True)
    )
