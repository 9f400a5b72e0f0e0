"""The statistics of a study beyond one difference: scores per image, many comparisons at once, learning curves.

A score that is a mean over test images can be compared by `verdict.interval` as accuracy is. `per_image` therefore
gives every score as one value per image whose mean is the score; for a score that is no plain mean these are its
first-order (influence) values, so that their spread is that of the score (Huber 1964; the delta method).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Values = NDArray[np.float64]
Labels = NDArray[np.int64]

_LEAST_PROBABILITY = 1e-7  # below it, the log loss of a single image would outweigh all others


def accuracy(labels: Labels, probabilities: Values) -> Values:
    """1 where the most probable class is right, else 0: float `[n]`.

    >>> accuracy(np.array([0, 1]), np.array([[0.9, 0.1], [0.8, 0.2]])).tolist()
    [1.0, 0.0]
    """
    return np.asarray(probabilities.argmax(1) == labels, np.float64)


def balanced_accuracy(labels: Labels, probabilities: Values) -> Values:
    """Values `[n]` whose mean is the mean recall over the classes that have test images.

    >>> labels = np.array([0, 0, 0, 1])
    >>> float(balanced_accuracy(labels, np.eye(2)[[0, 0, 0, 0]]).mean())
    0.5
    """
    counts = np.bincount(labels)
    weight = len(labels) / (np.count_nonzero(counts) * counts[labels])
    return accuracy(labels, probabilities) * weight


def macro_f1(labels: Labels, probabilities: Values) -> Values:
    """Values `[n]` whose mean is the mean F1 over the classes that have test images, to first order.

    F1 of class k is 2a / b, with a the share of images that are k and called k, and b the share that are k plus the
    share called k. The influence of one image on a ratio 2a / b is (2 a_i - F1 b_i) / b.

    >>> float(macro_f1(np.array([0, 1]), np.eye(2)).mean())
    1.0
    """
    called = probabilities.argmax(1)
    classes = np.unique(labels)
    total = np.zeros(len(labels))
    for k in classes:
        true, said = labels == k, called == k
        share = (true.mean() + said.mean()).item()
        f1 = 2 * (true & said).mean() / share
        total += f1 + (2 * (true & said) - f1 * (true.astype(np.float64) + said)) / share
    return total / len(classes)


def log_likelihood(labels: Labels, probabilities: Values) -> Values:
    """The logarithm of the probability that was given to the true class, per image; minus its mean is the log loss.

    >>> float(log_likelihood(np.array([0]), np.array([[1.0, 0.0]]))[0])
    0.0
    """
    return np.log(np.maximum(probabilities[np.arange(len(labels)), labels], _LEAST_PROBABILITY))


@dataclass(frozen=True)
class Score:
    """A row of SCORES: what a verdict can be given for."""

    per_image: Callable[[Labels, Values], Values]  # (labels, probabilities [n, k]) -> [n], higher is better
    label: str
    unit: str = "points"  # of a difference
    scale: float = 100  # from differences of `per_image` to the unit
    log_probabilities: bool = False  # whether it needs more than the most probable class
    best: float = 1.0  # of a classifier that is right and sure of every image; what is missing to it is the error


SCORES: dict[str, Score] = {
    "accuracy": Score(accuracy, "accuracy"),
    "balanced-accuracy": Score(balanced_accuracy, "balanced accuracy (mean recall of the classes)"),
    "macro-f1": Score(macro_f1, "macro F1 (mean F1 of the classes)"),
    "log-loss": Score(log_likelihood, "log likelihood (log loss with its sign turned)", "nats", 1, True, 0.0),
}


def holm(p_values: Sequence[float]) -> list[float]:
    """p-values corrected for their number (Holm 1979): each compared with 0.05 keeps the chance of any false one.

    >>> [round(p, 3) for p in holm([0.01, 0.04, 0.03])]
    [0.03, 0.06, 0.06]
    """
    order = np.argsort(p_values, kind="stable")
    corrected = np.empty(len(p_values))
    largest = 0.0
    for rank, at in enumerate(order):
        largest = max(largest, (len(p_values) - rank) * p_values[at])
        corrected[at] = min(largest, 1.0)
    return [float(each) for each in corrected]


@dataclass(frozen=True)
class Curve:
    """A learning curve: error(n) = floor + scale * n ** -rate, n in real images per class.

    The error is what a score misses to its best: a share in 0..1, or the log loss in nats.

    Power laws of this kind fit classifiers over orders of magnitude (Hestness et al. 2017, section 2).
    """

    floor: float
    scale: float
    rate: float

    def error(self, n: float) -> float:
        """The expected error with n real images per class."""
        return self.floor + self.scale * float(n) ** -self.rate

    def images(self, error: float) -> float:
        """Real images per class that reach an error; infinity where no number of them does."""
        if error <= self.floor or self.scale == 0:
            return float("inf")
        return float(((error - self.floor) / self.scale) ** (-1 / self.rate))


_RATES = np.linspace(0.05, 2.0, 79)


def fit_curve(n: Sequence[float], error: Sequence[float], weight: Sequence[float] | None = None) -> Curve:
    """The curve of least weighted squares through errors at two or more numbers of images; floor and scale are >= 0.

    For every rate of a grid, floor and scale are the non-negative least-squares solution; the best rate wins.

    >>> truth = Curve(0.1, 0.8, 0.5)
    >>> found = fit_curve([5, 10, 20, 40], [truth.error(n) for n in (5, 10, 20, 40)])
    >>> round(found.floor, 3), round(found.rate, 2)
    (0.1, 0.5)
    """
    sizes, errors = np.asarray(n, np.float64), np.asarray(error, np.float64)
    assert len(sizes) == len(errors) >= 2, (len(sizes), len(errors))
    weights = np.ones(len(sizes)) if weight is None else np.asarray(weight, np.float64)
    weights = weights / weights.sum()
    power = sizes ** -_RATES[:, None]  # [rates, len(n)]
    mean, mean_error = power @ weights, float(errors @ weights)
    centred = power - mean[:, None]
    slope = (centred * (errors - mean_error)) @ weights / (centred**2 @ weights)
    # The line of least squares; where its floor or its scale is negative, the better of those without one of the two.
    without = np.maximum((power * errors) @ weights / (power**2 @ weights), 0)
    choices = np.stack(
        [
            [mean_error - slope * mean, slope],
            [np.zeros(len(_RATES)), without],
            [np.full(len(_RATES), max(mean_error, 0)), np.zeros(len(_RATES))],
        ]
    )  # [3, (floor, scale), rates]
    missed = (choices[:, 0, :, None] + choices[:, 1, :, None] * power - errors) ** 2 @ weights
    missed[(choices < 0).any(1)] = np.inf
    kind, rate = np.unravel_index(np.argmax(missed <= missed.min() + 1e-24), missed.shape)
    floor, scale = choices[kind, :, rate]
    return Curve(float(floor), float(scale), float(_RATES[rate]))


@dataclass(frozen=True)
class Estimate:
    """A number with its 95 % interval over repeats and test images; `low`, `high` are None with a single repeat."""

    value: float
    low: float | None
    high: float | None


_RESAMPLES = 400


def gain_of_more(n: Sequence[float], errors: Values, more: float, *, seed: int = 0) -> Estimate:
    """How much of the score `more` real images per class, on top of the largest n, would add by the learning curve.

    `errors` float `[repeats, len(n), images]`: of each test image in each repeat, which is a nested draw of real
    images. The interval is that of bootstrap resamples of the repeats and of the test images (Owen 2007, "The
    pigeonhole bootstrap": never too narrow, on average).
    """

    def gain(table: Values) -> float:
        curve = fit_curve(n, table.mean(0).tolist())
        return curve.error(n[-1]) - curve.error(n[-1] + more)

    return _bootstrap(gain, errors, seed)


def worth(n: Sequence[float], errors: Values, at: int, reached: Values, *, seed: int = 0) -> Estimate:
    """How many more real images per class would have brought what an arm reached with `n[at]` of them.

    `errors` float `[repeats, len(n), images]` of the baseline, `reached` float `[repeats, images]` the errors of the
    arm in the same repeats. 0: none; negative: the arm did as badly as with fewer; infinity: more than the curve can
    tell. The interval is that of `gain_of_more`.
    """

    def images(table: Values) -> float:
        curve = fit_curve(n, table[:, :-1].mean(0).tolist())
        # read off relative to the fitted value at n[at], so that a misfit of the curve there does not count as worth
        target = curve.error(n[at]) + float((table[:, -1] - table[:, at]).mean())
        return curve.images(target) - n[at]

    return _bootstrap(images, np.concatenate([errors, reached[:, None]], 1), seed)


def _bootstrap(statistic: Callable[[Values], float], table: Values, seed: int) -> Estimate:
    """`statistic` of the means over images, `[repeats, columns]`, of a table `[repeats, columns, images]`."""
    value = statistic(table.mean(2))
    repeats, _, images = table.shape
    if repeats < 2:
        return Estimate(value, None, None)
    rng = np.random.default_rng(seed)
    draws = []
    for _ in range(_RESAMPLES):
        times = rng.multinomial(images, np.full(images, 1 / images)) / images  # how often each test image is drawn
        draws.append(statistic((table @ times)[rng.integers(0, repeats, repeats)]))
    low, high = np.quantile(draws, [0.025, 0.975], method="nearest")
    return Estimate(value, float(low), float(high))


def boundary(budgets: Sequence[float], words: Sequence[str]) -> tuple[float | None, float | None]:
    """The largest number of real images per class at which minting helps, and the next one, at which it does not.

    (None, None): it helps nowhere in the range studied; (n, None): still at the largest.

    >>> boundary([10, 20, 50], ["helps", "helps", "no measurable effect"])
    (20, 50)
    """
    helping = [k for k, word in enumerate(words) if word == "helps"]
    if not helping:
        return None, None
    last = helping[-1]
    return budgets[last], budgets[last + 1] if last + 1 < len(budgets) else None
