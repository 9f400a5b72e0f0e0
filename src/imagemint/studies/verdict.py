"""Differences between two arms, with intervals that count both sources of chance, and one plain word for each.

Every repeat of a study tests both arms on the same test images, so there is a table d[r, i] in {-1, 0, 1}: in
repeat r, was test image i got right by the arm (1), by its baseline (-1), or by both or neither (0)? Another study
would have drawn other repeats (real images, GAN, classifier) and other test images. With

    d[r, i] = mean + repeat_r + image_i + rest_ri        (crossed random effects, variances R, I and E)

the mean over m repeats and n images has the variance R/m + I/n + E/(mn). The mean squares of the two-way table
estimate it without bias (Searle, Casella & McCulloch 1992, ch. 4; Owen 2007, "The pigeonhole bootstrap", shows what
goes wrong when one of the two is left out): (MS_repeat + MS_image - MS_rest) / (mn).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from scipy import stats

from imagemint.studies.statistics import holm

Word = Literal["helps", "hurts", "no measurable effect", "too few repeats"]
CONFIDENCE, POWER = 0.95, 0.80
ENOUGH_REPEATS = 5  # with fewer, intervals are wide whatever the data (t quantile: 12.7 for 2 repeats, 2.8 for 5)


@dataclass(frozen=True)
class Interval:
    """A mean over repeats and test images. `low`, `high`: its 95 % interval, None with a single repeat."""

    mean: float
    low: float | None
    high: float | None
    se: float | None  # standard error
    detectable: float | None  # smallest true value that such a study tells from 0 in four of five tries
    repeats: int
    images: int
    p: float | None = None  # two-sided: the chance of a mean this far from 0 without an effect; < 0.05: 0 is outside

    @property
    def word(self) -> Word:
        """What the interval says about a difference, as the only one that was looked at."""
        return _word(self.mean, self.p)


def _word(mean: float, p: float | None) -> Word:
    if p is None:
        return "too few repeats"
    if p >= 1 - CONFIDENCE:
        return "no measurable effect"
    return "helps" if mean > 0 else "hurts"


def interval(table: NDArray[Any]) -> Interval:
    """The mean of `[repeats, images]` and its 95 % interval over other repeats and other test images.

    Degrees of freedom after Satterthwaite, at least those of the repeats. Simulated with 3 to 10 repeats and 100 to
    2,000 images, 1 to 8 of 100 studies without an effect were called one.
    """
    table = np.asarray(table, np.float64)
    repeats, images = table.shape
    mean = float(table.mean())
    if repeats < 2 or images < 2:
        return Interval(mean, None, None, None, None, repeats, images)
    of_repeats, of_images = table.mean(1), table.mean(0)
    rest = table - of_repeats[:, None] - of_images + mean
    by_repeat = of_repeats.var(ddof=1) / repeats  # MS_repeat / (mn)
    by_image = of_images.var(ddof=1) / images  # MS_image / (mn)
    both = (rest**2).sum() / ((repeats - 1) * (images - 1)) / (repeats * images)  # MS_rest / (mn)
    # The difference can come out below its parts, by chance or by rounding; the true variance cannot.
    variance = max(by_repeat + by_image - both, by_repeat, by_image)
    freedom = float(repeats - 1)
    if variance > 0:
        parts = (by_repeat, repeats - 1), (by_image, images - 1), (both, (repeats - 1) * (images - 1))
        freedom = max(freedom, variance**2 / sum(part**2 / df for part, df in parts))
    se = float(np.sqrt(variance))
    reach = float(stats.t.ppf((1 + CONFIDENCE) / 2, freedom)) * se
    if variance > 0:
        p = 2 * float(stats.t.sf(abs(mean) / se, freedom))
    else:  # rule of three, Hanley & Lippman-Hand 1983: none of n differed, up to 3 / n could; exp(-3) is 0.05
        reach, p = 3 / images, float(np.exp(-abs(mean) * images))
    # No table of n images shows less than one image.
    detectable = max(reach + float(stats.t.ppf(POWER, freedom)) * se, 1 / images)
    return Interval(mean, mean - reach, mean + reach, se, detectable, repeats, images, p)


@dataclass(frozen=True)
class Difference:
    """One arm against its baseline at one budget; accuracies are shares in 0..1."""

    budget: str
    arm: str
    baseline: str
    interval: Interval
    per_class: list[Interval]  # the same for the test images of each class
    p: float | None = None  # of the interval, corrected for the other comparisons of its report
    comparisons: int = 1  # in the report, this one included

    @property
    def word(self) -> Word:
        """Helps, hurts, no measurable effect, or too few repeats to say; after the correction."""
        return _word(self.interval.mean, self.p)

    def sentence(self) -> str:
        """The verdict in plain words, in points of accuracy (hundredths)."""
        what, i = f"{self.arm} against {self.baseline}", self.interval
        if i.low is None or i.high is None or i.detectable is None:
            return (
                f"{what}: {points(i.mean)} points in one repeat, which says nothing about chance; "
                f"run {ENOUGH_REPEATS} repeats"
            )
        span = f"{points(i.mean)} points (95 % interval {points(i.low)} to {points(i.high)}{self._correction()})"
        if self.word == "no measurable effect":
            return f"{what}: no measurable effect, {span}; this study could have seen {100 * i.detectable:.1f} points"
        return f"{what}: {self.word}, {span}"

    def _correction(self) -> str:
        if self.comparisons == 1 or self.p is None:
            return ""
        p = f"p {self.p:.3f}" if self.p >= 0.001 else "p below 0.001"
        return f"; {p}, corrected for {self.comparisons} comparisons"


def corrected(differences: Sequence[Difference]) -> list[Difference]:
    """All differences of one report with their p-values corrected for their number (Holm 1979).

    Who looks at twenty differences without an effect finds one interval without 0; the words must not.
    """
    tested = [each for each in differences if each.interval.p is not None]
    p_values = iter(holm([each.interval.p for each in tested if each.interval.p is not None]))
    return [
        replace(each, p=next(p_values), comparisons=len(tested)) if each.interval.p is not None else each
        for each in differences
    ]


def compare(
    budget: str,
    arm: str,
    baseline: str,
    right: NDArray[np.bool_],
    baseline_right: NDArray[np.bool_],
    labels: NDArray[Any],
    classes: int,
) -> Difference:
    """The paired difference of two tables of right answers, bool `[repeats, images]`; labels int64 `[images]`."""
    assert right.shape == baseline_right.shape == (len(right), len(labels)), (right.shape, baseline_right.shape)
    table = right.astype(np.int64) - baseline_right.astype(np.int64)
    per_class = [interval(table[:, labels == k]) if (labels == k).any() else _NOTHING for k in range(classes)]
    whole = interval(table)
    return Difference(budget, arm, baseline, whole, per_class, whole.p)


def points(share: float) -> str:
    """A difference of accuracies in hundredths, with its sign: '+1.2', '−0.3', '0.0'."""
    text = f"{100 * share:+.1f}"
    return "0.0" if text in ("+0.0", "-0.0") else text.replace("-", "−")


_NOTHING = Interval(0.0, None, None, None, None, 0, 0)
