"""Study folders of known results, made without training anything."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from imagemint import files
from imagemint.config import load_recipe
from imagemint.studies.arms import find_arm, in_order
from imagemint.studies.folder import (
    About,
    Cell,
    Fixed,
    PackNote,
    Row,
    StudyFacts,
    labels_file,
    save_classes,
    save_log_probabilities,
)
from imagemint.studies.plan import Extent, Settings
from imagemint.studies.results import Study, open_study

HOSTILE = [
    "</title><script>alert(1)</script>",
    "a|b *c* `d` [e](f) _g_ # $x^{2$",
    "\u202egnirts desrever",
    "=HYPERLINK(1)\nand a new line",
    "名前がとても長いクラス" * 4,
    "supercalifragilisticexpialidocious" * 3,
    "\x1b[31mred\x00",
    "",
    "<img src=http://example.org/x onerror=alert(1)>",
    "a, b; \"c\" 'd'",
]


def made_study(
    out: Path,
    right: Callable[[str, str], float],
    *,
    arms: Sequence[str] = ("real", "classic", "mix+classic"),
    budgets: Sequence[str] = ("10", "20", "40"),
    classes: Sequence[str] = ("cat", "dog", "owl"),
    repeats: int = 4,
    tested: int = 300,
    score: str | None = None,
    about: Mapping[str, Any] | None = None,
    extra: Mapping[str, Any] | None = None,
) -> Study:
    """A finished study in which `right(budget, arm)` is the chance that a classifier gets a test image right."""
    rng = np.random.default_rng(0)
    k, per_class = len(classes), 100
    labels = np.arange(tested) % k
    hard = rng.random(tested)  # the same images are hard for every arm
    extent = Extent(budgets=tuple(budgets), repeats=repeats, arms=in_order(arms))
    settings = Settings.model_validate({"recipe": load_recipe("demo"), "score": score})
    counts = dict.fromkeys(classes, per_class)
    facts = StudyFacts(
        settings=Fixed.model_validate(
            {**dict(settings), "classifier_precision": "fp32", "pack": "a" * 16, "test": "b" * 16}
        ),
        extent=extent,
        about=About(
            pack=PackNote(path="real.pack", images=per_class * k, counts=counts),
            test=PackNote(path="test.pack", images=tested, counts=dict.fromkeys(classes, tested // k)),
            classes=list(classes),
            leaked=0,
            versions={"imagemint": "0"},
            **(about or {}),
        ),
    )
    labels_file(out).parent.mkdir(parents=True)
    files.write_json(out / "study.json", facts.model_dump(mode="json"))
    save_classes(labels_file(out), labels)
    for budget in extent.budgets:
        for repeat in range(repeats):
            for arm in extent.arms:
                chance = right(budget, arm) + rng.normal(0, 0.002)
                hit = hard < chance
                said = np.where(hit, labels, (labels + 1 + rng.integers(0, k - 1, tested)) % k)
                cell = Cell(out, budget, repeat)
                save_classes(cell.predictions(arm), said)
                save_log_probabilities(cell.log_probabilities(arm), np.log(np.where(hit, 0.9, 0.1 / k)))
                kind = find_arm(arm)
                size = int(budget) if budget.isdigit() else per_class
                row = Row(
                    budget=budget,
                    repeat=repeat,
                    arm=arm,
                    accuracy=float(hit.mean()),
                    loss=0.5,
                    per_class=[float(hit[labels == label].mean()) for label in range(k)],
                    n_real=size * k * kind.real,
                    n_minted=size * k * kind.added,
                    n_test=tested,
                    images_seen=1000,
                    seed=0,
                    subset="c",
                    minted=None,
                    test="b",
                    seconds=60.0,
                    scores={"accuracy": float(hit.mean())},
                    **(extra or {}),
                )
                files.append_line(out / "rows.jsonl", row.model_dump(mode="json"))
    return open_study(out)
