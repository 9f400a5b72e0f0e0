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

from imagemint.studies.statistics import SCORES, holm

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
    from scipy import special  # a tenth of a second that processes which compute rows need not wait for

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
    reach = float(special.stdtrit(freedom, (1 + CONFIDENCE) / 2)) * se
    if variance > 0:
        p = 2 * float(special.stdtr(freedom, -abs(mean) / se))
    else:  # rule of three, Hanley & Lippman-Hand 1983: none of n differed, up to 3 / n could; exp(-3) is 0.05
        reach, p = 3 / images, float(np.exp(-abs(mean) * images))
    # No table of n images shows less than one image.
    detectable = max(reach + float(special.stdtrit(freedom, POWER)) * se, 1 / images)
    return Interval(mean, mean - reach, mean + reach, se, detectable, repeats, images, p)


@dataclass(frozen=True)
class Difference:
    """One arm against its baseline at one budget, in the score of the study: shares in 0..1, or nats."""

    budget: str
    arm: str
    baseline: str
    interval: Interval
    per_class: list[Interval]  # the same for the test images of each class
    p: float | None = None  # of the interval, corrected for the other comparisons of its report
    comparisons: int = 1  # in the report, this one included
    score: str = "accuracy"  # a row of statistics.SCORES
    chosen: bool = False  # whether the baseline is the best free arm, chosen on held-out training images

    @property
    def word(self) -> Word:
        """Helps, hurts, no measurable effect, or too few repeats to say; after the correction."""
        return _word(self.interval.mean, self.p)

    def sentence(self) -> str:
        """The verdict in plain words, in points (hundredths) or the unit of the score."""
        what, i = f"{self.arm} against {self.baseline}", self.interval
        if self.chosen:
            what += " (the best arm without other images, chosen on held-out training images)"
        if i.low is None or i.high is None or i.detectable is None:
            return (
                f"{what}: {self._with_unit(i.mean)} in one repeat, which says nothing about chance; "
                f"run {ENOUGH_REPEATS} repeats"
            )
        interval = f"95 % interval {self.amount(i.low)} to {self.amount(i.high)}{self._correction()}"
        span = f"{self._with_unit(i.mean)} ({interval})"
        if self.word == "no measurable effect":
            seen = f"{self.amount(i.detectable).lstrip('+')} {SCORES[self.score].unit}"
            return f"{what}: no measurable effect, {span}; this study could have seen {seen}"
        return f"{what}: {self.word}, {span}"

    def amount(self, value: float) -> str:
        """A value of the interval in the unit of the score, with its sign.

        >>> Difference("10", "mix", "real", _NOTHING, []).amount(0.012)
        '+1.2'
        """
        return amount(value, self.score)

    def _with_unit(self, value: float) -> str:
        row = SCORES[self.score]
        of = "" if self.score == "accuracy" else f" of {row.label.partition(' (')[0]}"
        return f"{self.amount(value)} {row.unit}{of}"

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
    *,
    score: str = "accuracy",
    values: tuple[NDArray[np.float64], NDArray[np.float64]] | None = None,
    chosen: bool = False,
) -> Difference:
    """The paired difference of two tables of right answers, bool `[repeats, images]`; labels int64 `[images]`.

    `values`: of the arm and its baseline the values per image of another `score`, float `[repeats, images]`. Classes
    are always compared by their share of right answers.
    """
    assert right.shape == baseline_right.shape == (len(right), len(labels)), (right.shape, baseline_right.shape)
    table = right.astype(np.int64) - baseline_right.astype(np.int64)
    per_class = [interval(table[:, labels == k]) if (labels == k).any() else _NOTHING for k in range(classes)]
    whole = interval(table if values is None else values[0] - values[1])
    return Difference(budget, arm, baseline, whole, per_class, whole.p, score=score, chosen=chosen)


def amount(value: float, score: str) -> str:
    """A difference of a score, a row of statistics.SCORES, in its unit: points (hundredths) or nats, with its sign.

    >>> amount(0.012, "macro-f1"), amount(-0.0123, "log-loss")
    ('+1.2', '−0.012')
    """
    return points(value) if SCORES[score].scale == 100 else _signed(value, 3)


def points(share: float) -> str:
    """A difference of shares in hundredths, with its sign: '+1.2', '−0.3', '0.0'."""
    return _signed(100 * share, 1)


def _signed(value: float, digits: int) -> str:
    text = f"{value:+.{digits}f}"
    return text[1:] if not float(text) else text.replace("-", "−")


_NOTHING = Interval(0.0, None, None, None, None, 0, 0)
