"""Which images count as one picture twice."""

from __future__ import annotations

import io
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from imagemint.data import duplicates, edit
from tests.data.edit_packs import folder, make, noise, photos


def jpeg(pixels: np.ndarray) -> np.ndarray:
    buffer = io.BytesIO()
    Image.fromarray(pixels[0]).save(buffer, "JPEG", quality=60)
    return np.asarray(Image.open(buffer))[None]


def rescaled(pixels: np.ndarray) -> np.ndarray:
    h, w = pixels.shape[1:]
    small = Image.fromarray(pixels[0]).resize((w * 3 // 4, h * 3 // 4), Image.Resampling.BILINEAR)
    return np.asarray(small.resize((w, h), Image.Resampling.BICUBIC))[None]


SAME: dict[str, Callable[[np.ndarray], np.ndarray]] = {
    "re-encoded": jpeg,
    "rescaled": rescaled,
    "brighter": lambda p: np.minimum(p * 1.1, 255).astype(np.uint8),
    "less contrast": lambda p: (p * 0.7 + 40).astype(np.uint8),
    "noisy": lambda p: np.clip(p + np.random.default_rng(0).normal(0, 3, p.shape), 0, 255).astype(np.uint8),
}
OTHER: dict[str, Callable[[np.ndarray], np.ndarray]] = {
    "mirrored": lambda p: p[:, :, ::-1],
    "upside down": lambda p: p[:, ::-1],
    "inverted": lambda p: 255 - p,
    "shifted": lambda p: np.roll(p, 6, axis=2),
}


@pytest.mark.parametrize("size", [28, 32, 64])
@pytest.mark.parametrize("change", SAME)
def test_a_changed_copy_is_found_and_nothing_else(tmp_path: Path, size: int, change: str) -> None:
    pixels = photos(40, size)
    copies = np.stack([SAME[change](each) for each in pixels])
    pack = make(tmp_path / "pack", np.concatenate([pixels, copies]), [0] * 80)
    np.testing.assert_array_equal(duplicates.near_groups(pack).first, np.tile(np.arange(40), 2))
    assert duplicates.exact_groups(pack).together() == (0, 0, 0)


def test_the_smallest_hashed_images_are_found_too(tmp_path: Path) -> None:
    pixels = photos(40, 16)
    pack = make(tmp_path / "pack", np.concatenate([pixels, SAME["noisy"](pixels)]), [0] * 80)
    np.testing.assert_array_equal(duplicates.near_groups(pack).first, np.tile(np.arange(40), 2))


@pytest.mark.parametrize("change", OTHER)
def test_another_picture_is_not_a_duplicate(tmp_path: Path, change: str) -> None:
    pixels = photos(40)
    others = np.stack([OTHER[change](each) for each in pixels])
    pack = make(tmp_path / "pack", np.concatenate([pixels, others]), [0] * 80)
    assert duplicates.near_groups(pack).together() == (0, 0, 0)


def test_a_red_shape_is_not_the_blue_one(tmp_path: Path) -> None:
    y, x = np.mgrid[:32, :32]
    disc = ((x - 14) ** 2 + (y - 17) ** 2 < 64).astype(np.uint8)
    black = np.zeros_like(disc)
    red, green = np.stack([disc * 255, black, black]), np.stack([black, disc * 130, black])  # equally light
    darker_red = np.stack([disc * 230, black, black])
    groups = duplicates.near_groups(make(tmp_path / "pack", np.stack([red, green, darker_red]), [0, 1, 0]))
    assert groups.first.tolist() == [0, 1, 0]


def test_flat_images_are_like_nothing(tmp_path: Path) -> None:
    pixels = np.full((4, 1, 32, 32), [[[[10]]], [[[11]]], [[[200]]], [[[10]]]], np.uint8)
    assert duplicates.near_groups(make(tmp_path / "pack", pixels, [0] * 4)).first.tolist() == [0, 1, 2, 0]


def test_below_16_pixels_only_rounding_counts(tmp_path: Path) -> None:
    pixels = noise(30, 1, 8, 8) // 2 + 50
    rounded = pixels + np.random.default_rng(0).integers(0, 3, pixels.shape, dtype=np.uint8)
    brighter = pixels + 5
    pack = make(tmp_path / "pack", np.concatenate([pixels, rounded, brighter]), [0] * 90)
    first = duplicates.near_groups(pack).first
    np.testing.assert_array_equal(first[:60], np.tile(np.arange(30), 2))
    np.testing.assert_array_equal(first[60:], np.arange(60, 90))


def test_the_digits_of_scikit_learn_are_not_glued_together(tmp_path: Path) -> None:
    from sklearn.datasets import load_digits

    digits = load_digits()
    pixels = np.rint(digits.images * 255 / 16).astype(np.uint8)[:, None]
    pack = make(tmp_path / "pack", pixels, digits.target, [str(k) for k in range(10)])
    assert duplicates.linked_groups(pack).together() == (0, 0, 0)


def test_look_alikes_among_mnist_are_few(shared_data: Path, tmp_path: Path) -> None:
    import gzip

    raw = gzip.decompress((shared_data / "mnist" / "t10k-images-idx3-ubyte.gz").read_bytes())
    pixels = np.frombuffer(raw, np.uint8, offset=16).reshape(-1, 1, 28, 28)[:5000]
    labels = np.frombuffer(
        gzip.decompress((shared_data / "mnist" / "t10k-labels-idx1-ubyte.gz").read_bytes()), np.uint8, offset=8
    )[:5000].astype(np.int64)
    groups = duplicates.linked_groups(make(tmp_path / "pack", pixels, labels, [str(k) for k in range(10)]))
    _, images, largest = groups.together()
    assert images < 0.01 * len(pixels)
    assert largest <= 3
    np.testing.assert_array_equal(labels[groups.first], labels)  # no two classes are glued


def test_a_chain_is_linked_for_a_split_but_not_for_removal(tmp_path: Path) -> None:
    a, b = photos(2, 32).astype(np.float64)
    chain = np.stack([np.rint(a + (b - a) * t) for t in np.linspace(0, 0.25, 9)]).astype(np.uint8)
    pack = make(tmp_path / "pack", np.concatenate([chain, photos(30, 32, seed=9)]), [0] * 39)
    assert duplicates.linked_groups(pack).first[:9].tolist() == [0] * 9
    removed = duplicates.near_groups(pack).first[:9]
    assert len(set(removed.tolist())) > 1, "the ends of this chain are different pictures"
    kept = edit.dedup(pack, tmp_path / "kept", near=True)
    assert duplicates.near_groups(kept).together() == (0, 0, 0)
    assert edit.dedup(kept, tmp_path / "again", near=True).fingerprint == kept.fingerprint


def test_a_chain_is_cut_at_the_largest_size_and_says_so(tmp_path: Path) -> None:
    a, b = photos(2, 32).astype(np.float64)
    chain = np.stack([np.rint(a + (b - a) * t) for t in np.linspace(0, 0.25, 9)]).astype(np.uint8)
    twins = np.concatenate([chain, chain])  # exact duplicates are one picture, and are never cut
    groups = duplicates.linked_groups(make(tmp_path / "pack", twins, [0] * 18), largest=4)
    sizes = np.bincount(groups.first)
    assert sizes.max() <= 8
    assert groups.cut > 0
    np.testing.assert_array_equal(groups.first[:9], groups.first[9:])


@settings(max_examples=20, deadline=None)
@given(st.lists(st.integers(0, 9), min_size=1, max_size=30), st.integers(0, 5))
def test_exact_groups_are_equality_of_pixels(which: list[int], seed: int) -> None:
    with folder() as path:
        pixels = noise(10, 3, 4, 4, seed)[which]
        first = duplicates.exact_groups(make(path / "pack", pixels, [0] * len(which))).first
        assert first.tolist() == [which.index(each) for each in which]


def test_the_hash_is_the_median_rule_on_an_independent_cosine_transform() -> None:
    from scipy.fft import dctn

    pixels = photos(5, 32)
    for image, code in zip(pixels, duplicates.perceptual_hashes(pixels), strict=True):
        waves = dctn(image[0].astype(float), type=2)[:8, :8].ravel()
        over = waves > np.median(waves[1:])
        over[0] = False
        np.testing.assert_array_equal(np.unpackbits(np.array([code]).view(np.uint8)).astype(bool), over)
