"""What an answer is worth and what to do next: read off studies whose learning curves are known."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import numpy as np
import pytest

from imagemint.errors import RunError
from imagemint.studies import advice
from imagemint.studies.advice import Advice, Worth
from imagemint.studies.results import Study
from imagemint.studies.statistics import SCORES, Estimate
from imagemint.studies.verdict import Word, compare, corrected

TEST, CLASSES, REPEATS = 4000, 2, 4
BUDGETS = {"10": 10, "20": 20, "40": 40}


def error(n: float) -> float:
    return 0.05 + 0.6 * float(n) ** -0.7


class Made:
    """A study in which arms of `extra` real images per class more do as well as so many more would."""

    def __init__(self, tmp_path: Path, **extra: float) -> None:
        rng = np.random.default_rng(0)
        self.path, self.classes, self.budgets = tmp_path, ["a", "b"], list(BUDGETS)
        self.extra = {"classic": 0.0, **{name.replace("_", "+"): more for name, more in extra.items()}}
        self.arms, self.score = list(self.extra), "accuracy"
        self.labels = rng.integers(0, 2, TEST)
        hard = rng.random(TEST)  # the same images are hard for every arm
        self.tables = {
            (budget, arm): np.stack([hard > error(n + more) + rng.normal(0, 0.001) for _ in range(REPEATS)])
            for budget, n in BUDGETS.items()
            for arm, more in self.extra.items()
        }
        self.rows = [
            SimpleNamespace(
                budget=budget,
                arm=arm,
                repeat=repeat,
                n_real=n * CLASSES,
                n_minted=200 * (arm != "classic"),
                seconds=90.0 if arm == "classic" else 150.0,
            )
            for budget, n in BUDGETS.items()
            for arm in self.arms
            for repeat in range(REPEATS)
        ]
        pairs = [(budget, arm) for budget in BUDGETS for arm in self.arms if arm != "classic"]
        self.found = corrected(
            [
                compare(b, arm, "classic", self.tables[b, arm], self.tables[b, "classic"], self.labels, CLASSES)
                for b, arm in pairs
            ]
        )

    errors, per_class, yardstick = Study.errors, Study.per_class, Study.yardstick

    def cell(self, budget: str, repeat: int) -> SimpleNamespace:
        return SimpleNamespace(run_of=lambda recipe: self.path / f"{budget}-{repeat}-{recipe}")

    def repeats(self, budget: str, *arms: str) -> list[int]:
        return list(range(REPEATS)) if set(arms) <= set(self.arms) else []

    def values(self, budget: str, arm: str, repeats: list[int]) -> np.ndarray:
        rows = SCORES[self.score]
        said = np.where(self.tables[budget, arm][repeats], self.labels, 1 - self.labels)
        return np.stack([rows.per_image(self.labels, np.eye(CLASSES)[each]) for each in said])

    def difference(self, budget: str, arm: str, baseline: str) -> Any:
        return next((e for e in self.found if (e.budget, e.arm, e.baseline) == (budget, arm, baseline)), None)


def made(tmp_path: Path, **extra: float) -> Study:
    return cast(Study, Made(tmp_path, **extra))


def test_worth_is_the_real_images_that_would_have_done_the_same(tmp_path: Path) -> None:
    study = made(tmp_path, mix_classic=10)
    found = advice.worth(study, "20", "mix+classic", "classic")
    assert found is not None and found.added == 100 and found.word == "helps"
    assert found.images.value == pytest.approx(10, abs=3) and found.largest == max(BUDGETS.values())
    assert found.sentence().startswith("With 20 real images per class, 100 minted images per class were worth ")
    harm = advice.worth(made(tmp_path, mix_classic=-8), "20", "mix+classic", "classic")
    assert harm is not None and harm.images.value == pytest.approx(-8, abs=3) and "harm" in harm.sentence()


def test_no_worth_without_an_effect_or_a_curve(tmp_path: Path) -> None:
    none = advice.worth(made(tmp_path, mix_classic=0), "20", "mix+classic", "classic")
    assert none is not None and "cannot be told from 0" in none.sentence()
    assert advice.worth(made(tmp_path), "20", "mix+classic", "classic") is None
    few = made(tmp_path, mix_classic=10)
    few.budgets[:] = ["10", "20"]
    assert advice.worth(few, "20", "mix+classic", "classic") is None


@pytest.mark.parametrize(
    ("low", "high", "word"), [(1.0, 8.0, "no measurable effect"), (-1.0, 8.0, "helps"), (-8.0, 1.0, "hurts")]
)
def test_nothing_is_claimed_that_verdict_and_interval_do_not_carry(low: float, high: float, word: Any) -> None:
    found = Worth("10", "mix", 10, Estimate((low + high) / 2, low, high), 50, word)
    assert "cannot be told from 0" in found.sentence()


def test_what_adds_no_image_is_named_and_not_counted() -> None:
    found = Worth("20", "strong", 0, Estimate(7.0, 4.0, 11.0), 100, "helps").sentence()
    assert "arm strong was worth 7 more real ones per class" in found and "0 added" not in found


def test_an_interval_without_0_says_why_it_is_no_claim() -> None:
    found = Worth("10", "mix", 10, Estimate(3.0, 1.0, 6.0), 50, "no measurable effect").sentence()
    assert "cannot be told from 0" in found and "uncorrected" in found
    across = Worth("10", "mix", 10, Estimate(3.0, -1.0, 6.0), 50, "no measurable effect").sentence()
    assert "uncorrected" not in across


def test_a_number_far_beyond_the_range_is_not_said() -> None:
    found = Worth("10", "mix", 10, Estimate(float("inf"), 30, float("inf")), 50, "helps")
    assert "worth over 500 more real ones per class (95 % interval 30 to over 500)" in found.sentence()
    just = Worth("10", "mix", 10, Estimate(500.0, 30, 500.0), 50, "helps")  # ten times the largest budget
    assert "worth 500 more real ones per class (95 % interval 30 to 500)" in just.sentence()


def test_the_boundary_is_where_help_ends(tmp_path: Path) -> None:
    helps = advice.boundary(made(tmp_path, mix_classic=10), "mix+classic", "classic")
    assert helps.startswith("Up to the largest training set studied, 40 real images per class,")
    nowhere = advice.boundary(made(tmp_path, mix_classic=0), "mix+classic", "classic")
    assert "not in the range studied (10 to 40)" in nowhere


def test_advice_ranks_the_surest_gain_first(tmp_path: Path) -> None:
    study = made(tmp_path, mix_classic=10, oversample=1000)
    found = advice.advice(study)
    assert [each.what.split(":")[0] for each in found] == [
        "oversample",
        "label as many images again (40 more per class)",
        "mix+classic",
    ]
    labelling = found[1]
    assert labelling.gain.value == pytest.approx(error(40) - error(80), abs=0.005)
    assert labelling.minutes == pytest.approx(80 * advice.LABELLING_SECONDS / 60)
    assert found[0].minutes == pytest.approx(1) and found[0].sure
    assert "class-weights" in advice.not_tried(study) and "oversample" not in advice.not_tried(study)
    nothing = advice.advice(made(tmp_path, mix_classic=0))
    assert not next(each for each in nothing if each.what.startswith("mix+classic")).sure


def test_what_is_read_off_is_the_score_that_the_verdict_is_given_for(tmp_path: Path) -> None:
    """Class b is always called a: accuracy hardly falls, balanced accuracy is a half, and so is what it misses."""
    study = made(tmp_path, mix_classic=10)
    rare = np.arange(TEST) % 20 == 0
    study.labels[:] = rare  # type: ignore[attr-defined]
    for table in study.tables.values():  # type: ignore[attr-defined]
        table[:] = ~rare
    errors = study.errors(["10"], "classic", [0, 1])
    assert errors.shape == (2, 1, TEST) and errors.mean() == pytest.approx(0.05)
    study.score = "balanced-accuracy"  # type: ignore[misc]
    assert study.errors(["10"], "classic", [0, 1]).mean() == pytest.approx(0.5)
    study.score = "log-loss"  # type: ignore[misc]
    assert study.errors(["10"], "classic", [0, 1]).mean() == pytest.approx(-0.05 * np.log(1e-7))


def test_an_arm_with_a_recipe_of_its_own_costs_what_that_training_took(tmp_path: Path) -> None:
    study = made(tmp_path, pca=10, mix_classic=10)
    for repeat in range(REPEATS):
        for recipe, seconds in {"": 6000, "pca": 60}.items():
            file = tmp_path / f"40-{repeat}-{recipe}" / "clock.jsonl"
            file.parent.mkdir()
            # stopped half-way and gone on with, three checkpoints in each half
            halves = [(0, 10), (0, 20), (0, 30), (30, 40), (30, 50), (30, 60)]
            lines = [{"from": a, "to": b, "seconds": seconds * (b - a) / 60} for a, b in halves]
            file.write_text("".join(json.dumps(line) + "\n" for line in lines))
    minutes = {each.what.split(":")[0]: each.minutes for each in advice.advice(study)}
    assert minutes["pca"] == pytest.approx(1 + 1) and minutes["mix+classic"] == pytest.approx(1 + 100)


@pytest.mark.parametrize("line", ["{}", '{"from": 0, "to": 10}', "[]", "{", '{"from": 0, "to": 1, "seconds": "x"}'])
def test_a_damaged_clock_is_named_and_the_way_out_is_one(line: str, tmp_path: Path) -> None:
    study = made(tmp_path, mix_classic=10)
    file = tmp_path / "40-0-" / "clock.jsonl"
    file.parent.mkdir()
    file.write_text(f"{line}\n{line}\n")
    with pytest.raises(RunError, match=r"clock\.jsonl is damaged; wanted .*; remove it"):
        advice.advice(study)
    file.unlink()
    assert advice.advice(study)


def test_a_fourth_budget_is_no_obstacle_and_a_single_repeat_is_the_least_sure(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(BUDGETS, "80", 80)
    study = made(tmp_path, mix_classic=10, oversample=-5)
    found = advice.advice(study)
    assert [each.what.split(":")[0] for each in found] == [
        "label as many images again (80 more per class)",
        "mix+classic",
        "oversample",
    ]
    assert advice.worth(study, "20", "mix+classic", "classic") is not None
    assert found[2].gain.low is not None and found[2].gain.low < 0
    right = np.ones((1, TEST), bool)
    single = compare("80", "mix+classic", "classic", right, ~right, study.labels, CLASSES)  # type: ignore[attr-defined]
    study.found[:] = [single, *(each for each in study.found if each.arm == "oversample")]  # type: ignore[attr-defined]
    last = advice.advice(study)[-1]
    assert last.what.startswith("mix+classic") and last.gain.low is None and not last.sure


@pytest.mark.parametrize(
    ("value", "low", "sure"), [(0.01, 0.001, True), (0.01, 0.0, False), (0.0019, 0.001, False), (0.002, 1e-9, True)]
)
def test_a_sure_gain_is_worth_mentioning_and_beyond_chance(value: float, low: float, sure: bool) -> None:
    assert Advice("x", Estimate(value, low, 0.1), None).sure == sure


def test_what_the_corrected_verdict_does_not_carry_is_neither_a_sure_gain_nor_a_loss() -> None:
    """The verdict is corrected for the number of comparisons, so that an interval above 0 may not be enough."""
    gain, harm = Estimate(0.09, 0.01, 0.17), Estimate(-0.09, -0.17, -0.01)
    words: dict[Word, tuple[bool, bool]] = {
        "helps": (True, False),
        "hurts": (False, True),
        "no measurable effect": (False, False),
        "too few repeats": (False, False),
    }
    for word, (sure, loss) in words.items():
        assert Advice("x", gain, None, verdict=word).sure == sure and not Advice("x", gain, None, verdict=word).loss
        assert Advice("x", harm, None, verdict=word).loss == loss and not Advice("x", harm, None, verdict=word).sure
    assert Advice("label more", gain, None).sure and Advice("label more", harm, None).loss


@pytest.mark.parametrize(
    ("low", "high", "said"),
    [
        (3.0, 8.0, "were worth 6 more real ones per class (95 % interval 3 to 8)"),
        (-8.0, -3.0, "as much harm as 5 fewer real ones per class would"),
        (600.0, 700.0, "over 500"),
        (490.0, 500.0, "495 more"),
    ],
)
def test_worth_is_said_in_whole_images_with_its_sign(low: float, high: float, said: str) -> None:
    word: Any = "helps" if low > 0 else "hurts"
    middle = (low + high) / 2 + 0.1
    assert said in Worth("10", "mix", 10, Estimate(middle, low, high), 50, word).sentence()
