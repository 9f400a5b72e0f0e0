"""Studies whose answer is known beforehand, from the packs to the words on the page.

Packs that must help, must hurt and must change nothing are given to an arm, once by their path and once as what a
recipe is said to have minted. A sign that is turned anywhere on the way turns an answer.
"""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Mapping
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from imagemint.data.pack import Pack
from imagemint.pages.study_page import report, study
from imagemint.studies import rows
from imagemint.studies.results import Study, open_study
from imagemint.studies.statistics import SCORES
from tests.digits import digits, write

WORDS = {"helps": "Yes.", "hurts": "No.", "no measurable effect": "No measurable effect"}


@pytest.fixture(scope="module")
def images() -> tuple[np.ndarray, np.ndarray]:
    return digits()


@pytest.fixture(scope="module")
def packs(images: tuple[np.ndarray, np.ndarray], tmp_path_factory: pytest.TempPathFactory) -> dict[str, Pack]:
    """Four real images per class to learn from, others that are as real, and test images."""
    pixels, labels = images
    folder = tmp_path_factory.mktemp("known truth")
    order = np.argsort(labels, kind="stable")
    place = np.empty(len(labels), np.int64)
    for k in range(10):
        place[order[labels[order] == k]] = np.arange((labels == k).sum())
    few, test = place < 4, place >= 110
    more = ~few & ~test
    return {
        "few": write(folder / "few", pixels[few], labels[few]),
        "test": write(folder / "test", pixels[test], labels[test]),
        "helps": write(folder / "helps", pixels[more], labels[more]),
        "hurts": write(folder / "hurts", pixels[more], (labels[more] + 1) % 10),
        "no measurable effect": write(folder / "copy", pixels[few], labels[few]),
    }


SETTINGS: dict[str, Any] = {
    "budgets": "all",
    "repeats": 4,
    "classifier_epochs": 1,
    "classifier_images": 8000,
    "real_share": 0.1,
}


def check(found: Study, arm: str, baseline: str, truth: str) -> None:
    """The verdict, the scores that it rests on, the terminal's line and the page say the same."""
    verdict = found.difference("all", arm, baseline)
    assert verdict is not None and (verdict.word, verdict.score) == (truth, found.score)
    rows = {name: [row for row in found.rows if row.arm == name] for name in (arm, baseline)}
    sign = -1 if found.score == "log-loss" else 1  # the one score of which less is better
    means = {name: sign * np.mean([row.scores[found.score] for row in rows[name]]) for name in rows}
    assert verdict.interval.mean == pytest.approx(means[arm] - means[baseline], abs=1e-5)
    if truth != "no measurable effect":
        assert (means[arm] > means[baseline]) == (truth == "helps")
    assert re.search(rf"{re.escape(f'{arm} against {baseline}')}: {truth}\b", found.summary())
    page = found.report.read_text(encoding="utf-8")
    assert re.search(r'class="headline">([^<]*)', page)[1].startswith(WORDS[truth])  # type: ignore[index]
    assert re.search(r'class="word">([^<]*)', page)[1] == truth  # type: ignore[index]
    assert open_study(found.path).verdicts == found.verdicts


@pytest.fixture(scope="module")
def whole(packs: dict[str, Pack], tmp_path_factory: pytest.TempPathFactory) -> Study:
    """All three packs in one study."""
    arms = ["classic", *(f"pack:{packs[truth].path}" for truth in WORDS)]
    return study(packs["few"], packs["test"], None, tmp_path_factory.mktemp("whole") / "out", arms=arms, **SETTINGS)


@pytest.mark.parametrize(
    ("truth", "score"),
    # Copies change the order of what is seen, by which log loss can tell; equal answers: test_study.
    [(truth, score) for truth in WORDS for score in SCORES if (truth, score) != ("no measurable effect", "log-loss")],
)
def test_a_pack_of_known_worth_gets_the_right_verdict_by_every_score(
    whole: Study, packs: dict[str, Pack], tmp_path: Path, truth: str, score: str
) -> None:
    shutil.copytree(whole.path, tmp_path / "out")
    facts = json.loads((tmp_path / "out" / "study.json").read_text())
    arm = f"pack:{packs[truth].path}"
    facts["extent"]["arms"], facts["settings"]["score"] = ["classic", arm], score
    (tmp_path / "out" / "study.json").write_text(json.dumps(facts))
    report(tmp_path / "out")
    found = open_study(tmp_path / "out")
    check(found, arm, "classic", truth)
    assert {row.minted for row in found.rows if row.arm == arm} == {packs[truth].fingerprint}
    page = found.report.read_text(encoding="utf-8")
    assert "leaks cannot be excluded" in page and "Do more images help?" in page


@pytest.mark.parametrize("truth", WORDS)
def test_minted_images_of_known_worth_get_the_right_verdict(
    packs: dict[str, Pack], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, truth: str
) -> None:
    def mint(run: Any, dest: Path, *, counts: Mapping[str, int], seed: int) -> Pack:
        source = packs[truth]
        return write(dest, np.asarray(source.pixels), np.asarray(source.labels), source.classes, "minted")

    monkeypatch.setattr(rows, "train", lambda *given, **options: SimpleNamespace())
    monkeypatch.setattr(rows, "mint", mint)
    same = f"pack:{packs[truth].path}"
    arms = ["classic", "mix+classic", same]
    found = study(packs["few"], packs["test"], "ppca", tmp_path / "out", arms=arms, **SETTINGS)
    check(found, "mix+classic", "classic", truth)
    for repeat in range(4):  # the same images teach the same, whoever brings them
        minted, given = (found.predictions("all", repeat, arm) for arm in ("mix+classic", same))
        assert np.array_equal(minted, given)
    assert "Do minted images help?" in found.report.read_text(encoding="utf-8")
