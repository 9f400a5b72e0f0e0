"""The answer of a study in words and tables of values, as its page and its Markdown file both say it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from imagemint.studies.advice import LEAST_BUDGETS, Advice, worth
from imagemint.studies.advice import boundary as boundary_of
from imagemint.studies.arms import FREE, Arm, find_arm
from imagemint.studies.plan import ALL, budget_in_words
from imagemint.studies.results import Study
from imagemint.studies.saturation import YARDSTICKS
from imagemint.studies.statistics import SCORES
from imagemint.studies.verdict import ENOUGH_REPEATS, Difference, Interval, amount
from imagemint.words import counted, listed, shortened

# --- the question -------------------------------------------------------------------------------------------------


def question(study: Study) -> tuple[str, str] | None:
    """The comparison that the headline is about: the first of which any budget has rows."""
    asked = (each for each in study.comparisons if any(study.repeats(budget, *each) for budget in study.budgets))
    return next(asked, None)


def answers(study: Study) -> list[Difference]:
    """The difference that the question is about at every budget that has it."""
    asked = question(study)
    return [each for budget in study.budgets if asked and (each := study.difference(budget, *asked))]


def focus(study: Study) -> Difference | None:
    """The one of `answers` that is looked at more closely: the largest effect, if any was found, or the last one."""
    found = answers(study)
    effects = [each for each in found if each.word in ("helps", "hurts")]
    return max(effects, key=lambda each: abs(each.interval.mean)) if effects else found[-1] if found else None


def arm_name(arm: str) -> str:
    """`arm strong`, as it stands in a sentence."""
    return f"arm {shortened(arm)}"


def title(study: Study) -> str:
    """What the study asks."""
    asked = question(study)
    if asks_for_saturation(study):
        return "Would more images help?"
    return "Do minted images help?" if not asked or find_arm(asked[0]).minted else "Do more images help?"


def subtitle(study: Study) -> str:
    """What it was asked of, in a line."""
    facts = study.facts
    parts = [
        shortened(Path(facts.about.pack.path).name),
        counted(len(study.classes), "class", "classes"),
        *([f"recipe {facts.settings.recipe.name}"] if facts.settings.recipe else []),
        counted(facts.extent.repeats, "repeat"),
        counted(facts.about.test.images, "test image"),
    ]
    return " · ".join(parts)


# --- the score ----------------------------------------------------------------------------------------------------


def score_name(study: Study) -> str:
    """As in "raised balanced accuracy"."""
    return SCORES[study.score].label.partition(" (")[0]


def unit(study: Study) -> str:
    """Of a difference of the score: points (hundredths) or nats."""
    return SCORES[study.score].unit


def with_unit(study: Study, difference: float) -> str:
    """As in '+1.2 points'."""
    return f"{amount(difference, study.score)} {unit(study)}"


def size(study: Study, difference: float) -> str:
    """A difference without its sign, as in '1.2 points'."""
    return with_unit(study, abs(difference)).lstrip("+")


def level(study: Study, value: float) -> str:
    """A value of the score itself: per cent, or nats.

    A mean over images may leave the range of a share by rounding, and an interval may do so widely: it is cut there.
    """
    return f"{100 * min(max(value, 0), 1):.1f}" if SCORES[study.score].scale == 100 else f"{value:.3f}"


# --- the sentences ------------------------------------------------------------------------------------------------


def headline(study: Study) -> tuple[str, str]:
    """(helps, hurts, mixed, nothing or unknown; the answer in plain sentences)."""
    if asks_for_saturation(study):
        return _saturation(study)
    asked, found = question(study), answers(study)
    if asked is None:
        return "unknown", "No two arms can be compared yet."
    arm = find_arm(asked[0])
    subject = _subject(arm, asked, found)
    if any(each.word == "too few repeats" for each in found):
        helping = "minted images help" if arm.minted else f"{arm_name(asked[0])} helps"
        few = f"This study cannot say yet whether {helping}: one repeat says nothing about chance."
        return "unknown", f"{few} Run {ENOUGH_REPEATS} repeats."
    if not found:  # the best free arm is not chosen before all free arms have a row
        return "unknown", "The arms that are to be compared are not all trained yet."
    helps, hurts, nothing = (
        [each for each in found if each.word == word] for word in ("helps", "hurts", "no measurable effect")
    )
    if not helps and not hurts:
        where = f"with {_at(nothing)}" if len(nothing) < 2 else f"at {len(nothing)} sizes of training set"
        smallest = max(each.interval.detectable or 0 for each in nothing)
        return "nothing", (
            f"No measurable effect: {subject[0].lower()}{subject[1:]} made no measurable difference to "
            f"{score_name(study)} {where}. This study could have seen a difference of {size(study, smallest)}, "
            "but hardly a smaller one."
        )
    sentences = ["It depends." if helps and hurts else "Yes." if helps else "No."]
    if helps:
        sentences.append(f"{subject} raised {score_name(study)} with {_at(helps, numbers=True)}.")
    if hurts:
        again = "They" if subject.endswith("images") else "It"
        sentences.append(
            f"{again if helps else subject} lowered {score_name(study)} with {_at(hurts, numbers=True)}."
        )
    if nothing:
        sentences.append(f"No measurable effect with {_at(nothing)}.")
    if asked[1] == FREE and arm.added:
        sentences += [words for each in helps if (words := _as_good_for_free(study, each))]
    return "mixed" if helps and hurts else "helps" if helps else "hurts", " ".join(sentences)


def _subject(arm: Arm, asked: tuple[str, str], found: Sequence[Difference]) -> str:
    """What did it: in the arm's own words where it is compared with what these words name, else by names.

    The best free arm may be another one than the augmentation that the words speak of.
    """
    named = [name for name in arm.against[:2] if name != FREE][:1]
    bases = {each.baseline for each in found} or {asked[1]}
    if arm.subject and bases <= {*named}:
        return arm.subject
    against = f"{bases.pop()}, the {FREE}" if asked[1] == FREE and len(bases) == 1 else asked[1]
    what = arm.subject.rpartition(", ")[2]
    return f"Compared with {against}, " + (f"{what} ({asked[0]})" if what else asked[0])


def _as_good_for_free(study: Study, gain: Difference) -> str:
    """The free arm that did as well on test images as the arm that helps; empty where there is none.

    Few held-out images may have chosen another one as the best free arm. Nothing is chosen by this look: it can only
    take from a claim.
    """
    found = {
        name: reached.mean
        for name in study.arms
        if find_arm(name).free and name != gain.baseline and (reached := study.level(gain.budget, name))
    }
    own, best = study.level(gain.budget, gain.arm), max(found, key=lambda name: found[name], default=None)
    if own is None or best is None or found[best] < own.mean:
        return ""
    return (
        f"But {arm_name(best)}, which needs no other images, did as well with {budget_in_words(gain.budget)}: "
        f"{level(study, found[best])} against {level(study, own.mean)} on the test images, although held-out "
        f"training images chose {gain.baseline}."
    )


def asks_for_saturation(study: Study) -> bool:
    """Whether all arms learn from the real images alone, plainly or with ordinary augmentation, as --saturation asks.

    The answer is then whether more images of any kind could help.
    """
    return len(study.budgets) > 1 and {"real"} <= set(study.arms) <= {*YARDSTICKS, "floor"}


def _saturation(study: Study) -> tuple[str, str]:
    if study.learning is None:
        return "unknown", (
            f"No learning curve can be fitted yet: it takes {LEAST_BUDGETS} budgets of different sizes, and a repeat "
            "that has all of them."
        )
    words = {"could help": "helps", "no measurable help": "nothing"}
    return words.get(study.learning.answer, "unknown"), study.learning.sentence()


def _at(group: list[Difference], *, numbers: bool = False) -> str:
    """'10 real images per class (+1.2 points) and all real images (+0.3 points)'; '10 and 20 real images per class'.

    The second form is that without numbers.
    """
    if numbers:
        sized = (each.amount(each.interval.mean) + f" {SCORES[each.score].unit}" for each in group)
        return _and([f"{budget_in_words(each.budget)} ({size})" for each, size in zip(group, sized, strict=True)])
    plain = [each.budget for each in group if each.budget.isdigit()]
    others = [budget_in_words(each.budget) for each in group if not each.budget.isdigit()]
    if len(plain) > 1:
        return _and([f"{_and(plain)} real images per class", *others])
    return _and([*map(budget_in_words, plain), *others])


def _and(parts: list[str]) -> str:
    return " and ".join([", ".join(parts[:-1]), parts[-1]] if len(parts) > 1 else parts)


def budget_in_short(budget: str) -> str:
    """A budget as the head of a column: '10 per class', '10 % per class', 'all'."""
    return "all" if budget == ALL else f"{budget.replace('%', ' %')} per class"


def certainty(study: Study) -> str:
    """How sure the answer is, in one sentence; empty where there is none."""
    if asks_for_saturation(study):
        return ""
    found = [each for each in answers(study) if each.p is not None]
    if not found:
        return ""
    low = min(found, key=lambda each: each.p or 0)
    least = "below 0.001" if (low.p or 0) < 0.001 else f"{low.p:.3f}"
    others = f", corrected for the {low.comparisons} comparisons of this report" if low.comparisons > 1 else ""
    chance = f"the smallest p is {least} (with {budget_in_words(low.budget)}{others})"
    if len(found) == 1:
        chance = f"p is {least}{others}"
    repeats = min(each.interval.repeats for each in found)
    few = f" Fewer than {ENOUGH_REPEATS} repeats make wide intervals." if repeats < ENOUGH_REPEATS else ""
    images = counted(low.interval.images, "test image")
    return f"How sure: {chance}; {counted(repeats, 'repeat')}, {images}.{few}"


def worth_of(study: Study, each: Difference) -> str:
    """What the images of an arm were worth in real ones at a budget; empty where that cannot be said."""
    found = worth(study, each.budget, each.arm, each.baseline)
    return found.sentence() if found else ""


def in_real_images(study: Study) -> list[str]:
    """What the answer is worth in real images, and up to how many of them it holds."""
    asked, each = question(study), focus(study)
    if asked is None or each is None or not find_arm(asked[0]).added:
        return []
    said = worth_of(study, each)
    if not said and len(study.budgets) < LEAST_BUDGETS:
        said = (
            "What that is worth in real images is read off a learning curve, which takes "
            f"{LEAST_BUDGETS} budgets or more; this study has {len(study.budgets)}."
        )
    return [line for line in (said, boundary_of(study, *asked)) if line]


def left_out(study: Study) -> list[str]:
    """What the answer does not rest on, and what else a person should know of how the study was set up."""
    about, lines = study.facts.about, []
    for kind, count in (("exact", about.leaked), ("near", about.near)):
        if count:
            copies = counted(count, f"{kind} copy", f"{kind} copies")
            lines.append(f"{copies} of test images, left out of the training pack.")
    if about.without_test:
        classes = [f"{shortened(each)} ({counted(n, 'training image')})" for each, n in about.without_test.items()]
        lines.append(f"Left out of both packs, since no test image is of them: {listed(classes)}.")
    for arm, added in about.added.items():
        lines += [f"{arm_name(arm)}: {line}." for line in added.left_out()]
    return [*lines, *(f"{line[:1].upper()}{line[1:].rstrip('.')}." for line in about.remarks)]


def largest(study: Study, arm: str) -> str:
    """The largest budget at which an arm has rows."""
    return next(each for each in reversed(study.budgets) if study.repeats(each, arm))


def sureness(each: Advice) -> str:
    """What can be said of a gain."""
    if each.sure:
        return "a sure gain"
    return "a loss" if each.loss else "not sure"


def minutes(given: float | None) -> str:
    """A cost, in the unit that suits it."""
    if given is None:
        return "not measured"
    if given >= 90:
        return f"{given / 60:,.1f} hours"
    return f"{given:.0f} min" if given >= 2 else f"{60 * given:.0f} s"


# --- tables -------------------------------------------------------------------------------------------------------


def difference_table(study: Study) -> list[tuple[str, str, list[Difference | None]]]:
    """(arm, baseline, one difference per budget) for every comparison that has rows."""
    rows = [(arm, base, [study.difference(b, arm, base) for b in study.budgets]) for arm, base in study.comparisons]
    return [(arm, base, row) for arm, base, row in rows if any(row)]


def level_table(study: Study) -> list[tuple[str, list[Interval | None]]]:
    """(arm, its score at every budget)."""
    rows = [(arm, [study.level(budget, arm) for budget in study.budgets]) for arm in study.arms]
    return [(arm, row) for arm, row in rows if any(row)]


@dataclass(frozen=True)
class OfClass:
    """What became of one class: its recall, in 0..1, without and with the arm, and the difference."""

    label: int
    images: int  # of the test pack
    before: float
    after: float
    difference: Interval


def class_table(study: Study, each: Difference) -> list[OfClass]:
    """A row for every class that has test images, in the order of the classes."""
    repeats = study.repeats(each.budget, each.arm, each.baseline)
    after, before = (study.right(each.budget, arm, repeats).mean(0) for arm in (each.arm, each.baseline))
    rows = []
    for label, interval in enumerate(each.per_class):
        mine = study.test_labels == label
        if mine.any():
            found = OfClass(label, int(mine.sum()), float(before[mine].mean()), float(after[mine].mean()), interval)
            rows.append(found)
    return rows


def gains_and_losses(study: Study, each: Difference) -> list[str]:
    """Who gains most, who loses most, and who is worst off: one sentence each. The differences are recalls."""
    rows = class_table(study, each)
    most, least = (pick(rows, key=lambda row: row.difference.mean) for pick in (max, min))
    worst = min(rows, key=lambda row: row.after)
    lines = []
    if most.difference.mean > 0:
        lines.append(f"Gains most: {_moved(study, most)}.")
    if least.difference.mean < 0:
        lines.append(f"Loses most: {_moved(study, least)}.")
    lines.append(
        f"Worst off: {shortened(study.classes[worst.label])}, of whose test images {shortened(each.arm)} recognises "
        f"{100 * worst.after:.1f} % and {shortened(each.baseline)} {100 * worst.before:.1f} %."
    )
    return lines


def _moved(study: Study, row: OfClass) -> str:
    i = row.difference
    between = ""
    if i.low is not None and i.high is not None:
        between = f", 95 % interval {amount(i.low, 'accuracy')} to {amount(i.high, 'accuracy')}"
    return f"{shortened(study.classes[row.label])} ({amount(i.mean, 'accuracy')} points{between})"


def most_moved(found: list[Difference], count: int) -> list[int]:
    """Up to `count` classes with the largest differences at any budget, in label order."""
    moved = np.max([[abs(i.mean) for i in each.per_class] for each in found], axis=0)
    return sorted(np.argsort(-moved, kind="stable")[:count].tolist())
