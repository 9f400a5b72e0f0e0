"""Arms: what each of them is trained on, what is minted for it, and which of them is the yardstick."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from imagemint.data.pack import Pack, open_pack
from imagemint.pages.study_page import study
from imagemint.studies.arms import FREE, Images, Need, Sources, comparisons, filling, find_arm, for_rare, free_arms
from imagemint.studies.folder import read_rows
from imagemint.studies.plan import images_of, make_plan
from imagemint.studies.results import Study, open_study
from tests.digits import digits, write

NAMES = ["many", "some", "few"]
COUNTS = {"many": 12, "some": 6, "few": 3}
QUICK: dict[str, Any] = {"classifier_epochs": 1, "classifier_images": 256, "repeats": 1, "budgets": "all"}


def sources(**changes: Any) -> Sources:
    labels = np.repeat(np.arange(3), list(COUNTS.values()))
    pixels = np.arange(len(labels), dtype=np.uint8)[:, None, None, None].repeat(4, 2).repeat(4, 3)
    given: dict[str, Any] = {
        "real": Images(pixels, labels),
        "minted": Images(pixels + 100, labels),
        "pack": None,
        "classes": NAMES,
        "real_share": 0.5,
        "shares": {},
        "seed": 1,
        "teacher": lambda pixels: np.full((len(pixels), 3), 1 / 3),
    }
    return Sources(**{**given, **changes})


def made(arm: str, **changes: Any) -> Any:
    images = find_arm(arm).images
    assert images is not None
    return images(sources(**changes))


def test_balanced_and_rare_arms_mint_what_is_missing() -> None:
    assert filling(Need(COUNTS, None, (), {})) == {"many": 0, "some": 6, "few": 9}
    assert for_rare(Need(COUNTS, None, (), {})) == {"many": 0, "some": 0, "few": 9}
    assert for_rare(Need(COUNTS, 40, (), {})) == {"many": 0, "some": 0, "few": 40}
    assert for_rare(Need(COUNTS, None, ("some",), {})) == {"many": 0, "some": 6, "few": 0}
    none = Images(np.zeros((0, 1, 4, 4), np.uint8), np.zeros(0, np.int64))
    assert made("balanced", minted=none).n_added == 0


def test_a_share_takes_a_part_of_each_class_as_it_is() -> None:
    assert [images_of("10%", n) for n in (100, 15, 3)] == [10, 2, 1]
    assert [images_of("20", n) for n in (100, 15)] == [20, 15]
    assert make_plan(None, arms="real", budgets="all,50%,10,10%,5").budgets == ("5", "10", "10%", "50%", "all")


def test_the_first_comparison_is_with_the_best_free_arm() -> None:
    assert free_arms(["real", "classic"]) == []  # nothing is asked of them
    assert free_arms(["real", "classic", "mix+classic"]) == ["real", "classic"]
    assert comparisons(["real", "classic", "mix+classic", "strong", "mix+strong"])[0] == ("mix+strong", FREE)
    assert comparisons(["classic", "mix+classic"])[0] == ("mix+classic", "classic")


@pytest.fixture
def packs(tmp_path: Path) -> tuple[Pack, Pack]:
    """Three classes, of which the last has a quarter of the images."""
    pixels, labels = digits(600)
    kept = (labels < 3) & ((labels < 2) | (np.arange(600) % 4 == 0))
    ask = np.arange(600) % 3 == 0
    train, test = kept & ~ask, (labels < 3) & ask
    return (
        write(tmp_path / "real", pixels[train], labels[train], NAMES),
        write(tmp_path / "test", pixels[test], labels[test], NAMES),
    )


def test_unequal_classes(packs: tuple[Pack, Pack], tmp_path: Path) -> None:
    arms = ["real", "classic", "oversample", "class-weights", "balanced", "minted-rare"]
    out = tmp_path / "out"
    found = study(*packs, "ppca", out, arms=arms, **QUICK)
    assert found.score == "balanced-accuracy"
    assert "classes are unequal" in found.facts.about.remarks[0]
    counts = packs[0].counts()
    lacking = max(counts.values()) - counts["few"]
    assert open_pack(out / "minted" / "all-0-rare").counts() == {"many": 0, "some": 0, "few": lacking}
    minted = open_pack(out / "minted" / "all-0-balanced").counts()
    assert {name: minted[name] + counts[name] for name in NAMES} == dict.fromkeys(NAMES, max(counts.values()))
    for row in found.rows:
        recalls = [np.mean(found.predictions(*row.key)[found.test_labels == k] == k) for k in range(3)]
        assert row.scores["balanced-accuracy"] == pytest.approx(np.mean(recalls))
        level = found.level("all", row.arm)
        assert level is not None and level.mean == pytest.approx(np.mean(recalls))
    small = study(*packs, None, tmp_path / "few", arms=["real"], **{**QUICK, "budgets": f"5,{counts['many']}"})
    assert "classes with fewer use all that they have: some 41, few 9" in " ".join(small.facts.about.remarks)
    assert next(row.n_real for row in small.rows) == 15


def validated(found: Study, best: str) -> Study:
    """The same study, where `best` did best on held-out training images."""
    rows = [row.model_dump(mode="json") for row in read_rows(found.path)]
    for row in rows:
        row["validation"] = None if row["validation"] is None else float(row["arm"] == best)
    (found.path / "rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    return open_study(found.path)


def test_the_yardstick_is_chosen_by_held_out_training_images(packs: tuple[Pack, Pack], tmp_path: Path) -> None:
    arm = f"pack:{packs[0].path}"
    found = study(*packs, None, tmp_path / "out", arms=["real", "classic", "strong", arm], **{**QUICK, "repeats": 2})
    free = {row.arm: row.validation for row in found.rows}
    assert free.pop(arm) is None and all(0 <= value <= 1 for value in free.values() if value is not None)
    assert None not in free.values()
    for best in ("strong", "real", "classic"):
        found = validated(found, best)
        first = found.verdicts["all"][0]
        assert (first.arm, first.baseline, first.chosen) == (arm, best, True)
        assert found.difference("all", arm, FREE) is first
        assert f"against {best} (the best arm without other images" in found.summary().splitlines()[1]
    assert len(found.verdicts["all"]) == len({(each.arm, each.baseline) for each in found.verdicts["all"]})
