"""Scores of a classifier against scikit-learn and torchmetrics, and their directions."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from sklearn import metrics
from torchmetrics.functional.classification import multiclass_calibration_error

from imagemint.metrics.scores import CALIBRATION_BINS, SCORES, calibration_error, diversity, recalls


def opinions(n: int = 400, k: int = 4, seed: int = 0, skill: float = 1.0) -> tuple[np.ndarray, np.ndarray]:
    """Unequal classes, the last without any image, and probabilities that are right more often than not."""
    rng = np.random.default_rng(seed)
    labels = rng.choice(k - 1, n, p=[0.7, 0.2, 0.1])
    logits = rng.normal(size=(n, k))
    logits[np.arange(n), labels] += skill
    odds = np.exp(logits)
    return labels, odds / odds.sum(1, keepdims=True)


@pytest.mark.parametrize("seed", [0, 1])
def test_scores_are_those_of_independent_references(seed: int) -> None:
    labels, probabilities = opinions(seed=seed)
    called = probabilities.argmax(1)
    present = [0, 1, 2]
    wanted = {
        "accuracy": metrics.accuracy_score(labels, called),
        "balanced-accuracy": metrics.recall_score(labels, called, labels=present, average="macro"),
        "macro-f1": metrics.f1_score(labels, called, labels=present, average="macro"),
        "log-loss": metrics.log_loss(labels, probabilities, labels=range(4)),
        "calibration-error": multiclass_calibration_error(
            torch.from_numpy(probabilities), torch.from_numpy(labels), 4, n_bins=CALIBRATION_BINS, norm="l1"
        ).item(),
    }
    assert set(wanted) == set(SCORES)
    for name, score in SCORES.items():
        assert score.compute(labels, probabilities) == pytest.approx(wanted[name], rel=1e-5), name
    by_class = metrics.recall_score(labels, called, labels=present, average=None)
    assert recalls(labels, probabilities) == [*pytest.approx(by_class).expected, None]


def test_a_better_classifier_has_better_scores_in_the_direction_that_is_stated() -> None:
    poor, good = (opinions(4000, skill=skill) for skill in (0.5, 3.0))
    for name in ("accuracy", "balanced-accuracy", "macro-f1", "log-loss"):
        score = SCORES[name]
        better = score.compute(*good) - score.compute(*poor)
        assert better > 0 if score.direction == "higher" else better < 0, name
    labels, honest = opinions(4000, skill=1.0)
    boastful = honest**4 / (honest**4).sum(1, keepdims=True)
    error = SCORES["calibration-error"]
    assert error.direction == "lower" and error.compute(labels, honest) < error.compute(labels, boastful)


def test_an_image_that_was_held_impossible_is_no_infinite_loss() -> None:
    assert 30 < SCORES["log-loss"].compute(np.array([0]), np.array([[0.0, 1.0]])) < 40


def test_who_is_certain_falls_among_the_most_confident() -> None:
    """1.00 and 0.96 are of one bin, in which one of two is right: the error is 0.98 less a half."""
    probabilities = np.array([[1.0, 0.0], [0.96, 0.04]])
    assert calibration_error(np.array([1, 0]), probabilities) == pytest.approx(0.48)


def test_confidence_is_looked_at_in_fifteenths() -> None:
    """0.93 and 0.94 lie on either side of 14/15, so that right and wrong do not make up for each other."""
    probabilities = np.array([[0.93, 0.07], [0.94, 0.06]])
    assert calibration_error(np.array([1, 0]), probabilities) == pytest.approx((0.93 + 0.06) / 2)


@pytest.mark.parametrize("scale", [0.01, 1.0, 100.0])
def test_diversity_is_a_ratio_whatever_the_scale_of_the_features(scale: float) -> None:
    """Minted images that lie half as far apart have half the diversity, and the ratio is never above 1."""
    rng = np.random.default_rng(0)
    real, labels, once = rng.normal(size=(60, 3)) * scale, np.repeat([0, 1], 30), np.ones((1, 60))
    for factor, value in ((0.5, 0.5), (1.0, 1.0), (2.0, 0.5), (0.0, 0.0)):
        assert diversity((real * factor, labels), (real, labels), (once, once)) == pytest.approx([value])
    assert diversity((real * 0, labels), (real * 0, labels), (once, once)) == pytest.approx([1])
