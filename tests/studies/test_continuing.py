"""GANs of another study: copied where they are what this one would train, refused where they are not."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from imagemint.data.pack import Pack
from imagemint.errors import StudyError
from imagemint.files import write_json
from imagemint.fitting import train
from imagemint.studies import rows as module
from imagemint.studies.folder import read_facts, read_rows
from imagemint.studies.study import study
from tests.digits import digits, write

ARMS = ["real", "mix+classic"]


@pytest.fixture(scope="module")
def packs(tmp_path_factory: pytest.TempPathFactory) -> tuple[Pack, Pack]:
    folder = tmp_path_factory.mktemp("packs")
    pixels, labels = digits(300)
    ask = np.arange(300) % 4 == 0
    return write(folder / "real", pixels[~ask], labels[~ask]), write(folder / "test", pixels[ask], labels[ask])


def quick(packs: tuple[Pack, Pack], out: Path, **options: Any) -> None:
    short = {"budgets": [5], "repeats": 2, "images": 64, "classifier_epochs": 1, "classifier_images": 320}
    study(*packs, "demo", out, **{**short, "arms": ARMS, **options})


@pytest.fixture(scope="module")
def first(packs: tuple[Pack, Pack], tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("studies") / "first"
    quick(packs, out)
    return out


def content(out: Path) -> dict[Path, bytes]:
    return {file.relative_to(out): file.read_bytes() for file in out.rglob("*") if file.is_file()}


def without_seconds(out: Path) -> list[dict[str, Any]]:
    return [row.model_dump(exclude={"seconds"}) for row in read_rows(out)]


def test_rows_with_gans_of_another_study_are_those_with_its_own(
    packs: tuple[Pack, Pack], first: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = content(first)
    longer = {"classifier_images": 640, "arms": [*ARMS, "minted"]}
    quick(packs, tmp_path / "own", **longer)
    trained: list[Path] = []

    def watched(pack: Pack, recipe: Any, run: Path, **options: Any) -> Any:
        trained.extend([] if run.exists() else [run])
        return train(pack, recipe, run, **options)

    monkeypatch.setattr(module, "train", watched)
    taken = tmp_path / "taken"
    quick(packs, taken, gans_from=first, repeats=3, **longer)
    assert [run.name for run in trained] == ["5-2"]  # the one that the first study has not
    own = without_seconds(tmp_path / "own")
    assert [row for row in without_seconds(taken) if row["repeat"] < 2] == own
    assert content(first) == before
    remark = f"2 GANs of {first} copied, not trained again"
    assert remark in read_facts(taken).about.remarks
    shutil.rmtree(taken / "runs" / "5-0")
    (taken / "rows.jsonl").unlink()
    quick(packs, taken, gans_from=first, repeats=3, **longer)  # goes on: what is there stays, what is missing comes
    assert [row for row in without_seconds(taken) if row["repeat"] < 2] == own and len(trained) == 1


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"seed": 1}, r"GANs of .* seed = 0, not 1"),
        ({"images": 128}, "images = 64, not 128"),
        ({"budgets": [4]}, "has no GAN for the budgets"),
        ({"arms": ["real"]}, "has no GAN for the budgets"),
    ],
)
def test_other_gans_are_refused_before_anything_is_written(
    packs: tuple[Pack, Pack], first: Path, tmp_path: Path, changed: dict[str, Any], message: str
) -> None:
    with pytest.raises(StudyError, match=message):
        quick(packs, tmp_path / "out", gans_from=first, **changed)
    assert not (tmp_path / "out").exists()


def test_gans_of_other_images_or_of_no_study_are_refused(
    packs: tuple[Pack, Pack], first: Path, tmp_path: Path
) -> None:
    pixels, labels = digits(400)
    others = write(tmp_path / "others", pixels[300:], labels[300:])
    for pair, name in (((others, packs[1]), "pack"), ((packs[0], others), "test")):
        with pytest.raises(StudyError, match=f"{name} = .*, not "):
            quick(pair, tmp_path / "out", gans_from=first)
    with pytest.raises(StudyError, match="no study at"):
        quick(packs, tmp_path / "out", gans_from=tmp_path / "nowhere")
    old = tmp_path / "old"  # of a version that did not look for near copies
    shutil.copytree(first, old)
    facts = read_facts(first).model_dump(mode="json")
    write_json(old / "study.json", {**facts, "about": {**facts["about"], "near": None}})
    with pytest.raises(StudyError, match="near copies of test images"):
        quick(packs, tmp_path / "out", gans_from=old)
    assert not (tmp_path / "out").exists()
