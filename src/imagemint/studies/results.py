"""The results of a study, finished or not: what its folder holds, and what follows from it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np

from imagemint.runs import Run, open_run
from imagemint.studies.arms import comparisons
from imagemint.studies.folder import Cell, Row, StudyFacts, labels_file, load_classes, read_facts, read_rows
from imagemint.studies.plan import budget_in_words
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
        return comparisons(self.arms)

    @cached_property
    def test_labels(self) -> np.ndarray:
        """int64 `[n]`: the class of each test image, as an index into `classes`."""
        return load_classes(labels_file(self.path), len(self.classes))

    def cell(self, budget: str, repeat: int) -> Cell:
        """The files of one budget and one repeat."""
        return Cell(self.path, budget, repeat)

    def repeats(self, budget: str, *arms: str) -> list[int]:
        """Repeats of a budget for which all of these arms are there."""
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

    @cached_property
    def verdicts(self) -> dict[str, list[Difference]]:
        """For each budget the differences of `comparisons` that can be computed, the question that counts first.

        Their p-values are corrected for the number of all of them.
        """
        pairs = [(budget, *pair) for budget in self.budgets for pair in self.comparisons]
        found = corrected([each for pair in pairs if (each := self._compared(*pair))])
        return {budget: [each for each in found if each.budget == budget] for budget in self.budgets}

    def difference(self, budget: str, arm: str, baseline: str) -> Difference | None:
        """The verdict on `arm` against `baseline`; None where there is no such comparison, or no repeat has both."""
        found = self.verdicts.get(budget, [])
        return next((each for each in found if (each.arm, each.baseline) == (arm, baseline)), None)

    def _compared(self, budget: str, arm: str, baseline: str) -> Difference | None:
        repeats = self.repeats(budget, arm, baseline)
        if not repeats:
            return None
        right, before = (self.right(budget, side, repeats) for side in (arm, baseline))
        return compare(budget, arm, baseline, right, before, self.test_labels, len(self.classes))

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

    def summary(self) -> str:
        """A few lines for the terminal."""
        lines = []
        for budget, differences in self.verdicts.items():
            lines.append(budget_in_words(budget))
            lines += [f"  {each.sentence()}" for each in differences]
        return "\n".join(lines)


def open_study(path: Path | str) -> Study:
    """Open a study folder. Raises StudyError where there is none or it is damaged."""
    path = Path(path)
    return Study(path, read_facts(path), read_rows(path))
