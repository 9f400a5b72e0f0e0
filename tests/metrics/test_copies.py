"""The nearest image is that of brute force; copies are found, and real images are no copies."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.spatial.distance import cdist
from scipy.stats import betabinom, mannwhitneyu

from imagemint.metrics import copies
from imagemint.metrics import nearest as module
from imagemint.metrics.copies import ALARM, nearest_features, nearness, summary, verdict
from imagemint.metrics.nearest import Nearest, patch_sums
from tests.digits import digits


def pictures(n: int, shape: tuple[int, int, int], seed: int, levels: int = 256) -> np.ndarray:
    """Smooth in part, so that bounds leave some candidates out and others not; few levels give equal distances."""
    rng = np.random.default_rng(seed)
    c, h, w = shape
    coarse = rng.integers(0, levels, (n, c, -(-h // 4), -(-w // 4)))
    noise = rng.integers(-20, 21, (n, c, h, w)) * (levels > 20)
    return (coarse.repeat(4, 2).repeat(4, 3)[:, :, :h, :w] + noise).clip(0, levels - 1).astype(np.uint8)


@pytest.mark.parametrize("shape", [(1, 28, 28), (3, 32, 32), (3, 9, 17), (1, 1, 1), (1, 2, 300)])
@pytest.mark.parametrize("levels", [256, 3])
def test_the_nearest_is_that_of_brute_force(
    shape: tuple[int, int, int], levels: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "_BLOCK_BYTES", 5_000)  # several blocks
    monkeypatch.setattr(module, "_EXACT", 7)
    images, among = pictures(23, shape, 0, levels), pictures(60, shape, 1, levels)
    among[5] = images[3]
    among[40] = images[3]
    rows = np.random.default_rng(2).permutation(60)[:50]
    found, distances = Nearest(among, rows).of(images)
    table = cdist(images.reshape(23, -1), among[rows].reshape(50, -1), "cityblock")
    assert found.tolist() == table.argmin(1).tolist()  # the first of equals
    assert distances.tolist() == table.min(1).tolist()

    itself = np.arange(60)
    table = cdist(among.reshape(60, -1), among.reshape(60, -1), "cityblock")
    table[itself, itself] = np.inf
    found, distances = Nearest(among).of(among, leave_out=itself)
    assert found.tolist() == table.argmin(1).tolist() and distances.tolist() == table.min(1).tolist()


def test_two_candidates_are_enough() -> None:
    images = pictures(2, (1, 8, 8), 0)
    assert Nearest(images).of(images, leave_out=np.arange(2))[0].tolist() == [1, 0]


@pytest.mark.parametrize("patch", [1, 2, 3, 8, 100])
def test_sums_over_patches_bound_the_distance_from_below(patch: int) -> None:
    images = np.random.default_rng(0).integers(0, 256, (9, 3, 10, 7), np.uint8)
    sums = patch_sums(images, patch)
    assert sums.sum() == images.sum()
    bounds, exact = (cdist(x, x, "cityblock") for x in (sums, images.reshape(9, -1)))
    assert (bounds <= exact).all()
    assert np.array_equal(bounds, exact) == (patch == 1)


def test_large_images_are_summed_exactly() -> None:
    white = np.full((2, 3, 200, 200), 255, np.uint8)
    white[1, 0, 0, 0] = 254
    assert Nearest(white).of(white[:1], leave_out=np.array([0]))[1].tolist() == [1]
    assert patch_sums(white, 200).dtype == np.float64


def test_the_share_is_that_of_mann_and_whitney() -> None:
    rng = np.random.default_rng(0)
    minted, held_out = rng.integers(0, 30, 80).astype(float), rng.integers(5, 40, 60).astype(float)
    found = nearness(minted, held_out, 0)
    assert found.share == pytest.approx(mannwhitneyu(held_out, minted).statistic / (80 * 60))
    assert found.low < found.share < found.high and found.expected == 0.5
    assert found.share > 0.5  # minted are nearer


@pytest.mark.parametrize(("n", "m"), [(200, 50), (50, 300), (400, 400)])
def test_alarms_are_as_rare_as_stated_where_nothing_is_copied(
    n: int, m: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(copies, "_RESAMPLES", 2)
    rng = np.random.default_rng(n)
    alarms = [nearness(rng.normal(size=n), rng.normal(size=m), 0).p_value < ALARM for _ in range(400)]
    assert np.mean(alarms) < ALARM + 3 * np.sqrt(ALARM / 400)


def test_few_verdicts_say_nearer_of_images_from_the_distribution_of_the_held_out_ones(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(copies, "_RESAMPLES", 50)
    rng, words = np.random.default_rng(0), []
    for repeat in range(600):
        centres = rng.normal(0, 2, (5, 8))
        trained, minted, held_out = (
            centres[rng.integers(5, size=size)] + rng.normal(size=(size, 8)) for size in (60, 20, 25)
        )
        seen = rng.normal(size=(8, 4))
        pixels, pixels_held_out = (cdist(each, trained, "cityblock").min(1) for each in (minted, held_out))
        features, features_held_out = (nearest_features(each @ seen, trained @ seen) for each in (minted, held_out))
        by_pixels = nearness(pixels, pixels_held_out, repeat)
        words.append(verdict(by_pixels, nearness(features, features_held_out, repeat)))
    assert 0.01 < np.mean([word.startswith("no close copies") for word in words]) <= 0.05
    assert np.mean([word.startswith("no sign of copies") for word in words]) >= 0.92


def test_intervals_of_few_images_are_no_narrower_than_chance_is_wide() -> None:
    orders = np.random.default_rng(0).permuted(np.tile(np.arange(40), (4000, 1)), axis=1)  # all are as likely
    by_chance = 0.97 * np.std(orders[:, :20].sum(1) / (20 * 20))  # of the share; 4,000 orders tell it within 3 %
    held_out = np.repeat([1.0, 3.0], 10)
    for minted in (np.zeros(20), np.full(20, 2.0), np.full(20, 4.0)):  # the bootstrap alone has hardly any error
        found = nearness(minted, held_out, 0)
        reach = 1.96 * by_chance
        assert found.low <= max(found.share - reach, 0) and found.high >= min(found.share + reach, 1)


@pytest.mark.parametrize("m", [99, 1999, 2099, 5299])
def test_the_limit_is_below_the_closest_hundredth_of_real_images(m: int) -> None:
    """In any order: the k-th smallest of m distances, k = (m + 1) / 100."""
    held_out = np.random.default_rng(m).permutation(m).astype(float)
    found = nearness(held_out, held_out, 0)
    assert found.close == (m + 1) // 100 - 1  # those below the limit itself


@pytest.mark.parametrize(("n", "m"), [(7, 30), (500, 80), (10_000, 400)])
def test_the_chance_of_so_many_close_ones_is_scipys(n: int, m: int) -> None:
    held_out = np.arange(m) + 0.5
    rank = max((m + 1) // 100, 1)
    for close in (0, 1, 3, n // 2):
        minted = np.where(np.arange(n) < close, 0.0, m + 1.0)
        found = nearness(minted, held_out, 0)
        assert found.close == close
        assert found.p_value == pytest.approx(betabinom.sf(close - 1, n, rank, m + 1 - rank), abs=1e-9)


def test_some_copies_among_many_images_are_an_alarm_and_nearer_images_that_are_no_copies_are_none() -> None:
    rng = np.random.default_rng(0)
    held_out, minted = rng.normal(10, 1, 500), rng.normal(10, 1, 500)
    minted[:40] = 0
    found = nearness(minted, held_out, 0)
    assert found.p_value < 1e-6 and 40 <= found.close < 60
    usual = nearness(rng.normal(10, 1, 500), held_out, 0)
    said = verdict(found, usual)
    assert "copies are likely" in said and "by pixels" in said and f"{found.close} of 500" in said
    assert "by features" in verdict(usual, found)
    assert "no sign of copies" in verdict(usual, usual)


def test_the_verdict_never_says_not_nearer_of_images_that_are_nearer() -> None:
    held_out = np.arange(100.0) + 50
    usual, nearer, farther = (nearness(each, held_out, 0) for each in (held_out, held_out / 2 + 26, held_out + 50))
    assert min(usual.p_value, nearer.p_value, farther.p_value) >= ALARM and nearer.low > 0.5
    for pair in ((nearer, usual), (usual, nearer), (nearer, farther), (farther, nearer), (nearer, nearer)):
        assert verdict(*pair).startswith("no close copies, although minted images are nearer")
    for pair in ((usual, usual), (usual, farther), (farther, farther)):
        assert verdict(*pair).startswith("no sign of copies")


def test_distances_in_features_are_euclidean() -> None:
    rows, among = np.array([[0.0, 0.0], [10.0, 0.0]]), np.array([[3.0, 4.0], [10.0, 1.0]])
    assert nearest_features(rows, among) == pytest.approx([5, 1])


def test_classes_with_enough_images_have_their_own_lines() -> None:
    labels = np.repeat([0, 1, 2], [30, 30, 5])
    near, far = np.zeros(65), np.arange(65.0) + 1
    minted = np.where(labels == 1, near, far)
    found = summary((minted, far), (far, far), (labels, labels), ["a", "b", "c"], 0)
    assert list(found["per_class"]) == ["a", "b"]
    assert found["per_class"]["a"]["share"] == 0.5 and found["per_class"]["b"]["share"] == 1.0
    assert found["close"] == 30 and found["features"]["close"] == 0


def test_copies_of_digits_are_found_and_other_digits_are_none() -> None:
    pixels, _ = digits()
    learned = Nearest(pixels[:900])
    held_out = learned.of(pixels[900:1300])[1]
    for minted, copied in ((pixels[1300:1700], False), (pixels[:400] ^ 1, True)):  # every value one level off
        found = nearness(learned.of(minted)[1], held_out, 0)
        assert (found.p_value < ALARM) == copied and (found.share > 0.99) == copied


def test_as_many_close_ones_are_expected_as_there_are_on_average(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(copies, "_RESAMPLES", 2)
    rng = np.random.default_rng(0)
    for n, m in ((100, 3), (40, 250)):
        found = [nearness(rng.random(n), rng.random(m), 0) for _ in range(400)]
        close = [each.close for each in found]
        assert abs(np.mean(close) - found[0].close_expected) < 4 * np.std(close) / 20
        assert (found[0].n_minted, found[0].n_real) == (n, m)


def test_a_share_keeps_between_0_and_1_with_its_interval() -> None:
    near, far = nearness(np.zeros(30), np.ones(30), 0), nearness(np.full(30, 2.0), np.ones(30), 0)
    assert (near.share, near.high, far.share, far.low) == (1, 1, 0, 0)
    assert 0 < near.low < 1 and 0 < far.high < 1 and near.low == pytest.approx(1 - far.high)


def test_a_class_needs_twenty_images_on_both_sides_for_a_line_of_its_own() -> None:
    labels = np.repeat([0, 1], [20, 19])
    distances = np.arange(39.0)
    pair = distances, distances
    assert list(summary(pair, pair, (labels, labels), ["a", "b"], 0)["per_class"]) == ["a"]
    assert not summary(pair, pair, (labels, 1 - labels), ["a", "b"], 0)["per_class"]


def test_sums_of_small_images_take_half_the_memory() -> None:
    assert patch_sums(np.zeros((1, 3, 32, 32), np.uint8), 8).dtype == np.float32
