"""Scores of labelled images by the judge, and how much images of one class differ from each other."""

from __future__ import annotations

import numpy as np


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
