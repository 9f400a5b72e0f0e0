"""Laws of the split: a partition, in proportion, with no picture on two sides."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from imagemint.data.split import assign, split
from imagemint.errors import PackError
from tests.data.edit_packs import drawn, folder, make, multiset, noise, photos

laws = settings(max_examples=60, deadline=None)
shares = st.sampled_from([(0.8, 0.2), (0.5, 0.5), (0.8, 0.1, 0.1), (0.7, 0.15, 0.15), (0.9, 0.05, 0.05)])


@laws
@given(st.lists(st.integers(0, 5), min_size=1, max_size=300), shares, st.integers(0, 99))
def test_every_class_is_shared_out_to_within_one_image(
    labels: list[int], parts: tuple[float, ...], seed: int
) -> None:
    of, share = np.array(labels), np.array(parts)
    sides = assign(of, np.arange(len(of)), share, seed)
    for label in set(labels):
        got = np.bincount(sides[of == label], minlength=len(share))
        assert (np.abs(got - share * (of == label).sum()) < 1).all()
    assert (np.abs(np.bincount(sides, minlength=len(share)) - share * len(of)) < 2).all()


def test_small_classes_together_fill_every_side() -> None:
    labels = np.repeat(np.arange(20), 5)  # 4 + half an image + half an image in each class
    sides = assign(labels, np.arange(100), np.array([0.8, 0.1, 0.1]), 0)
    assert np.bincount(sides).tolist() == [80, 10, 10]


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
    with pytest.raises(PackError, match="test would get none of the 4 images"):
        split(pack, tmp_path / "x", test=0.01)
    (tmp_path / "taken").mkdir()
    with pytest.raises(PackError, match="already there"):
        split(pack, tmp_path / "taken")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["pack", "taken"]
