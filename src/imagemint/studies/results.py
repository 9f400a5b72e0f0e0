"""The results of a study, finished or not: what its folder holds, and what follows from it."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from imagemint.errors import StudyError
from imagemint.files import read_lines
from imagemint.runs import Run, open_run
from imagemint.studies.arms import COMPARISONS, in_words
from imagemint.studies.verdict import Difference, Interval, compare, interval


def cell(budget: str, repeat: int) -> str:
    """The name of what one budget and repeat wrote: "10-0"."""
    return f"{budget}-{repeat}"


@dataclass(frozen=True)
class Study:
    """An open study folder, finished or not."""

    path: Path
    facts: dict[str, Any]  # study.json: settings, extent, about
    rows: list[dict[str, Any]]

    @property
    def budgets(self) -> list[str]:
        """Budgets as named in the rows: "10", "50", "all"."""
        return list(self.facts["extent"]["budgets"])

    @property
    def arms(self) -> list[str]:
        """Arms, in the order of ARMS."""
        return list(self.facts["extent"]["arms"])

    @property
    def classes(self) -> list[str]:
        """Class names."""
        return list(self.facts["about"]["classes"])

    @cached_property
    def test_labels(self) -> np.ndarray:
        """int64 `[n]`: the class of each test image, as an index into `classes`."""
        labels: np.ndarray = np.load(self.path / "predictions" / "labels.npy", allow_pickle=False)
        return labels.astype(np.int64)

    def repeats(self, budget: str, *arms: str) -> list[int]:
        """Repeats of a budget for which all of these arms are there."""
        done = [{row["repeat"] for row in self.rows if row["budget"] == budget and row["arm"] == arm} for arm in arms]
        return sorted(set.intersection(*done)) if done else []

    def trainings(self, budget: str) -> dict[int, Run]:
        """The run of each repeat of a budget that has begun to train its GAN."""
        folders = {r: self.path / "runs" / cell(budget, r) for r in range(self.facts["extent"]["repeats"])}
        return {r: open_run(folder) for r, folder in folders.items() if (folder / "run.json").is_file()}

    def predictions(self, budget: str, repeat: int, arm: str) -> np.ndarray:
        """int64 `[n]`: what the classifier of a row says about each test image."""
        file = self.path / "predictions" / f"{cell(budget, repeat)}-{arm}.npy"
        return np.load(file, allow_pickle=False).astype(np.int64)

    def right(self, budget: str, arm: str, repeats: Sequence[int]) -> np.ndarray:
        """bool `[repeats, n]`: which test images the arm got right."""
        return np.stack([self.predictions(budget, repeat, arm) == self.test_labels for repeat in repeats])

    def difference(self, budget: str, arm: str, baseline: str) -> Difference | None:
        """`arm` against `baseline` over the repeats that have both; None where there is none."""
        repeats = self.repeats(budget, arm, baseline)
        if not repeats:
            return None
        right, before = (self.right(budget, side, repeats) for side in (arm, baseline))
        return compare(budget, arm, baseline, right, before, self.test_labels, len(self.classes))

    @cached_property
    def verdicts(self) -> dict[str, list[Difference]]:
        """For each budget the differences of `COMPARISONS` that can be computed, the question that counts first."""
        found = {b: [self.difference(b, arm, base) for arm, base in COMPARISONS] for b in self.budgets}
        return {budget: [each for each in differences if each] for budget, differences in found.items()}

    def accuracy(self, budget: str, arm: str) -> Interval | None:
        """Accuracy of an arm with its 95 % interval over repeats and test images; None where there is no row."""
        repeats = self.repeats(budget, arm)
        return interval(self.right(budget, arm, repeats)) if repeats else None

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
    def report(self) -> Path:
        """The report's file."""
        return self.path / "report.html"

    def summary(self) -> str:
        """A few lines for the terminal."""
        lines = []
        for budget, differences in self.verdicts.items():
            lines.append(in_words(budget))
            lines += [f"  {each.sentence()}" for each in differences]
        return "\n".join(lines)


def open_study(path: Path | str) -> Study:
    """Open a study folder. Raises StudyError where there is none or its settings are damaged."""
    path = Path(path)
    file = path / "study.json"
    if not file.is_file():
        raise StudyError(f"no study at {path}", "a folder that imagemint study wrote", "check the path")
    try:
        facts = json.loads(file.read_text(encoding="utf-8"))
        facts["settings"], facts["extent"], facts["about"]
    except (ValueError, KeyError, TypeError):
        found, remedy = f"{file} is damaged", "start the study in a new folder"
        raise StudyError(found, "a whole study.json", remedy) from None
    return Study(path, facts, read_lines(path / "rows.jsonl"))
