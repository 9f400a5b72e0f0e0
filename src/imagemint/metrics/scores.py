"""Scores of a classifier on labelled images; and of minted images by the judge.

A new score is one function from labels and probabilities to a number and one row of SCORES.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import numpy as np

CALIBRATION_BINS = 15  # Guo et al. 2017, section 5
_LEAST = 1e-15  # probability: below it, a single image would make the log loss infinite


@dataclass(frozen=True)
class Score:
    """A row of SCORES. `compute` takes labels int64 `[n]` and probabilities float64 `[n, k]`, n at least 1."""

    compute: Callable[[np.ndarray, np.ndarray], float]
    direction: Literal["lower", "higher"]  # which values are better
    label: str


def accuracy(labels: np.ndarray, probabilities: np.ndarray) -> float:
    """Share of images whose most probable class is their label.

    >>> accuracy(np.array([0, 1]), np.array([[0.9, 0.1], [0.8, 0.2]]))
    0.5
    """
    return float(np.mean(probabilities.argmax(1) == labels))


def recalls(labels: np.ndarray, probabilities: np.ndarray) -> list[float | None]:
    """For each class the share of its images that are recognised; None for a class without any image.

    >>> recalls(np.array([0, 0]), np.array([[0.9, 0.1], [0.2, 0.8]]))
    [0.5, None]
    """
    right = probabilities.argmax(1) == labels
    classes = range(probabilities.shape[1])
    return [float(right[labels == k].mean()) if (labels == k).any() else None for k in classes]


def balanced_accuracy(labels: np.ndarray, probabilities: np.ndarray) -> float:
    """Mean recall over the classes that have images."""
    return float(np.mean([each for each in recalls(labels, probabilities) if each is not None]))


def macro_f1(labels: np.ndarray, probabilities: np.ndarray) -> float:
    """Mean over the classes that have images of F1: the harmonic mean of recall and precision."""
    called = probabilities.argmax(1)
    classes = np.unique(labels)
    both = [2 * np.sum((labels == k) & (called == k)) / (np.sum(labels == k) + np.sum(called == k)) for k in classes]
    return float(np.mean(both))


def log_loss(labels: np.ndarray, probabilities: np.ndarray) -> float:
    """Mean of -log(probability of the label), nats."""
    given = probabilities[np.arange(len(labels)), labels]
    return float(-np.log(np.maximum(given, _LEAST)).mean())


def calibration_error(labels: np.ndarray, probabilities: np.ndarray) -> float:
    """Expected calibration error: mean distance between confidence and accuracy, over bins of equal width.

    (Guo et al. 2017, arXiv 1706.04599, equation 3.)

    >>> round(calibration_error(np.array([0, 1]), np.array([[0.9, 0.1], [0.9, 0.1]])), 3)
    0.4
    """
    confidence, right = probabilities.max(1), probabilities.argmax(1) == labels
    bins = np.minimum((confidence * CALIBRATION_BINS).astype(np.int64), CALIBRATION_BINS - 1)
    sums = np.bincount(bins, confidence - right, minlength=CALIBRATION_BINS)
    return float(np.abs(sums).sum() / len(labels))


SCORES: dict[str, Score] = {
    "accuracy": Score(accuracy, "higher", "accuracy"),
    "balanced-accuracy": Score(balanced_accuracy, "higher", "balanced accuracy: mean recall of the classes"),
    "macro-f1": Score(macro_f1, "higher", "macro F1: mean F1 of the classes"),
    "log-loss": Score(log_loss, "lower", "log loss (nats)"),
    "calibration-error": Score(calibration_error, "lower", "expected calibration error"),
}


def classifier_score(predicted: np.ndarray, labels: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Share (0 to 1) of images that the judge assigns to the class asked for, for each row of weights: `[b]`.

    (Rzayev & Weldegebriel call this an inception score, which it is not.)
    """
    share: np.ndarray = weights @ (predicted == labels) / weights.sum(1)
    return share


def diversity(
    sample: tuple[np.ndarray, np.ndarray], real: tuple[np.ndarray, np.ndarray], weights: tuple[np.ndarray, np.ndarray]
) -> np.ndarray:
    """How nearly the images of a class differ as much as real ones do: 0 to 1, float64 `[b]`.

    Each side is (features `[n, d]`, labels `[n]`). For each class the typical distance between two of its images
    (root mean square, in features) is compared with that of the real images: the smaller over the larger of the two.
    The value is the mean over the classes that have two images on both sides, NaN where there is none. A generator
    that always draws the same picture and one that adds noise both come out below 1.

    >>> points, labels = np.arange(6.0)[:, None], np.zeros(6, int)
    >>> ones = np.ones((1, 6))
    >>> diversity((points, labels), (points, labels), (ones, ones)).tolist()
    [1.0]
    >>> diversity((points / 2, labels), (points, labels), (ones, ones)).tolist()
    [0.5]
    """
    (features, labels), (real_features, real_labels), (w, v) = sample, real, weights
    ratios = []
    for label in np.intersect1d(labels, real_labels):
        mine, theirs = labels == label, real_labels == label
        if min(mine.sum(), theirs.sum()) > 1:
            a, b = _spread(features[mine], w[:, mine]), _spread(real_features[theirs], v[:, theirs])
            larger = np.maximum(a, b)
            ratios.append(np.where(larger > 0, np.minimum(a, b) / np.where(larger > 0, larger, 1), 1))
    return np.mean(ratios, axis=0) if ratios else np.full(len(w), np.nan)


def variety(predicted: tuple[np.ndarray, np.ndarray], weights: tuple[np.ndarray, np.ndarray]) -> np.ndarray:
    """How nearly as many classes are seen in a sample as in real images: 0 to 1, float64 `[b]`.

    `predicted` are the classes that the judge sees on each side, int64 `[n]` and `[m]`. The effective number of
    classes is exp(entropy) of their shares; the value is the smaller of both numbers over the larger. With
    `confidence` it is the check that Winkler 2018 (section 4.7.5) asks for: many classes, each clearly recognised.

    >>> real, ones = np.arange(8) % 4, np.ones((1, 8))
    >>> variety((np.arange(8) % 2, real), (ones, ones)).tolist()  # two classes of four
    [0.5]
    """
    mine, theirs = (_effective_classes(*each) for each in zip(predicted, weights, strict=True))
    return np.minimum(mine, theirs) / np.maximum(mine, theirs)


def _effective_classes(predicted: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """exp(entropy) of the shares of classes, for each row of weights: float64 `[b]`."""
    shares = weights @ np.eye(int(predicted.max()) + 1)[predicted] / weights.sum(1)[:, None]
    logs = np.log(shares, out=np.zeros_like(shares), where=shares > 0)
    effective: np.ndarray = np.exp(-(shares * logs).sum(1))
    return effective


def _spread(points: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Root mean square distance from the mean, for each row of weights, unbiased: float64 `[b]`.

    The distance between two images is the root of two times as much, which a ratio does not notice.
    """
    points = np.asarray(points, np.float64)
    points = points - points.mean(0)
    total = np.maximum(weights.sum(1), 1)  # a draw may miss a class
    mean = weights @ points / total[:, None]
    squares = weights @ (points**2).sum(1) - total * (mean**2).sum(1)
    spread: np.ndarray = np.sqrt(np.maximum(squares, 0) / np.maximum(total - 1, 1))
    return spread
