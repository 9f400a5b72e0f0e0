"""Settings of the classifier that are chosen on a part of the training subset, for every arm alike."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from imagemint.augment import AUGMENTATIONS, Ranges, augment, times
from imagemint.classifiers import train_classifier
from imagemint.data.pack import Pack
from imagemint.errors import StudyError
from imagemint.pages.study_page import study
from imagemint.studies import rows as module
from imagemint.studies.plan import CHOICES, make_plan
from tests.digits import digits, write


@pytest.fixture
def packs(tmp_path: Path) -> tuple[Pack, Pack]:
    pixels, labels = digits(500)
    ask = np.arange(500) % 4 == 0
    return write(tmp_path / "real", pixels[~ask], labels[~ask]), write(tmp_path / "test", pixels[ask], labels[ask])


def test_the_best_on_held_out_training_images_is_taken_by_every_arm(
    packs: tuple[Pack, Pack], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[tuple[float, int]] = []

    def classify(pixels: np.ndarray, labels: np.ndarray, classes: int, **options: Any) -> Any:
        asked.append((options["plan"].learning_rate, options["images_seen"]))
        return train_classifier(pixels, labels, classes, **options)

    monkeypatch.setattr(module, "train_classifier", classify)
    options: dict[str, Any] = {"classifier_epochs": 1, "classifier_images": 640, "budgets": [30], "repeats": 1}
    # so slow that the fastest and longest of the grid must win
    options |= {"score": "log-loss", "classifier_learning_rate": 1e-4, "classifier_choose": "length,learning-rate"}
    found = study(packs[0], packs[1], None, tmp_path / "out", arms=["real", "oversample"], **options)
    for row in found.rows:
        assert row.chosen == {"learning-rate": 3.0, "length": 2.0} and row.images_seen == 1280
    fastest = [seen for rate, seen in asked if rate == pytest.approx(3e-4)]
    assert len(asked) == 2 * (6 + 1) and fastest.count(1280) == 2 * 2
    assert any("chosen for every arm alike" in line for line in found.facts.about.remarks)


def test_nothing_is_chosen_unless_it_is_asked_for() -> None:
    assert make_plan(None, arms=["real"]).classifier_choose == ()
    assert make_plan(None, arms=["real"], classifier_choose="length,learning-rate").classifier_choose == (
        "learning-rate",
        "length",
    )
    assert all(factors[0] == 1 for factors in CHOICES.values())


@pytest.mark.parametrize(
    ("options", "found"),
    [
        ({"classifier_choose": "depth"}, "classifier_choose"),
        ({"classifier_choose": "length", "classifier": "linear:net.pt"}, "linear probe"),
    ],
)
def test_what_cannot_be_chosen_is_refused(options: dict[str, Any], found: str) -> None:
    with pytest.raises(StudyError, match=found):
        make_plan(None, arms=["real"], **options)


@pytest.mark.parametrize("name", AUGMENTATIONS)
def test_a_stronger_augmentation_changes_images_more(name: str) -> None:
    images = torch.from_numpy(digits(200)[0]).float() / 127.5 - 1

    def apart(ranges: Ranges) -> float:
        changed = augment(images, torch.Generator().manual_seed(0), ranges)
        assert float(changed.min()) >= -1 and float(changed.max()) <= 1
        return float((changed - images).abs().mean())

    weak, usual, strong = (apart(times(AUGMENTATIONS[name], factor)) for factor in (0.5, 1.0, 1.6))
    assert weak < usual < strong and times(AUGMENTATIONS[name], 1.0) == AUGMENTATIONS[name]
