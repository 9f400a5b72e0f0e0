"""Verdicts: how often they are wrong when nothing is there, and that they find what was planted."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from scipy import stats

from imagemint.studies.verdict import Difference, compare, corrected, interval, points


def simulated(
    rng: np.random.Generator, repeats: int, images: int, effect: float = 0.0, spread: float = 0.02
) -> np.ndarray:
    """A table of paired differences: a repeat's and an image's leaning, and chance."""
    leaning = (rng.normal(0, spread, repeats)[:, None] + rng.normal(0, 0.1, images)[None] + effect) / 2
    better = rng.random((repeats, images)) < np.clip(0.08 + leaning, 0, 1)
    worse = rng.random((repeats, images)) < np.clip(0.08 - leaning, 0, 1)
    return better.astype(np.int64) - worse.astype(np.int64)


@pytest.mark.parametrize(("repeats", "images"), [(3, 300), (5, 300), (5, 1500)])
@pytest.mark.parametrize("spread", [0.0, 0.03])
def test_without_an_effect_at_most_about_one_study_in_twenty_sees_one(
    repeats: int, images: int, spread: float
) -> None:
    rng = np.random.default_rng(0)
    words = [interval(simulated(rng, repeats, images, spread=spread)).word for _ in range(400)]
    alarms = 1 - words.count("no measurable effect") / len(words)
    assert 0.002 <= alarms <= 0.09


def test_a_planted_effect_is_found_and_the_sign_follows_the_data() -> None:
    rng = np.random.default_rng(1)
    table = simulated(rng, 5, 500, effect=0.1)
    assert interval(table).word == "helps" and interval(-table).word == "hurts"
    up, down = interval(table), interval(-table)
    assert up.low is not None and down.high is not None
    assert up.mean == -down.mean and up.low == pytest.approx(-down.high)


def gaussian(rng: np.random.Generator, repeats: int, images: int) -> np.ndarray:
    """A table without an effect whose three variances are known: 0.5^2, 1 and 2^2."""
    parts = rng.normal(0, 0.5, (repeats, 1)), rng.normal(0, 1, (1, images)), rng.normal(0, 2, (repeats, images))
    return np.asarray(sum(parts))


def test_the_detectable_effect_is_found_in_about_four_of_five_studies() -> None:
    rng = np.random.default_rng(2)
    effect = float(np.median([interval(gaussian(rng, 8, 100)).detectable for _ in range(100)]))
    found = [interval(gaussian(rng, 8, 100) + effect).word == "helps" for _ in range(400)]
    assert 0.7 <= np.mean(found) <= 0.9


def test_the_variance_is_that_of_fresh_repeats_and_fresh_images() -> None:
    rng = np.random.default_rng(3)
    tables = [gaussian(rng, 6, 60) for _ in range(600)]
    wanted = 0.5**2 / 6 + 1 / 60 + 4 / 360
    estimates = [(interval(table).se or 0) ** 2 for table in tables]
    assert np.mean(estimates) == pytest.approx(wanted, rel=0.08)
    assert np.var([table.mean() for table in tables]) == pytest.approx(wanted, rel=0.2)


def test_equal_arms_differ_by_exactly_nothing() -> None:
    right = np.random.default_rng(0).random((3, 50)) < 0.8
    found = compare("10", "mix", "real", right, right.copy(), np.arange(50) % 2, 2)
    i = found.interval
    assert i.mean == 0 and found.word == "no measurable effect"
    assert (i.low, i.high) == pytest.approx((-3 / 50, 3 / 50))  # none of 50 differed: up to 3 in 50 of others could
    assert i.detectable == pytest.approx(3 / 50)


def test_one_repeat_gives_no_interval_and_says_how_many_to_run() -> None:
    right = np.ones((1, 50), bool)
    found = compare("10", "mix", "real", right, ~right, np.zeros(50, np.int64), 1)
    assert found.word == "too few repeats" and found.interval.low is None
    assert "run 5 repeats" in found.sentence() and "+100.0" in found.sentence()


def test_only_the_paired_part_counts() -> None:
    """Hard and easy images make accuracies uncertain but not the difference of two arms that share them."""
    rng = np.random.default_rng(0)
    base = np.repeat(rng.random((1, 400)) < 0.7, 4, axis=0)
    better = base | (rng.random((4, 400)) < 0.15)
    found = compare("10", "mix", "real", better, base, np.zeros(400, np.int64), 1)
    alone = interval(better)
    assert found.word == "helps" and (found.interval.se or 1) < (alone.se or 0)


def test_classes_are_compared_on_their_own_images() -> None:
    labels = np.arange(60) % 3
    base = np.zeros((3, 60), bool)
    better = base | (labels == 1)
    found = compare("10", "mix", "real", better, base, labels, 4)
    assert [each.mean for each in found.per_class] == [0, 1, 0, 0]
    assert found.per_class[3].images == 0


def test_points_have_a_sign_and_no_negative_zero() -> None:
    assert [points(x) for x in (0.0123, -0.0123, 0.0, -0.0001)] == ["+1.2", "−1.2", "0.0", "0.0"]


@pytest.mark.parametrize("repeats", [3, 5])
def test_the_word_says_what_the_interval_says(repeats: int) -> None:
    rng = np.random.default_rng(4)
    for effect in (-0.1, -0.03, 0.0, 0.03, 0.1):
        for _ in range(40):
            found = interval(simulated(rng, repeats, 300, effect=effect))
            assert found.low is not None and found.high is not None
            outside = "helps" if found.low > 0 else "hurts" if found.high < 0 else "no measurable effect"
            assert found.word == outside


def report(rng: np.random.Generator, effects: list[float], repeats: int = 5, images: int = 300) -> list[Difference]:
    """The differences of one report: arms that share repeats and test images with one baseline."""
    labels = np.zeros(images, np.int64)
    base = rng.random((repeats, images)) < 0.8
    found = []
    for effect in effects:
        worse, better = base & (rng.random(base.shape) < 0.1), ~base & (rng.random(base.shape) < 0.4 + 5 * effect)
        found.append(compare("10", "arm", "classic", (base & ~worse) | better, base, labels, 1))
    return corrected(found)


def test_of_1000_reports_without_an_effect_at_most_one_in_twenty_says_anything() -> None:
    rng = np.random.default_rng(5)
    alarms = [any(each.word != "no measurable effect" for each in report(rng, [0.0] * 6)) for _ in range(1000)]
    assert np.mean(alarms) <= 0.05


def test_one_effect_among_many_comparisons_is_found_and_alone_is_named() -> None:
    rng = np.random.default_rng(6)
    words = [[each.word for each in report(rng, [0.1] + [0.0] * 5)] for _ in range(50)]
    assert np.mean([each[0] == "helps" for each in words]) >= 0.9
    assert np.mean([word != "no measurable effect" for each in words for word in each[1:]]) <= 0.05


def test_a_correction_is_said_where_there_is_one() -> None:
    rng = np.random.default_rng(7)
    alone, *_ = report(rng, [0.1])
    first, *others = report(rng, [0.1, 0.0, 0.0])
    assert "corrected" not in alone.sentence()
    assert "corrected for 3 comparisons" in first.sentence()
    assert all(each.p is not None and each.p >= (each.interval.p or 0) for each in (first, *others))


def test_a_single_repeat_is_not_corrected() -> None:
    right = np.ones((1, 50), bool)
    single = compare("10", "mix", "real", right, ~right, np.zeros(50, np.int64), 1)
    assert [each.word for each in corrected([single, *report(np.random.default_rng(8), [0.1])])] == [
        "too few repeats",
        "helps",
    ]


@pytest.mark.parametrize(("repeats", "images"), [(2, 40), (3, 25), (8, 60)])
def test_intervals_are_those_of_the_mean_squares_of_a_two_way_table(repeats: int, images: int) -> None:
    """Written out from Searle, Casella & McCulloch 1992, ch. 4, with Satterthwaite's degrees of freedom."""
    rng = np.random.default_rng(repeats)
    for _ in range(20):
        table = gaussian(rng, repeats, images) * 0.1 + 0.02
        mean, n = table.mean(), table.size
        rest = table - table.mean(1, keepdims=True) - table.mean(0, keepdims=True) + mean
        freedom = np.array([repeats - 1, images - 1, (repeats - 1) * (images - 1)])
        squares = np.array(
            [
                images * ((table.mean(1) - mean) ** 2).sum(),
                repeats * ((table.mean(0) - mean) ** 2).sum(),
                (rest**2).sum(),
            ]
        )
        parts = squares / freedom / n
        variance = max(parts[0] + parts[1] - parts[2], parts[0], parts[1])
        df = max(repeats - 1, variance**2 / (parts**2 / freedom).sum())
        se, found = np.sqrt(variance), interval(table)
        reach = stats.t.ppf(0.975, df) * se
        assert (found.mean, found.se) == pytest.approx((mean, se))
        assert (found.low, found.high) == pytest.approx((mean - reach, mean + reach))
        assert found.p == pytest.approx(2 * stats.t.sf(abs(mean) / se, df))
        assert found.detectable == pytest.approx(max(reach + stats.t.ppf(0.8, df) * se, 1 / images))
        assert (found.repeats, found.images) == (repeats, images)


def test_less_than_one_image_can_never_be_seen() -> None:
    table = np.zeros((20, 50))
    table[3, 7] = 1  # hardly any variance
    found = interval(table)
    assert found.se is not None and 0 < found.se < 1 / 500 and found.detectable == 1 / 50


def test_where_no_answer_differs_or_all_differ_alike_the_rule_of_three_speaks() -> None:
    for value, word in ((0, "no measurable effect"), (1, "helps"), (-1, "hurts")):
        found = interval(np.full((3, 40), value))
        assert (found.low, found.high) == pytest.approx((value - 3 / 40, value + 3 / 40)) and found.word == word
        assert found.p == pytest.approx(np.exp(-abs(value) * 40))


def test_one_image_or_one_repeat_has_no_interval_and_two_of_both_have_one() -> None:
    for shape in ((1, 9), (9, 1), (1, 1)):
        assert interval(np.zeros(shape)).low is None and interval(np.zeros(shape)).p is None
    assert interval(np.array([[0.0, 1.0], [1.0, 1.0]])).low is not None


def test_small_p_values_are_said_as_such() -> None:
    found = report(np.random.default_rng(7), [0.1])[0]
    said = {p: replace(found, p=p, comparisons=3).sentence() for p in (0.0234, 0.001, 0.00099)}
    assert "; p 0.023, corrected for 3 comparisons" in said[0.0234] and "; p 0.001, c" in said[0.001]
    assert "; p below 0.001, corrected" in said[0.00099]


def test_other_scores_are_said_in_their_unit_and_a_chosen_yardstick_as_chosen() -> None:
    right = np.random.default_rng(0).random((3, 50)) < 0.8
    values = np.full((3, 50), 0.5) + right, np.full((3, 50), 0.25) + right
    found = compare("10", "mix", "real", right, right, np.zeros(50, int), 1, score="log-loss", values=values)
    assert found.interval.mean == pytest.approx(0.25) and found.word == "helps"
    assert "+0.250 nats of log likelihood" in found.sentence() and "chosen" not in found.sentence()
    other = compare("10", "mix", "real", right, right, np.zeros(50, int), 1, chosen=True)
    assert "the best arm without other images" in other.sentence() and "seen 6.0 points" in other.sentence()
