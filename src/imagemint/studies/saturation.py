"""Could more images of any kind help a classifier? Read off the learning curve of real images alone."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal

import numpy as np

from imagemint.studies.statistics import SCORES, Curve, Estimate, Values, fit_curve, gain_of_more
from imagemint.studies.verdict import ENOUGH_REPEATS, amount

YARDSTICKS = ("classic", "real")  # the learning curve is of the first that a study has
LEAST_BUDGETS = 3  # for a learning curve: it has three parameters
LEAST_CLAIM = 0.002  # 0.2 points (or 0.002 nats): a smaller gain is none, whatever its interval

Answer = Literal["could help", "no measurable help", "cannot be told", "too few repeats"]


@dataclass(frozen=True)
class Saturation:
    """The learning curve of an arm that learns from real images alone, and what twice as many would add."""

    arm: str
    score: str  # a row of SCORES
    images: list[float]  # real images per class at each budget
    errors: list[float]  # what the arm misses there to the best value of the score, mean over repeats
    curve: Curve  # fitted to them
    gain: Estimate  # of the score, by twice the real images of the largest budget

    @property
    def answer(self) -> Answer:
        """Whether more images of any kind could help."""
        low, high = self.gain.low, self.gain.high
        if low is None or high is None:
            return "too few repeats"
        if low >= LEAST_CLAIM:
            return "could help"
        return "no measurable help" if high < LEAST_CLAIM else "cannot be told"

    def sentence(self) -> str:
        """The answer in plain words.

        >>> curve = Curve(0.1, 0.8, 0.5)
        >>> Saturation("real", "accuracy", [10, 20, 40], [], curve, Estimate(0.037, 0.021, 0.05)).sentence()
        'More images could help: by the learning curve of real, twice the 40 real images per class would add +3.7 \
points of accuracy (95 % interval +2.1 to +5.0).'
        """
        row, gain = SCORES[self.score], self.gain
        value = f"{amount(gain.value, self.score)} {row.unit} of {row.label.partition(' (')[0]}"
        if gain.low is not None and gain.high is not None:
            value += f" (95 % interval {amount(gain.low, self.score)} to {amount(gain.high, self.score)})"
        said = (
            f"by the learning curve of {self.arm}, twice the {self.images[-1]:,.0f} real images per class would add "
            f"{value}"
        )
        return {
            "could help": f"More images could help: {said}.",
            "no measurable help": f"More images of any kind cannot be expected to help: {said}.",
            "cannot be told": f"Whether more images could help cannot be told: {said}; run more repeats.",
            "too few repeats": f"One repeat says nothing about chance, so run {ENOUGH_REPEATS}: {said}.",
        }[self.answer]

    def facts(self) -> dict[str, Any]:
        """All of it for JSON: the curve is error = floor + scale * images ** -rate."""
        return {**asdict(self), "answer": self.answer, "sentence": self.sentence()}


def saturation_of(arm: str, score: str, images: Sequence[float], errors: Values) -> Saturation | None:
    """What `errors` `[repeats, budgets, test images]` at so many real images per class say.

    None where there are fewer than `LEAST_BUDGETS` budgets of different sizes, or no repeat that has all of them.
    """
    if len(images) < LEAST_BUDGETS or not len(errors) or min(np.diff(images)) <= 0:
        return None
    mean = errors.mean((0, 2)).tolist()
    gain = gain_of_more(images, errors, images[-1])
    return Saturation(arm, score, list(images), mean, fit_curve(images, mean), gain)
