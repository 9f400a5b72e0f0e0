"""The results of a study, finished or not: what its folder holds, and what follows from it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from imagemint.runs import Run, open_run
from imagemint.studies.arms import FREE, comparisons, free_arms
from imagemint.studies.folder import (
    FIRST_SCORE,
    Cell,
    Row,
    StudyFacts,
    labels_file,
    load_classes,
    load_log_probabilities,
    read_facts,
    read_rows,
)
from imagemint.studies.plan import budget_in_words
from imagemint.studies.saturation import LEAST_BUDGETS, YARDSTICKS, Saturation, saturation_of
from imagemint.studies.statistics import SCORES
from imagemint.studies.verdict import Difference, Interval, compare, corrected, interval


@dataclass(frozen=True)
class Study:
    """An open study folder, finished or not."""

    path: Path
    facts: StudyFacts
    rows: list[Row]

    @property
    def budgets(self) -> list[str]:
        """Budgets as named in the rows: "10", "50", "all"."""
        return list(self.facts.extent.budgets)

    @property
    def arms(self) -> list[str]:
        """Arms, in the order of ARMS."""
        return list(self.facts.extent.arms)

    @property
    def classes(self) -> list[str]:
        """Class names."""
        return self.facts.about.classes

    @property
    def score(self) -> str:
        """What the verdict is given for, a row of statistics.SCORES."""
        return self.facts.settings.score or FIRST_SCORE

    @property
    def report(self) -> Path:
        """The report's file."""
        return self.path / "report.html"

    @property
    def measures(self) -> Path:
        """The file of a minted pack's measures, if there are any."""
        return self.path / "measures.json"

    @property
    def progress(self) -> tuple[int, int]:
        """How many rows are there, and how many there are to be."""
        extent = self.facts.extent
        keys = {
            (budget, repeat, arm)
            for budget in extent.budgets
            for repeat in range(extent.repeats)
            for arm in extent.arms
        }
        return len(keys & {row.key for row in self.rows}), len(keys)

    @cached_property
    def comparisons(self) -> list[tuple[str, str]]:
        """(arm, what it is compared with), the question that counts first."""
        chosen = Counter(best for budget in self.budgets if (best := self.best_free(budget)))
        return comparisons(self.arms, [arm for arm, _ in chosen.most_common()])

    @cached_property
    def test_labels(self) -> np.ndarray:
        """int64 `[n]`: the class of each test image, as an index into `classes`."""
        return load_classes(labels_file(self.path), len(self.classes))

    def cell(self, budget: str, repeat: int) -> Cell:
        """The files of one budget and one repeat."""
        return Cell(self.path, budget, repeat)

    def repeats(self, budget: str, *arms: str) -> list[int]:
        """Repeats of a budget for which all of these arms are there; FREE stands for the one that was chosen."""
        arms = tuple(self.best_free(budget) or arm if arm == FREE else arm for arm in arms)
        done = [{row.repeat for row in self.rows if row.budget == budget and row.arm == arm} for arm in arms]
        return sorted(set.intersection(*done)) if done else []

    def trainings(self, budget: str) -> dict[int, Run]:
        """The run of each repeat of a budget that has begun to train its GAN."""
        folders = {repeat: self.cell(budget, repeat).run for repeat in range(self.facts.extent.repeats)}
        return {repeat: open_run(folder) for repeat, folder in folders.items() if (folder / "run.json").is_file()}

    def predictions(self, budget: str, repeat: int, arm: str) -> np.ndarray:
        """int64 `[n]`: what the classifier of a row says about each test image."""
        file = self.cell(budget, repeat).predictions(arm)
        return load_classes(file, len(self.classes), len(self.test_labels))

    def right(self, budget: str, arm: str, repeats: Sequence[int]) -> np.ndarray:
        """bool `[repeats, n]`: which test images the arm got right."""
        return np.stack([self.predictions(budget, repeat, arm) == self.test_labels for repeat in repeats])

    def values(self, budget: str, arm: str, repeats: Sequence[int], score: str | None = None) -> np.ndarray:
        """float64 `[repeats, n]`: one value per test image whose mean is the score; higher is better."""
        row = SCORES[score or self.score]
        if row.log_probabilities:
            files = [self.cell(budget, repeat).log_probabilities(arm) for repeat in repeats]
            given = [np.exp(load_log_probabilities(file, len(self.test_labels))) for file in files]
            certain = np.zeros(len(self.test_labels), np.int64)  # the one column is the label's
            return np.stack([row.per_image(certain, each[:, None]) for each in given])
        answers = np.eye(len(self.classes))
        said = [answers[self.predictions(budget, repeat, arm)] for repeat in repeats]
        return np.stack([row.per_image(self.test_labels, each) for each in said])

    def validations(self, budget: str) -> dict[str, float]:
        """What each free arm reached on held-out images of its training subsets, mean over the same repeats."""
        arms = free_arms(self.arms)
        found = {
            arm: {
                row.repeat: row.validation
                for row in self.rows
                if (row.budget, row.arm) == (budget, arm) and row.validation is not None
            }
            for arm in arms
        }
        shared = set.intersection(*map(set, found.values())) if found else set()
        return {arm: float(np.mean([found[arm][repeat] for repeat in sorted(shared)])) for arm in arms if shared}

    def best_free(self, budget: str) -> str | None:
        """The free arm of the best validation, the yardstick of the first comparison; None where none was chosen."""
        found = self.validations(budget)
        return max(found, key=lambda arm: found[arm]) if found else None

    @cached_property
    def verdicts(self) -> dict[str, list[Difference]]:
        """For each budget the differences of `comparisons` that can be computed, the question that counts first.

        Their p-values are corrected for the number of all of them.
        """
        pairs: dict[tuple[str, str, str], bool] = {}  # of two equal comparisons the first, which is with FREE
        for budget in self.budgets:
            for arm, base in self.comparisons:
                against = self.best_free(budget) if base == FREE else base
                if against is not None and against != arm:
                    pairs.setdefault((budget, arm, against), base == FREE)
        made = (self._compared(*pair, chosen) for pair, chosen in pairs.items())
        found = corrected([each for each in made if each])
        return {budget: [each for each in found if each.budget == budget] for budget in self.budgets}

    def difference(self, budget: str, arm: str, baseline: str) -> Difference | None:
        """The verdict on `arm` against `baseline` (FREE: the best free arm); None where it was not compared."""
        for each in self.verdicts.get(budget, []):
            if each.arm == arm and (each.chosen if baseline == FREE else each.baseline == baseline):
                return each
        return None

    def _compared(self, budget: str, arm: str, baseline: str, chosen: bool) -> Difference | None:
        repeats = self.repeats(budget, arm, baseline)
        if not repeats:
            return None
        right, before = (self.right(budget, side, repeats) for side in (arm, baseline))
        mine, theirs = (self.values(budget, side, repeats) for side in (arm, baseline))
        return compare(
            budget,
            arm,
            baseline,
            right,
            before,
            self.test_labels,
            len(self.classes),
            score=self.score,
            values=(mine, theirs),
            chosen=chosen,
        )

    def level(self, budget: str, arm: str) -> Interval | None:
        """The study's score of an arm, as `values`, with its 95 % interval; None where there is no row."""
        repeats = self.repeats(budget, arm)
        return interval(self.values(budget, arm, repeats)) if repeats else None

    def accuracy(self, budget: str, arm: str) -> Interval | None:
        """Accuracy of an arm with its 95 % interval over repeats and test images; None where there is no row."""
        repeats = self.repeats(budget, arm)
        return interval(self.right(budget, arm, repeats)) if repeats else None

    def confusion(self, budget: str, arm: str) -> np.ndarray:
        """float `[k, k]`: share of the test images of class `row` that were called `column`, over all repeats."""
        counts = np.zeros((len(self.classes), len(self.classes)))
        for repeat in self.repeats(budget, arm):
            np.add.at(counts, (self.test_labels, self.predictions(budget, repeat, arm)), 1)
        shares: np.ndarray = counts / np.maximum(counts.sum(1, keepdims=True), 1)
        return shares

    def saturation(self) -> Difference | None:
        """`real` at the largest budget against `real` at the one before: whether more examples still help.

        None where there is one budget, or no repeat has both.
        """
        if len(self.budgets) < 2:
            return None
        small, large = self.budgets[-2:]
        repeats = sorted({*self.repeats(large, "real")} & {*self.repeats(small, "real")})
        if not repeats:
            return None
        right, before = (self.right(budget, "real", repeats) for budget in (large, small))
        return compare(large, "real", f"real at {small}", right, before, self.test_labels, len(self.classes))

    @property
    def yardstick(self) -> str | None:
        """The arm that the learning curve is of: the first of YARDSTICKS that has rows."""
        return next((arm for arm in YARDSTICKS if any(row.arm == arm for row in self.rows)), None)

    def per_class(self, arm: str, budgets: Sequence[str]) -> list[float]:
        """Real images per class at each budget, as the rows of an arm say."""
        counts = [[row.n_real for row in self.rows if (row.budget, row.arm) == (each, arm)] for each in budgets]
        return [float(np.mean(each)) / len(self.classes) for each in counts]

    def errors(self, budgets: Sequence[str], arm: str, repeats: Sequence[int]) -> np.ndarray:
        """What each test image misses to the best value of the score, float64 `[repeats, budgets, images]`."""
        best = SCORES[self.score].best
        return np.stack([best - self.values(budget, arm, repeats) for budget in budgets], 1)

    @cached_property
    def learning(self) -> Saturation | None:
        """The learning curve of the yardstick, and what more images would add; None where there is none to fit."""
        arm = self.yardstick
        budgets = [budget for budget in self.budgets if arm and self.repeats(budget, arm)]
        if arm is None or not budgets:
            return None
        repeats = sorted(set.intersection(*(set(self.repeats(budget, arm)) for budget in budgets)))
        if not repeats:
            return None
        return saturation_of(arm, self.score, self.per_class(arm, budgets), self.errors(budgets, arm, repeats))

    def to_json(self) -> dict[str, Any]:
        """The answers, as `imagemint study --json` prints them."""
        return {
            "path": str(self.path),
            "report": str(self.report),
            "score": self.score,
            "rows": len(self.rows),
            "verdicts": [
                {
                    "budget": each.budget,
                    "arm": each.arm,
                    "against": each.baseline,
                    "chosen": each.chosen,
                    "word": each.word,
                    "value": each.interval.mean,
                    "low": each.interval.low,
                    "high": each.interval.high,
                    "p": each.p,
                    "sentence": each.sentence(),
                }
                for budget in self.budgets
                for each in self.verdicts[budget]
            ],
            "saturation": self.learning.facts() if self.learning else None,
        }

    def summary(self) -> str:
        """A few lines for the terminal."""
        lines = []
        for budget, differences in self.verdicts.items():
            lines.append(budget_in_words(budget))
            lines += [f"  {each.sentence()}" for each in differences]
        if self.learning:
            lines += ["saturation", f"  {self.learning.sentence()}"]
        elif set(self.arms) <= {*YARDSTICKS, "floor"}:
            lines += [
                "saturation",
                f"  no learning curve can be fitted: it takes {LEAST_BUDGETS} budgets of different sizes, such as "
                "--budgets 10%,20%,50%,all",
            ]
        return "\n".join(lines)


def open_study(path: Path | str) -> Study:
    """Open a study folder. Raises StudyError where there is none or it is damaged."""
    path = Path(path)
    return Study(path, read_facts(path), read_rows(path))
