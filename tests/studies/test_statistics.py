from __future__ import annotations

import doctest

import numpy as np
import pytest
from sklearn import metrics

from imagemint.studies import statistics
from imagemint.studies.statistics import Curve, fit_curve, holm


def test_examples_of_the_docstrings() -> None:
    assert doctest.testmod(statistics).failed == 0


def answers(seed: int, n: int = 400, classes: int = 4) -> tuple[np.ndarray, np.ndarray]:
    """Labels of unequal classes, and probabilities that lean towards them."""
    rng = np.random.default_rng(seed)
    labels = rng.choice(classes, n, p=[0.6, 0.25, 0.1, 0.05])
    logits = rng.normal(size=(n, classes)) + 1.5 * np.eye(classes)[labels]
    return labels, np.exp(logits) / np.exp(logits).sum(1, keepdims=True)


def test_means_over_images_are_the_scores_of_scikit_learn() -> None:
    labels, p = answers(0)
    called = p.argmax(1)
    wanted = {
        statistics.accuracy: metrics.accuracy_score(labels, called),
        statistics.balanced_accuracy: metrics.balanced_accuracy_score(labels, called),
        statistics.macro_f1: metrics.f1_score(labels, called, average="macro"),
        statistics.log_likelihood: -metrics.log_loss(labels, p),
    }
    for score, value in wanted.items():
        assert score(labels, p).mean() == pytest.approx(value)


def test_a_class_without_test_images_counts_in_no_score() -> None:
    labels = np.array([0, 0, 2, 2])
    p = np.eye(4)[[0, 0, 2, 3]]
    assert statistics.balanced_accuracy(labels, p).mean() == pytest.approx(0.75)
    assert statistics.macro_f1(labels, p).mean() == pytest.approx((1 + 2 / 3) / 2)


def test_the_spread_of_the_values_is_the_spread_of_the_score() -> None:
    """Over fresh test sets, macro F1 varies as the variance of its per-image values foretells."""
    scores, foretold = [], []
    for seed in range(300):
        labels, p = answers(seed)
        values = statistics.macro_f1(labels, p)
        scores.append(values.mean())
        foretold.append(values.var(ddof=1) / len(values))
    assert np.var(scores) == pytest.approx(np.mean(foretold), rel=0.3)


def test_holm_agrees_with_its_definition_and_never_lowers_a_p_value() -> None:
    rng = np.random.default_rng(0)
    for _ in range(50):
        p = rng.random(6) ** 2
        got = holm(p.tolist())
        ranked = np.sort(p)
        for each, corrected in zip(p, got, strict=True):
            at = int(np.searchsorted(ranked, each))
            assert corrected == pytest.approx(min(1, max((6 - k) * ranked[k] for k in range(at + 1))))
            assert corrected >= each - 1e-12
    assert holm([]) == []


def test_holm_keeps_the_chance_of_any_false_alarm() -> None:
    rng = np.random.default_rng(1)
    alarms = np.mean([min(holm(rng.random(8).tolist())) < 0.05 for _ in range(2000)])
    assert 0.03 <= alarms <= 0.065


def test_a_curve_gives_back_what_made_it() -> None:
    truth = Curve(0.05, 0.6, 0.7)
    n = [5, 10, 20, 50, 100]
    found = fit_curve(n, [truth.error(each) for each in n])
    assert found.error(200) == pytest.approx(truth.error(200), abs=1e-3)
    assert found.images(truth.error(70)) == pytest.approx(70, rel=0.01)
    assert found.images(0.01) == float("inf")


def test_a_fit_is_the_least_squares_without_negative_parts() -> None:
    optimize = pytest.importorskip("scipy.optimize")
    rng = np.random.default_rng(0)
    for _ in range(20):
        n, errors, weight = np.array([5, 10, 20, 50]), rng.random(4), rng.random(4) + 0.1
        found = fit_curve(n.tolist(), errors.tolist(), weight.tolist())
        best = min(
            optimize.nnls(np.stack([np.ones(4), n**-rate], 1) * np.sqrt(weight)[:, None], errors * np.sqrt(weight))[1]
            for rate in statistics._RATES
        )
        missed = [found.error(each) for each in n] - errors
        assert float(np.sqrt((missed**2) @ weight)) == pytest.approx(best, abs=1e-9)


def test_a_flat_curve_says_that_more_images_bring_nothing() -> None:
    errors = np.full((4, 3), 0.2) + np.random.default_rng(0).normal(0, 1e-4, (4, 3))
    gain = statistics.gain_of_more([10, 20, 40], errors[..., None], 40)
    assert abs(gain.value) < 1e-3


def test_more_images_gain_what_the_curve_promises_with_its_interval() -> None:
    truth, n = Curve(0.05, 0.6, 0.7), [10, 20, 40]
    noise = np.random.default_rng(0).normal(0, 0.002, (5, 3))
    errors = np.array([[truth.error(each) for each in n]]) + noise
    gain = statistics.gain_of_more(n, errors[..., None], 40)
    assert gain.low is not None and gain.high is not None
    assert gain.low <= truth.error(40) - truth.error(80) <= gain.high
    assert statistics.gain_of_more(n, errors[:1, :, None], 40).low is None


def test_the_interval_of_a_gain_counts_the_chance_of_the_test_images() -> None:
    """Over many draws of 400 test images the value scatters as one interval says, though all repeats agree."""
    n, truth, rng = [10, 20, 40], Curve(0.05, 0.6, 0.7), np.random.default_rng(3)

    def drawn() -> statistics.Estimate:
        asked = rng.random(400)  # the same images are hard in every repeat
        wrong = np.array([asked < truth.error(each) for each in n], float)
        return statistics.gain_of_more(n, np.stack([wrong] * 3), 40)

    first = drawn()
    assert first.low is not None and first.high is not None
    scatter = np.std([drawn().value for _ in range(6)])
    assert scatter < first.high - first.low < 12 * scatter


def test_worth_is_the_number_of_real_images_that_would_have_done_the_same() -> None:
    truth, n = Curve(0.05, 0.6, 0.7), [10, 20, 40]
    errors = np.array([[truth.error(each) for each in n]]) + np.random.default_rng(0).normal(0, 0.002, (6, 1))
    as_good_as_30 = errors[:, 1] + truth.error(30) - truth.error(20)
    found = statistics.worth(n, errors[..., None], 1, as_good_as_30[:, None])
    assert found.value == pytest.approx(10, rel=0.1)
    as_bad_as_15 = errors[:, 1] + truth.error(15) - truth.error(20)
    assert statistics.worth(n, errors[..., None], 1, as_bad_as_15[:, None]).value == pytest.approx(-5, rel=0.1)
    assert statistics.worth(n, errors[..., None], 1, errors[:, 1, None]).value == pytest.approx(0, abs=0.1)


def test_the_boundary_is_the_last_budget_that_helps() -> None:
    none = "no measurable effect"
    assert statistics.boundary([10, 20], [none, "hurts"]) == (None, None)
    assert statistics.boundary([10, 20], [none, "helps"]) == (20, None)
    assert statistics.boundary([10, 20, 50, 100], [none, none, "helps", none]) == (50, 100)


def test_a_rate_between_a_twentieth_and_2_is_found_exactly_in_steps_of_a_fortieth() -> None:
    n = [5, 10, 20, 50, 100]
    for rate in (0.05, 0.075, 0.7, 1.0, 1.975, 2.0):
        truth = Curve(0.05, 0.6, rate)
        found = fit_curve(n, [truth.error(each) for each in n])
        assert (found.floor, found.scale, found.rate) == pytest.approx((0.05, 0.6, rate), abs=1e-6)


def test_no_number_of_images_reaches_the_floor_of_a_curve_or_moves_a_flat_one() -> None:
    assert Curve(0.1, 0.5, 1).images(0.1) == Curve(0.1, 0.5, 1).images(0.05) == Curve(0.1, 0, 1).images(0.2) == np.inf
    assert Curve(0.1, 0.5, 1).images(0.6) == 1 and Curve(0.1, 0.5, 2).error(10) == pytest.approx(0.105)


def test_an_interval_of_the_bootstrap_is_that_of_normal_theory() -> None:
    """Of a plain mean over 40 repeats and 300 images that vary on their own: 95 % within 1.96 standard errors."""
    rng = np.random.default_rng(0)
    table = rng.normal(0, 1, (40, 1, 1)) + rng.normal(0, 2, (1, 1, 300)) + np.zeros((1, 2, 1)) + 5
    found = statistics._bootstrap(lambda means: float(means.mean()), table, 0)
    reach = 1.96 * np.sqrt(table[:, 0].mean(1).var() / 40 + table[:, 0].mean(0).var() / 300)
    assert found.low is not None and found.high is not None and found.value == pytest.approx(table.mean())
    assert found.value - found.low == pytest.approx(reach, rel=0.25)
    assert found.high - found.value == pytest.approx(reach, rel=0.25)
    again, other = (statistics._bootstrap(lambda means: float(means.mean()), table, seed) for seed in (0, 1))
    assert again == found != other
    two = statistics._bootstrap(lambda means: float(means.mean()), table[:2], 0)
    assert two.low is not None and two.low < two.value


def test_of_more_images_more_is_gained_and_of_none_nothing() -> None:
    truth, n = Curve(0.05, 0.6, 0.7), [10, 20, 40]
    errors = np.array([[[truth.error(each)] for each in n]])
    gains = [statistics.gain_of_more(n, errors, more).value for more in (0, 10, 40, 1e9)]
    assert gains == pytest.approx([truth.error(40) - truth.error(40 + more) for more in (0, 10, 40, 1e9)], abs=1e-4)


def test_the_best_value_of_a_score_is_that_of_a_sure_and_right_classifier() -> None:
    labels = np.repeat([0, 1, 2], [5, 3, 2])
    for name, row in statistics.SCORES.items():
        assert row.per_image(labels, np.eye(3)[labels]).mean() == pytest.approx(row.best), name
        assert row.per_image(labels, np.eye(3)[(labels + 1) % 3]).mean() < row.best, name
        assert (row.unit, row.scale) == (("nats", 1) if name == "log-loss" else ("points", 100))
        assert row.log_probabilities == (name == "log-loss")
    assert statistics.log_likelihood(np.array([0]), np.array([[0.0, 1.0]])) == pytest.approx(np.log(1e-7))


def test_the_bootstrap_draws_every_repeat_as_often_as_every_other() -> None:
    """One repeat of three is 1 and the others 0: all three draws are that one in 1 of 27 resamples, over 2.5 %."""
    for which in range(3):
        table = np.zeros((3, 1, 20))
        table[which] = 1
        found = statistics._bootstrap(lambda means: float(means.mean()), table, 1)
        assert (found.low, found.high) == (0.0, 1.0)
    drawn: list[int] = []
    numbers = np.arange(3.0)[:, None, None] + np.zeros((3, 1, 20))

    def noted(means: np.ndarray) -> float:
        drawn.extend(means[:, 0].round().astype(int).tolist())
        return 0.0

    statistics._bootstrap(noted, numbers, 0)
    counts = np.bincount(drawn[3:], minlength=3)  # the first three are the repeats as they are
    assert counts / counts.sum() == pytest.approx(np.full(3, 1 / 3), abs=0.05)


def test_what_an_image_adds_to_the_macro_f1_is_what_is_lost_without_it() -> None:
    """Pseudo-values of the jackknife, n times the score less (n - 1) times the score without the image."""
    rng = np.random.default_rng(0)
    n, k = 300, 3
    labels = rng.choice(k, n, p=[0.7, 0.2, 0.1])
    called = np.where(rng.random(n) < 0.7, labels, rng.integers(0, k, n))
    values = statistics.macro_f1(labels, np.eye(k)[called])
    whole = metrics.f1_score(labels, called, average="macro")
    for image in range(0, n, 5):
        rest = np.arange(n) != image
        without = metrics.f1_score(labels[rest], called[rest], average="macro")
        assert values[image] == pytest.approx(n * whole - (n - 1) * without, abs=0.06)
