"""Test images are smuggled in by every door, as they are and slightly changed; none of them gets through."""

from __future__ import annotations

import io
import json
import pickle
from collections.abc import Callable, Generator, Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from PIL import Image

from imagemint.classifiers import train_classifier
from imagemint.data import duplicates
from imagemint.data.duplicates import near_copies
from imagemint.data.pack import Pack
from imagemint.jobs import Task
from imagemint.pages.study_page import study
from imagemint.studies import material
from imagemint.studies import rows as module
from imagemint.studies.material import find_material
from imagemint.studies.results import open_study
from tests.digits import digits, write
from tests.studies.test_study import FakeGan

SMUGGLED = 3
QUICK: dict[str, Any] = {"classifier_epochs": 1, "classifier_images": 128}


def drawings(count: int) -> tuple[np.ndarray, np.ndarray]:
    """Digits of 24 x 24 pixels with a border, so that there is room to move them."""
    pixels, labels = digits(count)
    large = np.stack(
        [np.asarray(Image.fromarray(each[0]).resize((20, 20), Image.Resampling.BILINEAR)) for each in pixels]
    )
    return np.pad(large, ((0, 0), (2, 2), (2, 2)))[:, None], labels


def encoded(pixels: np.ndarray) -> np.ndarray:
    def once(image: np.ndarray) -> np.ndarray:
        buffer = io.BytesIO()
        Image.fromarray(image[0]).save(buffer, "JPEG", quality=60)
        return np.asarray(Image.open(buffer))[None]

    return np.stack([once(each) for each in pixels])


CHANGES: dict[str, Callable[[np.ndarray], np.ndarray]] = {
    "as they are": lambda pixels: pixels,
    "brighter": lambda pixels: np.minimum(pixels.astype(int) + 3, 255).astype(np.uint8),
    "moved right": lambda pixels: np.roll(pixels, 1, 3),
    "moved up and left": lambda pixels: np.roll(pixels, (-1, -1), (2, 3)),
    "encoded again": encoded,
}


@pytest.fixture
def sides() -> tuple[tuple[np.ndarray, np.ndarray], tuple[np.ndarray, np.ndarray]]:
    pixels, labels = drawings(420)
    ask = np.arange(420) % 7 == 0
    return (pixels[~ask], labels[~ask]), (pixels[ask], labels[ask])


def joined(
    mine: tuple[np.ndarray, ...], theirs: tuple[np.ndarray, ...], change: str
) -> tuple[np.ndarray, np.ndarray]:
    changed = CHANGES[change](theirs[0][:SMUGGLED])
    return np.concatenate([mine[0], changed]), np.concatenate([mine[1], theirs[1][:SMUGGLED]])


@pytest.mark.parametrize("change", CHANGES)
def test_a_copy_in_the_training_pack_is_left_out(sides: Any, change: str, tmp_path: Path) -> None:
    mine, theirs = sides
    pack, test = write(tmp_path / "real", *joined(mine, theirs, change)), write(tmp_path / "test", *theirs)
    found = find_material(pack, test, ("real",))
    left_out = set(range(len(pack))) - set(np.concatenate(found.pool).tolist())
    assert left_out == set(range(len(mine[1]), len(pack)))  # these, and no other image
    assert (found.leaked, found.near) == ((SMUGGLED, 0) if change == "as they are" else (0, SMUGGLED))
    assert sorted(found.twins) == [(len(mine[1]) + k, k) for k in range(SMUGGLED)]
    assert any("copies of test images" in line for line in found.remarks())


@pytest.mark.parametrize("change", CHANGES)
def test_a_copy_in_the_pack_of_an_arm_is_left_out(sides: Any, change: str, tmp_path: Path) -> None:
    mine, theirs = sides
    write(tmp_path / "other", *joined((mine[0][:30], mine[1][:30]), theirs, change), origin="minted")
    pack, test = write(tmp_path / "real", *mine), write(tmp_path / "test", *theirs)
    images, note = find_material(pack, test, (arm := f"pack:{tmp_path / 'other'}",)).added[arm]
    assert len(images.labels) == 30 and np.array_equal(images.pixels, mine[0][:30])
    assert (note.copies, note.near) == ((SMUGGLED, 0) if change == "as they are" else (0, SMUGGLED))


def test_copies_are_searched_once_and_the_processes_of_a_study_are_told(
    sides: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    mine, theirs = sides
    write(tmp_path / "real", *joined(joined(mine, theirs, "as they are"), theirs, "brighter"))
    write(tmp_path / "other", *joined((mine[0][:30], mine[1][:30]), theirs, "moved right"), origin="minted")
    write(tmp_path / "test", *theirs)
    searched: list[Path] = []

    def counting(function: Callable[..., Any]) -> Callable[..., Any]:
        def counted(pack: Pack, *others: Any) -> Any:
            searched.append(pack.path)
            return function(pack, *others)

        return counted

    monkeypatch.setattr(material, "near_copies", counting(duplicates.near_copies))
    monkeypatch.setattr(material, "digests", counting(duplicates.digests))

    def elsewhere(
        tasks: Sequence[Task], count: int, what: str, *, go_on: bool = False
    ) -> Generator[tuple[Task, Any]]:
        for task in pickle.loads(pickle.dumps(tasks)):
            for row in task.work(*task.arguments):
                yield task, row

    whole: dict[str, Any] = {"arms": ["real", f"pack:{tmp_path / 'other'}"], "budgets": [20, "all"], **QUICK}
    given = (tmp_path / "real", tmp_path / "test", None)
    there = study(*given, tmp_path / "there", repeats=2, fan_out=elsewhere, jobs=2, **whole)
    # pixels of three packs, near copies in two of them, however many cells there are
    assert len(searched) == 5 and {each.name for each in searched} == {"real", "other", "test"}
    here = study(*given, tmp_path / "here", repeats=2, **whole)
    assert here.facts.about == there.facts.about
    assert (here.facts.about.leaked, here.facts.about.near) == (SMUGGLED, SMUGGLED)
    alone = {row.model_copy(update={"seconds": 0}).model_dump_json() for row in here.rows}
    assert alone == {row.model_copy(update={"seconds": 0}).model_dump_json() for row in there.rows}
    assert {row.n_real for row in here.rows if row.budget == "all"} == {len(mine[1])}


def test_the_first_twin_is_named_and_blank_images_are_like_nothing() -> None:
    pixels = np.zeros((4, 1, 24, 24), np.uint8)
    pixels[0, 0, 5:15, 8:12] = 200
    pixels[1] = pixels[0]
    pack: Any = SimpleNamespace(
        pixels=pixels, size=(24, 24), read=lambda rows: pixels[rows], blocks=lambda rows, block_bytes: [rows]
    )
    mine, theirs = near_copies(pack, np.arange(4), pixels[[2, 1, 0]])
    assert mine.tolist() == [0, 1] and theirs.tolist() == [1, 1]


def test_a_copy_that_every_move_meets_again_is_found_once(tmp_path: Path) -> None:
    picture = np.kron(drawings(1)[0], np.ones((8, 8), np.uint8))  # so large that a move by a pixel hardly changes it
    pack = write(tmp_path / "pack", np.concatenate([255 - picture, picture]), np.array([0, 1]))
    mine, theirs = near_copies(pack, np.arange(2), picture)
    assert mine.tolist() == [1] and theirs.tolist() == [0]


class Recorder(FakeGan):
    """What any training was given, GANs, screening, teachers and classifiers alike, byte for byte."""

    def __init__(self) -> None:
        super().__init__()
        self.given: list[tuple[Any, ...]] = []

    def train(self, pack: Pack, recipe: Any, run: Path, **options: Any) -> SimpleNamespace:
        self.given.append(("gan", pack.pixels[:].tobytes(), np.asarray(pack.labels).tobytes(), options["seed"]))
        return super().train(pack, recipe, run, **options)

    def mint(self, run: Any, dest: Path, *, counts: Any, seed: int, **screening: Any) -> Pack:
        if screening:
            self.given.append(("screen", screening["keep"], screening["pack"].fingerprint))
        pixels, labels = run.pack.pixels[:], np.asarray(run.pack.labels)
        return write(dest, 255 - pixels, labels, run.pack.classes, "minted")

    def classify(self, pixels: np.ndarray, labels: np.ndarray, classes: int, **options: Any) -> Any:
        options = {name: each for name, each in options.items() if name not in ("watched", "advance", "augment")}
        self.given.append((pixels.tobytes(), labels.tobytes(), classes, str(sorted(options.items()))))
        return train_classifier(pixels, labels, classes, **options)


def test_no_test_image_or_label_changes_what_anything_learns_from(
    sides: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Generators, screening, teachers, classifiers, and the choice of the yardstick."""
    mine, (pixels, labels) = sides
    write(tmp_path / "real", *mine)
    write(tmp_path / "a", pixels, labels)
    write(tmp_path / "b", np.ascontiguousarray(255 - pixels[::-1, :, ::-1]), labels)
    arms = ["real", "classic", "strong", "oversample", "mix+strong", "screened", "soft", "soft-real", "share:50"]
    seen, chosen = [], []
    for test in ("a", "b"):
        recorder = Recorder()
        for name in ("train", "mint"):
            monkeypatch.setattr(module, name, getattr(recorder, name))
        monkeypatch.setattr(module, "train_classifier", recorder.classify)
        out = tmp_path / f"out-{test}"
        found = study(
            tmp_path / "real", tmp_path / test, "demo", out, arms=arms, budgets=[8], repeats=1, images=64, **QUICK
        )
        seen.append(recorder.given)
        chosen.append((found.best_free("8"), found.validations("8")))
    assert seen[0] == seen[1] and chosen[0] == chosen[1]
    # a GAN for three packs, screening, arms, teacher, the choice among four
    assert len(seen[0]) == 3 + 1 + len(arms) + 1 + 4


def test_studies_of_earlier_versions_go_on_with_the_images_that_they_drew_from(sides: Any, tmp_path: Path) -> None:
    mine, theirs = sides
    write(tmp_path / "real", *joined(mine, theirs, "brighter"))
    write(tmp_path / "test", *theirs)
    whole: dict[str, Any] = {"arms": ["real"], "budgets": ["all"], **QUICK}
    new = study(tmp_path / "real", tmp_path / "test", None, tmp_path / "out", repeats=1, **whole)
    assert new.facts.about.near == SMUGGLED and len(new.facts.about.twins) == SMUGGLED
    assert new.rows[0].n_real == len(mine[1])
    file = tmp_path / "out" / "study.json"
    old = json.loads(file.read_text())
    del old["about"]["near"], old["about"]["twins"]
    file.write_text(json.dumps(old))
    study(tmp_path / "real", tmp_path / "test", None, tmp_path / "out", repeats=2, **whole)
    on = open_study(tmp_path / "out")
    assert on.facts.about.near is None and on.rows[1].n_real == len(mine[1]) + SMUGGLED
