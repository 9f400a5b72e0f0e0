"""What is compared with what, how often it counts, and the intervals that follow: on sides whose truth is known."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any, cast

import numpy as np
import pytest

from imagemint.data.pack import Pack
from imagemint.errors import MeasureError
from imagemint.metrics import kernel, manifold, measures, nearest
from imagemint.metrics.comparison import RESAMPLES, Comparison, Side, Weights
from imagemint.metrics.features import Features
from imagemint.metrics.measures import FEWEST, METRICS, Sides

CLASSES = 3
MADE = Features("pixels", "made up", "", lambda pixels: pixels)


def side(each: int, seed: int, noise: float = 1.0, moved: float = 0.0, wrong: float = 0.0) -> Side:
    """`each` images of every class around its own centre; the judge errs in a share `wrong` and is then less sure."""
    rng = np.random.default_rng(seed)
    labels = np.repeat(np.arange(CLASSES), each)
    features = 4 * np.eye(CLASSES, 5)[labels] + noise * rng.normal(size=(len(labels), 5)) + moved
    errs = rng.random(len(labels)) < wrong
    return Side(features, labels, np.where(errs, 0, labels), np.where(errs, 0.5, 0.99))


def sides(minted: Side, each: int = 60) -> Sides:
    return Sides(minted, minted, side(each, 1, wrong=0.02), side(2 * each, 2), 0)


def test_resamples_draw_as_many_of_every_class_as_there_are() -> None:
    sample, real = side(20, 0), side(30, 1).rows(np.arange(10, 90))  # unequal classes
    weights = Weights.drawn(Comparison(sample, real), 3)
    again = Weights.drawn(Comparison(sample, real), 3)
    for drawn, same, labels in (
        (weights.sample, again.sample, sample.labels),
        (weights.real, again.real, real.labels),
    ):
        assert drawn.shape == (1 + RESAMPLES, len(labels)) and np.array_equal(drawn, same)
        assert (drawn[0] == 1).all() and (drawn >= 0).all() and (drawn == drawn.round()).all()
        for label in range(CLASSES):
            assert (drawn[:, labels == label].sum(1) == (labels == label).sum()).all()
        assert drawn[1:].var(0).mean() == pytest.approx(1, abs=0.2)  # multinomial: 1 - 1 / n
        assert len(np.unique(drawn[1:], axis=0)) == RESAMPLES
    assert all((each == 1).all() for each in (Weights.once(Comparison(sample, real)).sample,))


def test_the_floor_of_the_kernel_distance_is_between_two_halves_of_every_class() -> None:
    held_out = side(21, 1)
    _, halves = sides(side(21, 0), 21).with_unseen
    rows = np.concatenate([halves.sample.features, halves.real.features])
    assert np.array_equal(np.unique(rows, axis=0), np.unique(held_out.features, axis=0))  # each once, none lost
    for label in range(CLASSES):
        assert abs(len(halves.sample.of_class(label)) - len(halves.real.of_class(label))) <= 1


def test_a_measure_of_better_images_is_better_in_its_direction() -> None:
    good, poor = (
        measures._values(sides(side(60, 5, *how)), MADE, labelled=True) for how in ((1.0,), (0.6, 3.0, 0.5))
    )
    assert set(good) == set(poor) == {MADE.named(name) if row.on_features else name for name, row in METRICS.items()}
    for name, each in good.items():
        other = poor[name]
        better = each.value > other.value if each.direction == "higher" else each.value < other.value
        assert better, name
        assert abs(each.value - each.floor) < abs(other.value - other.floor), name  # real images are no worse


def test_intervals_hold_their_value_and_keep_to_what_is_possible() -> None:
    alike = side(120, 2)
    for minted in (side(60, 5), side(60, 5, moved=100.0, wrong=1.0), alike):
        for name, each in measures._values(sides(minted), MADE, labelled=True).items():
            low, high = measures.metric_named(name).bounds
            assert low <= each.low <= each.value <= each.high <= high, name
    far = measures._values(sides(side(60, 5, moved=100.0)), MADE, labelled=True)
    assert (far["precision"].low, far["precision"].value, far["recall"].value) == (0, 0, 0)


def test_an_interval_of_a_share_ends_at_0_and_at_1() -> None:
    minted = side(20, 5)
    for right in (1, 59):
        called = np.where(np.arange(60) < right, minted.labels, (minted.labels + 1) % CLASSES)
        told = Side(minted.features, minted.labels, called, minted.confidence)
        found = measures._values(sides(told), MADE, labelled=True)["classifier_score"]
        assert found.value == right / 60
        assert (found.low == 0 and 0 < found.high < 0.2) if right == 1 else (found.high == 1 and 0.8 < found.low < 1)


def test_an_interval_is_1_96_standard_errors_wide_on_either_side() -> None:
    minted = side(400, 5, wrong=0.5)
    found = measures._values(sides(minted, 400), MADE, labelled=True)["classifier_score"]
    right = minted.predicted == minted.labels
    by_class = [right[minted.labels == label].var() / 400 for label in range(CLASSES)]
    reach = 1.96 * np.sqrt(np.sum(by_class)) / CLASSES  # of a mean over classes of equal size
    assert found.value == right.mean()
    assert (found.high - found.value, found.value - found.low) == pytest.approx((reach, reach), rel=0.35)


def test_measures_wait_for_enough_images_on_every_side() -> None:
    for name, row in METRICS.items():
        key = MADE.named(name) if row.on_features else name
        less, *more = (
            side(row.least, seed).rows(np.arange(n)) for seed, n in enumerate([row.least - 1, *[2 * row.least] * 3])
        )
        few = Sides(less, less, more[1], more[2], 0)
        enough = Sides(more[0], more[0], more[1], more[2], 0)
        assert key not in measures._values(few, MADE, labelled=True), name
        assert key in measures._values(enough, MADE, labelled=True), name
        assert (key in measures._values(enough, MADE, labelled=False)) == (not row.labels), name


# --- which images -------------------------------------------------------------------------------------------------


def pack(*counts: int, unlabelled: int = 0) -> Pack:
    """As far as it is asked: classes a, b, c with so many images."""
    names = ["a", "b", "c"]
    return cast(
        Pack,
        SimpleNamespace(
            classes=names, counts=lambda: dict(zip(names, counts, strict=True)), unlabelled=lambda: unlabelled
        ),
    )


def test_what_plays_no_part_is_named() -> None:
    labels = np.array([0, 0, 1, -1])
    assert measures._remarks(np.array([0, 1, 2]), np.array([5, 5, 5]), pack(10, 10, 10)) == []
    said = measures._remarks(labels, np.array([5, 0, 0]), pack(10, 1, 10, unlabelled=2))
    assert len(said) == 4
    assert said[0].endswith("to hold one out: b") and said[1].endswith("no minted image: c")
    assert "1 minted image without" in said[2] and "2 real images without" in said[3]
    assert measures._remarks(np.array([2]), np.array([0, 0, 5]), pack(10, 0, 10))[0].endswith("image: a")


def test_fifty_images_that_can_be_compared_are_enough_and_one_fewer_is_not() -> None:
    measures._check_enough(np.array([FEWEST, 0, 0]), FEWEST, pack(2 * FEWEST, 7, 7))
    measures._check_left(FEWEST, FEWEST)
    wrong: list[tuple[Any, ...]] = [
        (measures._check_enough, np.array([FEWEST - 1, 0, 0]), FEWEST - 1, pack(2 * FEWEST, 7, 7)),
        (measures._check_enough, np.array([FEWEST, 0, 0]), FEWEST, pack(2 * FEWEST - 1, 900, 7)),
        (measures._check_left, FEWEST - 1, FEWEST),
        (measures._check_left, FEWEST, FEWEST - 1),
    ]
    for check, *given in wrong:
        with pytest.raises(MeasureError, match=r"49 .*at least 50"):
            check(*given)


def test_as_many_are_available_as_were_minted_and_without_labels_in_the_proportions_of_the_real_ones() -> None:
    labels = np.array([0, 0, 2, -1])
    assert measures._available(labels, pack(10, 20, 70), True).tolist() == [2, 0, 1]
    assert measures._available(np.full(200, -1), pack(10, 20, 70), False).tolist() == [20, 40, 140]
    assert measures._available(np.full(5, -1), pack(10, 20, 70), False).tolist() == [0, 1, 3]  # whole images
    assert measures._available(np.full(3, -1), pack(0, 0, 0), False).tolist() == [0, 0, 0]


def test_samples_have_the_counts_that_are_asked_for() -> None:
    labels = np.array([2, 0, 1, 0, 0, 2, 1])
    picks = measures._sample(labels, np.array([2, 0, 1]), 0)
    assert np.bincount(labels[picks], minlength=3).tolist() == [2, 0, 1]
    assert (np.diff(picks) > 0).all() and (np.diff(measures._any(50, 20, 0)) > 0).all()
    assert len(measures._any(50, 20, 0)) == 20 and not np.array_equal(measures._any(50, 20, 0), np.arange(20))


def test_tables_of_all_pairs_are_computed_in_blocks_of_bounded_memory() -> None:
    for module in (kernel, manifold, nearest):
        assert 1 << 20 <= module._BLOCK_BYTES <= 1 << 27, module.__name__
