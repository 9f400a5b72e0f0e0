"""What the answer of a study is worth in real images, and what would help its classifier most.

Both are read off the learning curve of a yardstick: the arm without other images that minted ones have to beat.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from imagemint import files
from imagemint.errors import RunError
from imagemint.runfolder import seconds_spent
from imagemint.studies import statistics
from imagemint.studies.arms import ARMS, USUALLY, find_arm
from imagemint.studies.plan import budget_in_words
from imagemint.studies.results import Study
from imagemint.studies.saturation import LEAST_BUDGETS as LEAST_BUDGETS
from imagemint.studies.saturation import LEAST_CLAIM, YARDSTICKS
from imagemint.studies.statistics import Estimate
from imagemint.studies.verdict import Word
from imagemint.words import counted

LABELLING_SECONDS = 5.0  # per image: an assumption, said where it is used, so that labelling has a cost in minutes


@dataclass(frozen=True)
class Worth:
    """What the images that an arm adds did, as a number of real images per class that would have done the same."""

    budget: str
    arm: str
    added: float  # images per class that the arm learned from beside the real ones
    images: Estimate  # more real images per class; infinity: more than the learning curve can tell
    largest: float  # real images per class of the largest budget: far beyond it the curve is a guess
    word: Word  # the verdict on the arm at this budget: without an effect there is no worth either

    def sentence(self) -> str:
        """In plain words.

        >>> Worth("10", "mix+classic", 10, Estimate(4.2, 1.0, 8.4), 100, "helps").sentence()
        'With 10 real images per class, 10 minted images per class were worth 4 more real ones per class (95 % \
interval 1 to 8).'
        """
        value, low, high = self.images.value, self.images.low, self.images.high
        what, was = f"arm {self.arm}", "was"  # augmentation, weights: nothing is added that could be counted
        if self.added:
            kind = "minted image" if find_arm(self.arm).minted else "added image"
            what, was = f"{counted(round(self.added), kind)} per class", "were"
        where = f"With {budget_in_words(self.budget)}, "
        if low is None or high is None:
            worth = f"{what} {was} worth {self._number(value)} more real ones per class"
            return f"{where}{worth} in one repeat, which says nothing about chance."
        between = f"95 % interval {self._number(low)} to {self._number(high)}"
        if self.word == "helps" and low > 0:
            return f"{where}{what} {was} worth {self._number(value)} more real ones per class ({between})."
        if self.word == "hurts" and high < 0:
            fewer = f"{self._number(-value)} fewer real ones per class"
            return f"{where}{what} did as much harm as {fewer} would have done ({between})."
        if low > 0 or high < 0:  # the verdict is corrected for the number of comparisons, the interval is not
            between += ", uncorrected for the number of comparisons"
        return f"{where}the worth of {what} cannot be told from 0 real ones ({between})."

    def _number(self, images: float) -> str:
        """Images per class; what lies far beyond the range studied is not said as a number."""
        if images > 10 * self.largest:
            return f"over {10 * self.largest:,.0f}"
        text = f"{images:,.0f}"
        return "0" if text == "-0" else text.replace("-", "−")


@dataclass(frozen=True)
class Advice:
    """One thing that could be done next, at the largest budget."""

    what: str
    gain: Estimate  # of the study's score over the yardstick, as in Difference: shares in 0..1, or nats
    minutes: float | None  # what it costs more than the yardstick; None where nobody measured it
    cost: str = ""  # in words, where minutes do not say all
    verdict: Word | None = None  # corrected for the number of comparisons, as the interval is not; None: no arm

    @property
    def sure(self) -> bool:
        """Whether there is a gain to speak of that chance does not explain."""
        apart = self.gain.low is not None and self.gain.low > 0 and self.verdict in (None, "helps")
        return apart and self.gain.value >= LEAST_CLAIM

    @property
    def loss(self) -> bool:
        """Whether it does harm that chance does not explain."""
        return self.gain.high is not None and self.gain.high < 0 and self.verdict in (None, "hurts")


def yardstick(study: Study) -> str | None:
    """The arm that the learning curve is of."""
    return study.yardstick


def worth(study: Study, budget: str, arm: str, baseline: str) -> Worth | None:
    """What `arm` was worth at a budget; None where there are too few budgets for a learning curve of `baseline`."""
    budgets = [each for each in study.budgets if study.repeats(each, baseline)]
    if budget not in budgets or len(budgets) < LEAST_BUDGETS or not find_arm(arm).real:
        return None
    sizes = study.per_class(baseline, budgets)
    repeats = sorted(
        set(study.repeats(budget, arm)).intersection(*(study.repeats(each, baseline) for each in budgets))
    )
    if not repeats or min(np.diff(sizes)) <= 0:
        return None
    reached = study.errors([budget], arm, repeats)[:, 0]
    errors = study.errors(budgets, baseline, repeats)
    found = statistics.worth(sizes, errors, budgets.index(budget), reached)
    rows = [row.n_minted for row in study.rows if (row.budget, row.arm) == (budget, arm)]
    verdict = study.difference(budget, arm, baseline)
    word: Word = verdict.word if verdict else "no measurable effect"
    return Worth(budget, arm, float(np.mean(rows)) / len(study.classes), found, sizes[-1], word)


def boundary(study: Study, arm: str, baseline: str) -> str:
    """In one sentence: up to how many real images per class an arm helps.

    Empty where a study of a single budget, or of a single repeat, cannot say.
    """
    found = [each for budget in study.budgets if (each := study.difference(budget, arm, baseline))]
    if len(found) < 2 or any(each.p is None for each in found):
        return ""
    budgets = [each.budget for each in found]
    last, beyond = statistics.boundary(list(range(len(found))), [each.word for each in found])
    what = "minted images help" if find_arm(arm).minted else "the added images help"
    if last is None:
        span = " to ".join([budgets[0], budgets[-1]])
        return f"The number of real images per class below which {what} is not in the range studied ({span})."
    if beyond is None:
        return f"Up to the largest training set studied, {budget_in_words(budgets[int(last)])}, {what}."
    here, there = (budget_in_words(budgets[int(each)]) for each in (last, beyond))
    return f"The boundary: with {here} {what}; with {there} no help can be measured."


def advice(study: Study) -> list[Advice]:
    """What could be done next at the largest budget, the surest gain (the low end of its interval) first."""
    base = yardstick(study)
    budget = next((each for each in reversed(study.budgets) if base and study.repeats(each, base)), None)
    if base is None or budget is None:
        return []
    found = [each for each in [_labelling(study, base, budget), *_arms(study, base, budget)] if each]
    return sorted(found, key=lambda each: (each.gain.low is None, -(each.gain.low or 0), -each.gain.value))


def not_tried(study: Study) -> list[str]:
    """Arms that would have been candidates."""
    return [name for name, arm in ARMS.items() if arm.real and arm.against and name not in study.arms]


def _labelling(study: Study, base: str, budget: str) -> Advice | None:
    """As many labelled images again, by the learning curve."""
    budgets = [each for each in study.budgets if study.repeats(each, base)]
    repeats = sorted(set[int].intersection(*(set(study.repeats(each, base)) for each in budgets)))
    sizes = study.per_class(base, budgets)
    if len(budgets) < LEAST_BUDGETS or not repeats or min(np.diff(sizes)) <= 0:
        return None
    gain = statistics.gain_of_more(sizes, study.errors(budgets, base, repeats), sizes[-1])
    images = round(sizes[-1] * len(study.classes))
    return Advice(
        what=f"label as many images again ({sizes[-1]:,.0f} more per class)",
        gain=gain,
        minutes=images * LABELLING_SECONDS / 60,
        cost=f"{counted(images, 'image')} to label, if each takes {LABELLING_SECONDS:g} seconds: count with your own",
    )


def _arms(study: Study, base: str, budget: str) -> list[Advice]:
    """Every arm that learns from the real images and more than the yardstick does."""
    found = []
    for arm in study.arms:
        kind = find_arm(arm)
        each = study.difference(budget, arm, base) if kind.real and arm not in YARDSTICKS else None
        if each is not None:
            gain = Estimate(each.interval.mean, each.interval.low, each.interval.high)
            minutes = _minutes(study, budget, arm, base)
            found.append(Advice(f"{arm}: {kind.about}", gain, minutes, verdict=each.word))
    return found


def _minutes(study: Study, budget: str, arm: str, base: str) -> float:
    """What an arm took in one repeat beyond its yardstick: its classifier, and the training of what it mints with."""
    took = {
        name: float(np.mean([row.seconds for row in study.rows if (row.budget, row.arm) == (budget, name)]))
        for name in (arm, base)
    }
    seconds = max(took[arm] - took[base], 0.0)
    kind = find_arm(arm)
    if minting := kind.minting or (USUALLY if kind.discriminator else None):
        runs = [study.cell(budget, repeat).run_of(minting.recipe) for repeat in study.repeats(budget, arm)]
        seconds += float(np.mean([_clock(run) for run in runs])) if runs else 0.0
    return seconds / 60


def _clock(run: Path) -> float:
    """Seconds that a training took; 0 where it kept no clock. Raises RunError where that is damaged."""
    file = run / "clock.jsonl"
    try:
        return seconds_spent(files.read_lines(file))
    except (files.Damaged, KeyError, TypeError):
        wanted, advice = (
            "seconds of each session, as training writes them",
            "remove it: costs are then without that GAN",
        )
        raise RunError(f"{file} is damaged", wanted, advice) from None
