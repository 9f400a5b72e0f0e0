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


@pytest.mark.parametrize("channels", [1, 3])
def test_the_hash_is_the_median_rule_on_an_independent_cosine_transform(channels: int) -> None:
    from scipy.fft import dctn

    weights = [0.2989, 0.5870, 0.1140] if channels == 3 else [1.0]
    pixels = photos(5, 32, channels)
    for image, code in zip(pixels, duplicates.perceptual_hashes(pixels), strict=True):
        waves = dctn(np.tensordot(weights, image.astype(float), 1), type=2)[:8, :8].ravel()
        over = waves > np.median(waves[1:])
        over[0] = False
        np.testing.assert_array_equal(np.unpackbits(np.array([code]).view(np.uint8)).astype(bool), over)


# Thresholds, and the tiles of the table


def steps(count: int, by: int = 1) -> np.ndarray:
    """Small images that get lighter by `by` levels from one to the next: uint8 `[count, 1, 8, 8]`."""
    return (noise(1, 1, 8, 8) // 2 + by * np.arange(count, dtype=np.uint8)[:, None, None, None]).astype(np.uint8)


def test_small_images_are_one_picture_up_to_two_levels(tmp_path: Path) -> None:
    first = duplicates.near_groups(make(tmp_path / "pack", steps(8), [0] * 8)).first
    assert first.tolist() == [0, 0, 0, 3, 3, 3, 6, 6]  # 2 levels is as near as 1; 3 is another picture
    pixels = np.repeat(steps(1), 3, axis=0)
    pixels[1] += 2
    pixels[1, 0, 0, 0] -= 1  # just below 2, root mean square
    pixels[2] += 2
    pixels[2, 0, 0, 0] += 1  # just above
    below, above = (make(tmp_path / str(k), pixels[[0, k]], [0, 0]) for k in (1, 2))
    assert duplicates.near_groups(below).first.tolist() == [0, 0]
    assert duplicates.near_groups(above).first.tolist() == [0, 1]


def test_a_chain_grows_to_20_pictures_or_5_percent_of_the_pack(tmp_path: Path) -> None:
    chain = steps(60)
    groups = duplicates.linked_groups(make(tmp_path / "alone", chain, [0] * 60))
    sizes = np.bincount(groups.first)
    assert sizes.max() == 20
    assert groups.cut > 0
    rest = noise(700, 1, 8, 8, seed=5)
    largest = duplicates.linked_groups(make(tmp_path / "many", np.concatenate([chain, rest]), [0] * 760)).together()[
        2
    ]
    assert largest == 38
    whole = duplicates.linked_groups(make(tmp_path / "whole", chain, [0] * 60), largest=60)
    assert (whole.together(), whole.cut) == ((1, 60, 60), 0)
    assert whole.first.tolist() == [0] * 60


@pytest.mark.parametrize("pairs_at_a_time", [1, 1000])
def test_cut_links_are_counted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, pairs_at_a_time: int) -> None:
    # In steps of 2 levels each image is near its neighbours alone: four links, of which two join and two are cut,
    # found before their pixels are read where pairs come one at a time, and after it where they come together.
    monkeypatch.setattr(duplicates, "_CONFIRM_BYTES", pairs_at_a_time * 128)
    groups = duplicates.linked_groups(make(tmp_path / "pack", steps(5, by=2), [0] * 5), largest=2)
    assert (groups.first.tolist(), groups.cut) == ([0, 0, 2, 2, 4], 2)


def test_what_is_near_does_not_depend_on_labels_or_order(tmp_path: Path) -> None:
    pixels = np.concatenate([photos(20), (photos(20) * 0.8).astype(np.uint8)])
    forwards = duplicates.linked_groups(make(tmp_path / "a", pixels, [0] * 40)).together()
    backwards = duplicates.linked_groups(make(tmp_path / "b", pixels[::-1], [0, 1] * 20)).together()
    assert forwards == backwards == (20, 40, 2)
    assert duplicates.Groups(np.arange(3)).cut == 0


def test_together_counts_groups_images_and_the_largest() -> None:
    assert duplicates.Groups(np.array([0, 1, 0, 3, 1, 0])).together() == (2, 5, 3)
    assert duplicates.Groups(np.array([0, 1, 2])).together() == (0, 0, 0)


@pytest.mark.parametrize("apart", [0, 6, 7])
@pytest.mark.parametrize("size", [15, 16])
def test_six_bits_of_64_are_near_enough_to_look_at_the_pixels(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, apart: int, size: int
) -> None:
    pixels = photos(1, 16)[:, :, :size, :size]
    pixels = np.concatenate([pixels, np.clip(pixels.astype(int) + 4, 0, 255).astype(np.uint8)])  # the same, lighter
    hashes = np.array([0, (1 << apart) - 1], np.uint64)
    monkeypatch.setattr(duplicates, "perceptual_hashes", lambda images: hashes[: len(images)])
    first = duplicates.near_groups(make(tmp_path / "pack", pixels, [0, 0])).first
    hashed = size >= 16  # smaller images have too few frequencies, and 4 levels are too many for them
    assert first.tolist() == ([0, 0] if hashed and apart <= 6 else [0, 1])


def agreement(a: np.ndarray, b: np.ndarray) -> tuple[float, float]:
    """Correlations of two images `[c, h, w]` in outline and in colour, by scipy's cosine transform."""
    from scipy.fft import dctn

    weights = np.array([0.2989, 0.5870, 0.1140] if len(a) == 3 else [1.0])

    def outline(image: np.ndarray) -> np.ndarray:
        gray = np.tensordot(weights, image.astype(float), 1)
        waves = dctn(gray, type=2)[:12, :12]
        up, across = np.mgrid[: waves.shape[0], : waves.shape[1]]
        return (waves * np.hypot(up, across)).ravel()

    def correlated(x: np.ndarray, y: np.ndarray) -> float:
        return float(x @ y / np.linalg.norm(x) / np.linalg.norm(y))

    centred = [(image.astype(float) - image.mean()).ravel() for image in (a, b)]
    return correlated(outline(a), outline(b)), correlated(*centred)


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("size", [16, 40])
def test_a_picture_is_the_same_from_99_percent_in_outline_and_90_in_colour(channels: int, size: int) -> None:
    a, b = photos(2, size, channels).astype(float)
    blends = [a + (b - a) * share for share in np.linspace(0, 0.5, 400)]
    if channels == 3:  # and the same outline in other colours
        tint = np.array([1.0, -0.5, 0.1])[:, None, None] * (a.mean(0, keepdims=True) - a.mean())
        tint -= np.tensordot([0.2989, 0.5870, 0.1140], tint, 1)[None]
        blends += [a + tint * share for share in np.linspace(0, 3, 60)]
    pixels = np.stack([np.clip(np.rint(image), 0, 255) for image in [a, *blends]]).astype(np.uint8)
    count = len(pixels) - 1
    said = duplicates._same_picture(pixels, np.zeros(count, np.int64), np.arange(1, count + 1))
    sides = set()
    for same, image in zip(said.tolist(), pixels[1:], strict=True):
        outline, colour = agreement(pixels[0], image)
        if min(abs(outline - 0.99), abs(colour - 0.9)) > 1e-5:
            assert same == (outline >= 0.99 and colour >= 0.9), (outline, colour)
            sides.add((outline >= 0.99, colour >= 0.9))
    assert {(True, True), (False, True)} <= sides
    assert channels == 1 or (True, False) in sides


def test_the_table_of_pairs_is_the_same_in_tiles_of_any_size(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pixels = np.concatenate([steps(20, by=2), noise(20, 1, 8, 8), steps(20, by=2) + 1])
    pack = make(tmp_path / "pack", pixels, [0] * 60)
    apart = ((pixels[:, None].astype(float) - pixels[None]) ** 2).mean(axis=(2, 3, 4)) ** 0.5
    first = np.arange(60)
    for k in range(60):  # the definition, literally
        near = [j for j in range(k) if first[j] == j and apart[j, k] <= 2]
        first[k] = near[0] if near else k
    for rows, columns, confirm, hashes in ((512, 8192, 4 << 20, 8 << 20), (7, 11, 300, 100), (60, 1, 1, 1)):
        monkeypatch.setattr(duplicates, "_ROWS", rows)
        monkeypatch.setattr(duplicates, "_COLUMNS", columns)
        monkeypatch.setattr(duplicates, "_CONFIRM_BYTES", confirm)
        monkeypatch.setattr(duplicates, "_HASH_BYTES", hashes)
        assert duplicates.near_groups(pack).first.tolist() == first.tolist()
        linked = duplicates.linked_groups(pack, largest=60).first
        assert linked[:20].tolist() == linked[40:].tolist() == [0] * 20


def test_hashes_are_found_in_tiles_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pixels = photos(30)
    pack = make(tmp_path / "pack", np.concatenate([pixels, SAME["noisy"](pixels)]), [0] * 60)
    for name, size in (("_ROWS", 7), ("_COLUMNS", 11), ("_CONFIRM_BYTES", 5000), ("_HASH_BYTES", 3000)):
        monkeypatch.setattr(duplicates, name, size)
    np.testing.assert_array_equal(duplicates.near_groups(pack).first, np.tile(np.arange(30), 2))
    np.testing.assert_array_equal(duplicates.linked_groups(pack).first, np.tile(np.arange(30), 2))


@pytest.mark.parametrize("pairs_at_a_time", [1, 1000])
def test_links_inside_a_group_are_no_cut_links(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, pairs_at_a_time: int
) -> None:
    monkeypatch.setattr(duplicates, "_CONFIRM_BYTES", pairs_at_a_time * 128)
    groups = duplicates.linked_groups(make(tmp_path / "pack", steps(3), [0] * 3), largest=3)  # each near both others
    assert (groups.first.tolist(), groups.cut) == ([0, 0, 0], 0)
