"""The folder of a study: whatever a person or a disk did to it, one line says so; what is left out is said."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from imagemint.data.pack import Pack
from imagemint.errors import StudyError
from imagemint.pages.study_page import report, study
from imagemint.studies.results import Study, open_study
from tests.digits import NAMES, digits, write

QUICK: dict[str, Any] = {"budgets": [3], "repeats": 2, "classifier_epochs": 1, "classifier_images": 64}


@pytest.fixture(scope="module")
def packs(tmp_path_factory: pytest.TempPathFactory) -> tuple[Pack, Pack]:
    folder = tmp_path_factory.mktemp("packs")
    pixels, labels = digits(300)
    ask = np.arange(300) % 3 == 0
    return write(folder / "real", pixels[~ask], labels[~ask]), write(folder / "test", pixels[ask], labels[ask])


@pytest.fixture(scope="module")
def whole(packs: tuple[Pack, Pack], tmp_path_factory: pytest.TempPathFactory) -> Study:
    return study(*packs, None, tmp_path_factory.mktemp("whole") / "out", arms=["floor", "real"], **QUICK)


def changed(**parts: Any) -> Callable[[Path], None]:
    def change(out: Path) -> None:
        facts = json.loads((out / "study.json").read_text())
        for key, value in parts.items():
            part, _, inner = key.partition("__")
            if inner:
                facts[part][inner] = value
            else:
                facts[part] = value
        (out / "study.json").write_text(json.dumps(facts))

    return change


def lines(*added: bytes) -> Callable[[Path], None]:
    def change(out: Path) -> None:
        with (out / "rows.jsonl").open("ab") as file:
            file.write(b"".join(added))

    return change


def file(name: str, data: bytes) -> Callable[[Path], None]:
    def change(out: Path) -> None:
        (out / name).write_bytes(data)

    return change


def removed(name: str) -> Callable[[Path], None]:
    return lambda out: (out / name).unlink()


TAMPERED = {
    "no settings": changed(settings=None),
    "no extent": changed(extent={}),
    "nothing about": changed(about={}),
    "a strange budget": changed(extent__budgets=["zz"]),
    "a budget of 5,000 digits": changed(extent__budgets=["9" * 5000]),
    "no repeats": changed(extent__repeats=None),
    "repeats without end": changed(extent__repeats=10**9),
    "an unknown arm": changed(extent__arms=["magic"]),
    "an unknown setting": changed(settings__magic=1),
    "brackets": file("study.json", b"[" * 100_000),
    "a number of 5,000 digits": file("study.json", b"9" * 5000),
    "no text": file("study.json", b"\xff\xfe"),
    "a row that is not JSON": lines(b"{bad}\n"),
    "a row that is a number": lines(b"5\n"),
    "a row without a budget": lines(b'{"x":1}\n'),
    "predictions that are cut short": file("predictions/3-0-real.npy", b"\x93NUMPY"),
    "predictions with half a header": file(
        "predictions/3-0-real.npy", b"\x93NUMPY\1\0\x10\0{'descr': (\n" + b" " * 5
    ),
    "predictions of another study": file("predictions/3-1-real.npy", b""),
    "predictions that are gone": removed("predictions/3-0-real.npy"),
    "labels that are gone": removed("predictions/labels.npy"),
}


@pytest.mark.parametrize("name", TAMPERED)
def test_a_tampered_study_is_one_line(whole: Study, tmp_path: Path, name: str) -> None:
    out = tmp_path / "out"
    shutil.copytree(whole.path, out)
    TAMPERED[name](out)
    with pytest.raises(StudyError) as error:
        report(open_study(out))
    assert "\n" not in str(error.value) and len(str(error.value)) < 1000


def test_a_class_without_test_images_is_left_out_of_both_packs_and_said(
    packs: tuple[Pack, Pack], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    real, test = packs
    rest = np.asarray(test.labels) != 7
    less = write(tmp_path / "less", np.asarray(test.pixels)[rest], np.asarray(test.labels)[rest])
    found = study(real, less, None, tmp_path / "out", arms=["real"], **QUICK)
    assert found.classes == NAMES[:7] + NAMES[8:]
    sevens = int((np.asarray(real.labels) == 7).sum())
    assert found.facts.about.without_test == {"digit 7": sevens}
    assert f"digit 7 ({sevens} training images)" in found.report.read_text(encoding="utf-8")
    row = found.rows[0]
    assert row.n_real == 3 * 9 and len(row.per_class) == 9 and row.n_test == rest.sum()
    # the same as if the class had never been there
    names = NAMES[:7] + NAMES[8:]
    drop = np.asarray(real.labels) != 7
    labels = [np.asarray(pack.labels)[keep] for pack, keep in ((real, drop), (test, rest))]
    labels = [each - (each > 7) for each in labels]
    without = [
        write(tmp_path / f"w{k}", np.asarray(pack.pixels)[keep], each, names)
        for k, (pack, keep, each) in enumerate(zip((real, test), (drop, rest), labels, strict=True))
    ]
    never = study(without[0], without[1], None, tmp_path / "never", arms=["real"], **QUICK)
    assert [row.accuracy for row in never.rows] == [row.accuracy for row in found.rows]


def test_what_an_added_pack_may_not_give_is_left_out_and_said(packs: tuple[Pack, Pack], tmp_path: Path) -> None:
    real, test = packs
    pixels = np.concatenate([real.pixels[:40], test.pixels[:5], real.pixels[40:43], real.pixels[43:45]])
    labels = np.concatenate([real.labels[:40], test.labels[:5], [10] * 3, [-1] * 2])
    other = write(tmp_path / "other", pixels, labels, [*NAMES, "letter"])
    found = study(real, test, None, tmp_path / "out", arms=["classic", f"pack:{other.path}"], **QUICK)
    note = found.facts.about.added[f"pack:{other.path}"]
    assert (note.images, note.copies, note.other_classes, note.unlabelled) == (40, 5, {"letter": 3}, 2)
    assert {row.n_minted for row in found.rows} == {0, 40}
    html = found.report.read_text(encoding="utf-8")
    assert "5 images left out: exact copies of test images" in html
    assert "3 images left out: the study has no class letter" in html
    assert "leaks cannot be excluded" in html


def test_an_added_pack_that_cannot_be_used_is_refused_before_a_file_exists(
    packs: tuple[Pack, Pack], tmp_path: Path
) -> None:
    real, test = packs
    pixels = np.zeros((4, 1, 9, 9), np.uint8)
    large = write(tmp_path / "large", pixels, np.arange(4))
    strange = write(tmp_path / "strange", np.asarray(real.pixels)[:9], np.arange(9) % 3, ["x", "y", "z"])
    copied = write(tmp_path / "copied", np.asarray(test.pixels), np.asarray(test.labels))
    refusals = [(large, "9, 9"), (strange, "rename"), (copied, "copy of a test image")]
    for pack, message in refusals:
        with pytest.raises(StudyError, match=message):
            study(real, test, None, tmp_path / "out", arms=["classic", f"pack:{pack.path}"], **QUICK)
    assert not (tmp_path / "out").exists()


def test_a_folder_of_images_is_as_good_as_a_pack(packs: tuple[Pack, Pack], tmp_path: Path) -> None:
    from imagemint.data.export import export

    real, test = packs
    part = write(tmp_path / "part", np.asarray(real.pixels)[:60], np.asarray(real.labels)[:60])
    folder = export(part, tmp_path / "folder", "folder")
    rows = [
        study(real, test, None, tmp_path / f"out{k}", arms=["classic", f"pack:{each}"], **QUICK).rows
        for k, each in enumerate([part.path, folder])
    ]
    assert [row.n_minted for row in rows[0]] == [row.n_minted for row in rows[1]] == [0, 60] * 2


def test_an_added_pack_may_not_change_while_a_study_goes_on(packs: tuple[Pack, Pack], tmp_path: Path) -> None:
    real, test = packs
    for k in range(2):
        shutil.rmtree(tmp_path / "other", ignore_errors=True)
        write(tmp_path / "other", np.asarray(real.pixels)[k : 40 + k], np.asarray(real.labels)[k : 40 + k])
        arms = ["classic", f"pack:{tmp_path / 'other'}"]
        if k:
            with pytest.raises(StudyError, match="are others than when"):
                study(real, test, None, tmp_path / "out", arms=arms, **QUICK)
        else:
            study(real, test, None, tmp_path / "out", arms=arms, **QUICK)
