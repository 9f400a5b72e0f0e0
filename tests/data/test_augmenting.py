"""Laws of the changed copies that `augment` writes."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from typer.testing import CliRunner

from imagemint import augment as augmentation
from imagemint import seeds
from imagemint.cli import app
from imagemint.data import edit
from imagemint.data.edit.augmenting import PRESETS, Draw, Ranges, augment, vary
from imagemint.data.pack import Pack
from imagemint.errors import ArgumentError, PackError
from imagemint.images import to_images, to_pixels
from tests.data.edit_packs import make, noise, photos


@pytest.fixture
def pack(tmp_path: Path) -> Pack:
    return make(tmp_path / "pack", photos(6, 20, 3), [0, 1, 2, -1, 1, 0], columns={"where": range(6)})


def test_variants_follow_their_image_and_inherit_from_it(pack: Pack, tmp_path: Path) -> None:
    after = augment(pack, tmp_path / "after", 3, ranges="strong")
    assert len(after) == 24
    np.testing.assert_array_equal(after.labels, np.repeat(pack.labels, 4))
    np.testing.assert_array_equal(after.columns["where"], np.repeat(np.arange(6), 4))
    np.testing.assert_array_equal(after.columns["variant"], np.tile([0, 1, 2, 3], 6))
    np.testing.assert_array_equal(after.pixels[::4], pack.pixels)
    assert after.manifest.origin == "augmented"
    assert after.manifest.history[-1].parents == [pack.fingerprint]
    alone = augment(pack, tmp_path / "alone", 3, ranges="strong", keep=False)
    np.testing.assert_array_equal(alone.pixels, after.pixels[np.asarray(after.columns["variant"]) > 0])


KINDS = ["classic", "strong", "sterzinger", "elastic", "cutout", "noise"]  # those of AUGMENTATIONS for one image


@pytest.mark.parametrize(
    "how", [*({"ranges": name} for name in PRESETS), *({"kind": name} for name in KINDS)], ids=str
)
def test_a_variant_depends_on_seed_image_and_number_alone(
    pack: Pack, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, how: dict[str, Any]
) -> None:
    whole = augment(pack, tmp_path / "whole", 3, seed=4, **how)

    def one_by_one(self: Pack, order: np.ndarray, block_bytes: int = 0) -> Iterator[np.ndarray]:
        yield from order.reshape(-1, 1)

    monkeypatch.setattr(Pack, "blocks", one_by_one)
    assert augment(pack, tmp_path / "single", 3, seed=4, **how).fingerprint == whole.fingerprint
    fewer = augment(pack, tmp_path / "fewer", 2, seed=4, **how)
    np.testing.assert_array_equal(fewer.pixels, whole.pixels[np.asarray(whole.columns["variant"]) < 3])
    assert augment(pack, tmp_path / "other", 3, seed=5, **how).fingerprint != whole.fingerprint


@pytest.mark.parametrize("kind", KINDS)
def test_a_kind_changes_images_as_the_classifiers_of_a_study_see_them(pack: Pack, tmp_path: Path, kind: str) -> None:
    after = augment(pack, tmp_path / "after", 2, kind=kind, seed=4)
    kept, first, second = after.pixels.reshape(6, 3, *pack.pixels.shape[1:]).swapaxes(0, 1)
    np.testing.assert_array_equal(kept, pack.pixels)
    assert (first != second).any(axis=(1, 2, 3)).all() and (first != kept).any(axis=(1, 2, 3)).all()
    for image in range(6):
        images = to_images(torch.from_numpy(np.array(pack.pixels[image : image + 1])))
        generator = seeds.generator(4, f"augment {kind} 2", image)
        seen = to_pixels(augmentation.augment(images, generator, augmentation.AUGMENTATIONS[kind]))
        np.testing.assert_array_equal(second[image], seen[0].numpy())
    assert after.manifest.history[-1].parameters["kind"] == kind
    np.testing.assert_array_equal(after.labels, np.repeat(pack.labels, 3))


def test_every_kind_that_takes_one_image_is_there_and_the_numbers_of_sterzinger_stand_in_both_tables_alike() -> None:
    table = augmentation.AUGMENTATIONS
    assert [name for name, row in table.items() if row.mixing == "none"] == KINDS
    row, preset = table["sterzinger"], PRESETS["strong"]
    sizes = row.movement.size - row.movement.zoom, row.movement.size + row.movement.zoom
    assert preset.zoom == (1 / sizes[1], 1 / sizes[0]) and preset.rotation == row.movement.rotate
    assert preset.brightness == pytest.approx((row.light[0] - row.light[1], row.light[0] + row.light[1]))
    assert row.flips and preset.flip_horizontal == 0.5


def test_ranges_of_nothing_change_nothing(pack: Pack, tmp_path: Path) -> None:
    same = augment(pack, tmp_path / "same", 1, ranges=Ranges(), keep=False)
    assert same.fingerprint == pack.fingerprint


@pytest.mark.parametrize(
    ("ranges", "expected"),
    [
        (Ranges(flip_horizontal=1), lambda p: p[..., ::-1]),
        (Ranges(flip_vertical=1), lambda p: p[..., ::-1, :]),
    ],
)
def test_certain_changes_are_what_they_say(pack: Pack, tmp_path: Path, ranges: Ranges, expected: Any) -> None:
    changed = augment(pack, tmp_path / "changed", 1, ranges=ranges, keep=False)
    np.testing.assert_array_equal(changed.pixels, expected(np.asarray(pack.pixels)))


def test_brightness_is_a_factor_clipped_at_white(pack: Pack, tmp_path: Path) -> None:
    for factor in (0.25, 1.5):
        ranges = Ranges(brightness=(factor, factor))
        changed = augment(pack, tmp_path / str(factor), 1, ranges=ranges, keep=False)
        exact = np.minimum(np.asarray(pack.pixels) * factor, 255)
        assert np.abs(np.asarray(changed.pixels) - exact).max() <= 0.501


def test_a_quarter_turn_and_a_zoom_agree_with_numpy() -> None:
    pixels, still = photos(2, 9), np.zeros((2, 4, 4))
    turned = vary(pixels, [Draw(np.array([[0.0, 1.0], [-1.0, 0.0]]), still, 1.0)] * 2)
    assert any((turned == np.rot90(pixels, times, (2, 3))).all() for times in (1, 3))
    enlarged = vary(pixels, [Draw(np.eye(2) * 0.5, still, 1.0)] * 2)
    np.testing.assert_array_equal(enlarged[:, :, ::2, ::2], pixels[:, :, 2:7, 2:7])


@pytest.mark.parametrize("shape", [(1, 1), (1, 7), (2, 5)])
def test_the_smallest_images_go_through(tmp_path: Path, shape: tuple[int, int]) -> None:
    small = make(tmp_path / "small", noise(3, 1, *shape), [0, 1, 2])
    assert len(augment(small, tmp_path / "after", 2)) == 9


def test_what_cannot_be_is_refused(pack: Pack, tmp_path: Path) -> None:
    with pytest.raises(PackError, match="preset 'wild'; wanted strong, gentle, unflipped"):
        augment(pack, tmp_path / "x", ranges="wild")
    with pytest.raises(PackError, match="kind 'wild', which is none; wanted classic, strong, sterzinger, elastic"):
        augment(pack, tmp_path / "x", kind="wild")
    with pytest.raises(PackError, match="kind 'mixup', which puts two images together; wanted classic"):
        augment(pack, tmp_path / "x", kind="mixup")
    for more in (["--rotation", "3"], ["--preset", "strong"], ["--flip-vertical", "0.5"]):
        words = ["edit", "augment", str(pack.path), str(tmp_path / "x"), "--kind", "classic", *more]
        found = CliRunner().invoke(app, words)
        assert isinstance(found.exception, PackError) and f"--kind and {more[0]}" in str(found.exception)
    with pytest.raises(ArgumentError, match="variants 0; wanted 1 to 1,000"):
        augment(pack, tmp_path / "x", 0)
    with pytest.raises(ArgumentError, match=r"variants 2\.0; wanted a whole number"):
        augment(pack, tmp_path / "x", 2.0)  # type: ignore[arg-type]
    with pytest.raises(PackError, match=r"zoom 0\.5; wanted two numbers"):
        Ranges(zoom=0.5)  # type: ignore[arg-type]
    with pytest.raises(ArgumentError, match="shear nan"):
        Ranges(shear=float("nan"))
    with pytest.raises(PackError, match=r"zoom \(1.0, 0.5\)"):
        Ranges(zoom=(1.0, 0.5))
    with pytest.raises(PackError, match="rotation 200"):
        Ranges(rotation=200)
    assert not (tmp_path / "x").exists()


def test_augmenting_minted_images_is_a_mixture(tmp_path: Path) -> None:
    minted = make(tmp_path / "minted", noise(2), [0, 1], origin="minted")
    assert edit.augment(minted, tmp_path / "after").manifest.origin == "mixed"
