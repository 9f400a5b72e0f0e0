"""Laws of the split: a partition, in proportion, with no picture on two sides."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from imagemint import progress
from imagemint.data.split import SIDES, assign, split
from imagemint.errors import ArgumentError, PackError
from tests.data.edit_packs import drawn, folder, make, multiset, noise, photos

laws = settings(max_examples=60, deadline=None)
shares = st.sampled_from([(0.8, 0.2), (0.5, 0.5), (0.8, 0.1, 0.1), (0.7, 0.15, 0.15), (0.9, 0.05, 0.05)])


@laws
@given(st.lists(st.integers(0, 5), min_size=1, max_size=300), shares, st.integers(0, 99))
def test_every_class_is_shared_out_to_within_one_image_and_is_on_every_side(
    labels: list[int], parts: tuple[float, ...], seed: int
) -> None:
    of, share = np.array(labels), np.array(parts)
    sides = assign(of, np.arange(len(of)), share, seed)
    served = [0, len(parts) - 1, *range(1, len(parts) - 1)]  # train, test, validation
    moved = 0
    for label in set(labels):
        got, count = np.bincount(sides[of == label], minlength=len(share)), (of == label).sum()
        assert (got[served[: min(count, len(parts))]] > 0).all()
        exact = share * count
        if exact.min() >= 1:
            assert (np.abs(got - exact) < 1).all()
        moved += (exact < 1).sum()
    assert (np.abs(np.bincount(sides, minlength=len(share)) - share * len(of)) < 2 + moved).all()


def test_classes_together_fill_the_sides_in_proportion() -> None:
    labels = np.repeat(np.arange(20), 15)  # 12 + one and a half + one and a half in each class
    sides = assign(labels, np.arange(300), np.array([0.8, 0.1, 0.1]), 0)
    assert np.bincount(sides).tolist() == [240, 30, 30]


@pytest.mark.parametrize(
    ("count", "parts", "expected"),
    [
        (1, (0.5, 0.5), [1, 0]),
        (1, (0.1, 0.9), [1, 0]),
        (2, (0.99, 0.01), [1, 1]),
        (2, (0.1, 0.9), [1, 1]),
        (2, (0.4, 0.4, 0.2), [1, 0, 1]),
        (3, (0.9, 0.05, 0.05), [1, 1, 1]),
        (5, (0.9, 0.05, 0.05), [3, 1, 1]),
        (100, (0.8, 0.2), [80, 20]),
        (100, (0.7, 0.1, 0.2), [70, 10, 20]),
    ],
)
def test_the_smallest_classes_train_first_and_are_tested_second(
    count: int, parts: tuple[float, ...], expected: list[int]
) -> None:
    for seed in range(5):
        sides = assign(np.zeros(count, np.int64), np.arange(count), np.array(parts), seed)
        assert np.bincount(sides, minlength=len(parts)).tolist() == expected


@pytest.mark.parametrize("sizes", [[10, 10], [2, 2], [5, 2], [40, 1], [3, 3, 3]])
def test_a_class_of_several_groups_is_on_both_sides(sizes: list[int]) -> None:
    groups = np.repeat(np.arange(len(sizes)), sizes)
    for seed in range(5):
        sides = assign(np.zeros(len(groups), np.int64), groups, np.array([0.8, 0.2]), seed)
        assert set(sides.tolist()) == {0, 1}
        assert (sides == 0).sum() >= (sides == 1).sum()


def test_filling_one_class_does_not_empty_another() -> None:
    # Group 0 holds a and b. It is all of a, so it stays where it trains; b fills its gap from its own pictures.
    labels, groups = np.array([0, 1, 1, 1]), np.array([0, 0, 1, 2])
    for seed in range(20):
        sides = assign(labels, groups, np.array([0.8, 0.2]), seed)
        assert sides[:2].tolist() == [0, 0]
        assert 1 in sides[2:]


def test_what_a_side_lacks_is_said_and_recorded(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    pixels = noise(9)
    pixels[7] = pixels[6]  # the only picture of c, twice
    pack = make(tmp_path / "pack", pixels, [0, 0, 0, 1, 1, 3, 2, 2, 0], ["a", "b", "c", "d", "e"])
    progress.turn_on()
    try:
        sides = split(pack, tmp_path / "sides", train=0.5, validation=0.25, test=0.25)
    finally:
        progress.turn_on(False)
    expected = {"train": ["e"], "validation": ["b", "c", "d", "e"], "test": ["c", "d", "e"]}
    assert list(sides) == list(SIDES)
    for side in sides.values():
        assert side.manifest.history[-1].parameters["without"] == expected
    said = capsys.readouterr().err
    assert "train has no image of 1 class (e)" in said
    assert "test has no image of 3 classes (c, d, e)" in said


def test_a_split_that_lacks_nothing_says_nothing(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    pack = make(tmp_path / "pack", noise(9), [0, 1, 2] * 3)
    progress.turn_on()
    try:
        sides = split(pack, tmp_path / "sides")
    finally:
        progress.turn_on(False)
    assert "without" not in sides["train"].manifest.history[-1].parameters
    assert "no image" not in capsys.readouterr().err


@laws
@given(
    st.lists(st.tuples(st.integers(-1, 3), st.integers(0, 20)), min_size=1, max_size=120), shares, st.integers(0, 9)
)
def test_no_group_is_torn_and_unlabelled_images_train(
    images: list[tuple[int, int]], parts: tuple[float, ...], seed: int
) -> None:
    labels, groups = np.array(images).T
    sides = assign(labels, groups, np.array(parts), seed)
    assert sides.min() >= 0
    assert sides.max() < len(parts)
    for group in set(groups.tolist()):
        assert len(set(sides[groups == group].tolist())) == 1
    assert (sides[labels == -1] == 0).all()


@settings(max_examples=15, deadline=None)
@given(drawn(), st.integers(0, 9))
def test_a_split_is_a_partition_and_repeats(images: tuple[np.ndarray, list[int]], seed: int) -> None:
    with folder() as path:
        pack = make(path / "pack", *images)
        try:
            sides = split(pack, path / "sides", test=0.4, seed=seed)
        except PackError as error:
            assert "would get none" in str(error)  # noqa: PT017 (both outcomes are lawful, each with its own law)
            assert not (path / "sides").exists()
            return
        assert sorted(each for side in sides.values() for each in multiset(side)) == multiset(pack)
        pictures = [{pixels for pixels, _ in multiset(side)} for side in sides.values()]
        assert not pictures[0] & pictures[1]
        again = split(pack, path / "again", test=0.4, seed=seed)
        assert [side.fingerprint for side in again.values()] == [side.fingerprint for side in sides.values()]


def test_near_duplicates_stay_on_one_side_and_are_reported(tmp_path: Path) -> None:
    pixels = photos(60)
    copies = (pixels[:20] * 0.9).astype(np.uint8)
    pack = make(
        tmp_path / "pack",
        np.concatenate([pixels, copies]),
        [0, 1, 2] * 20 + [0, 1] * 10,
        columns={"where": [*range(60), *range(20)]},
    )
    sides = split(pack, tmp_path / "near", train=0.5, validation=0.25, test=0.25)
    pictures = [set(np.asarray(side.columns["where"]).tolist()) for side in sides.values()]
    assert sum(map(len, pictures)) == 60, "a copy is on another side than its picture"
    step = sides["validation"].manifest.history[-1]
    assert step.parents == [pack.fingerprint]
    assert step.parameters["side"] == "validation"
    assert step.parameters["kept_together"] == {"groups": 20, "images": 40, "largest": 2, "cut": 0}
    exact_only = split(pack, tmp_path / "exact", train=0.5, validation=0.25, test=0.25, near=False)
    assert exact_only["train"].manifest.history[-1].parameters["kept_together"]["groups"] == 0


def test_other_seeds_split_otherwise(tmp_path: Path) -> None:
    pack = make(tmp_path / "pack", noise(40), [0, 1] * 20)
    one, two = (split(pack, tmp_path / str(seed), seed=seed)["test"].fingerprint for seed in (0, 1))
    assert one != two


def test_shares_that_do_not_fit_are_refused(tmp_path: Path) -> None:
    pack = make(tmp_path / "pack", noise(4), [0, 0, 1, 1])
    with pytest.raises(PackError, match=r"train 0.8 \+ validation 0 \+ test 0.3 = 1.1"):
        split(pack, tmp_path / "x", train=0.8, test=0.3)
    with pytest.raises(PackError, match=r"train -0.2"):
        split(pack, tmp_path / "x", validation=0.6, test=0.6)
    with pytest.raises(ArgumentError, match="test nan; wanted a number"):
        split(pack, tmp_path / "x", test=math.nan)
    single = make(tmp_path / "single", noise(3), [0, 1, 2])
    with pytest.raises(PackError, match=r"test would get none of the 3 images.*raise its share \(0.01\)"):
        split(single, tmp_path / "x", test=0.01)
    (tmp_path / "taken").mkdir()
    with pytest.raises(PackError, match="already there"):
        split(pack, tmp_path / "taken")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["pack", "single", "taken"]


@pytest.mark.parametrize(
    ("parts", "seed", "expected"),
    [
        ((0.7, 0.3), 0, "000100110101100011000100000100001100101000000000000000000100"),
        ((0.7, 0.3), 5, "010000110001000000010011000001001010001000101000000001000001"),
        ((0.6, 0.15, 0.25), 0, "000200120102200012000200100200002200202000100001000001001200"),
    ],
)
def test_a_seed_gives_the_split_that_it_always_gave(parts: tuple[float, ...], seed: int, expected: str) -> None:
    images = np.arange(60)
    labels = images * 7 % 13 // 2 - 1  # unlabelled and six classes
    groups = np.where(images % 5 == 0, images // 15 * 15, images)  # four groups of three, the others alone
    assert "".join(map(str, assign(labels, groups, np.array(parts), seed).tolist())) == expected
    with_numbers_apart = assign(labels, groups * 3 + 7, np.array(parts), seed)
    assert np.bincount(with_numbers_apart).tolist() == np.bincount([int(side) for side in expected]).tolist()


def test_the_default_split_is_four_fifths_and_one_of_seed_0(tmp_path: Path) -> None:
    pack = make(tmp_path / "pack", noise(40), [0, 1] * 20)
    sides = split(pack, tmp_path / "sides")
    assert {name: len(side) for name, side in sides.items()} == {"train": 32, "test": 8}
    named = split(pack, tmp_path / "named", train=0.8, validation=0.0, test=0.2, seed=0, near=True)
    assert [side.fingerprint for side in named.values()] == [side.fingerprint for side in sides.values()]


def test_groups_go_where_their_classes_are_lacking(tmp_path: Path) -> None:
    # Of 20 images half are in one group, which fills the first side; the single ones fill the others.
    groups = np.array([0] * 10 + [*range(1, 11)])
    sides = assign(np.zeros(20, np.int64), groups, np.array([0.5, 0.3, 0.2]), 0)
    assert np.bincount(sides).tolist() == [10, 6, 4]
    assert (sides[:10] == 0).all()
    # A group larger than any quota: what is missing is shared, and nobody gets a negative number of images.
    sides = assign(np.zeros(12, np.int64), np.array([0] * 10 + [1, 2]), np.array([0.6, 0.2, 0.2]), 0)
    assert np.bincount(sides).tolist() == [10, 1, 1]


@laws
@given(st.data())
def test_every_class_with_two_separate_pictures_trains_and_is_tested(data: st.DataObject) -> None:
    sizes = data.draw(st.lists(st.integers(1, 6), min_size=1, max_size=12))
    groups = np.repeat(np.arange(len(sizes)), sizes)
    of_group = np.array(data.draw(st.lists(st.integers(0, 3), min_size=len(sizes), max_size=len(sizes))))
    parts = data.draw(shares)
    sides = assign(of_group[groups], groups, np.array(parts), data.draw(st.integers(0, 9)))
    served = [0, len(parts) - 1, *range(1, len(parts) - 1)]
    for label in set(of_group.tolist()):
        pictures = int((of_group == label).sum())
        got = set(sides[of_group[groups] == label].tolist())
        assert got >= set(served[:pictures])


def test_shares_may_sum_to_one_up_to_rounding_and_one_side_may_be_all(tmp_path: Path) -> None:
    pack = make(tmp_path / "pack", noise(9), [0, 1, 2] * 3)
    assert set(split(pack, tmp_path / "a", train=0.5 + 5e-7, test=0.5)) == {"train", "test"}
    with pytest.raises(PackError, match="shares from 0 to 1 that sum to 1"):
        split(pack, tmp_path / "x", train=0.5 + 2e-6, test=0.5)
    with pytest.raises(PackError, match="shares from 0 to 1 that sum to 1"):
        split(pack, tmp_path / "x", train=0.5 - 2e-6, test=0.5)
    assert {name: len(side) for name, side in split(pack, tmp_path / "b", test=1.0).items()} == {"test": 9}
    assert {name: len(side) for name, side in split(pack, tmp_path / "c", test=0).items()} == {"train": 9}
    thirds = split(pack, tmp_path / "d", validation=1 / 3, test=1 / 3)
    assert [len(side) for side in thirds.values()] == [3, 3, 3]
