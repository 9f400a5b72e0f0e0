"""Arms: what each of them is trained on, what is minted for it, and which of them is the yardstick."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from typer.testing import CliRunner

from imagemint import progress
from imagemint.cli import app
from imagemint.config import Recipe
from imagemint.data.pack import Pack, open_pack
from imagemint.errors import StudyError
from imagemint.pages.study_page import study
from imagemint.studies.arms import FREE, Images, Need, Sources, comparisons, filling, find_arm, for_rare, free_arms
from imagemint.studies.folder import read_rows
from imagemint.studies.plan import images_of, make_plan, read_plan
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


def test_a_share_of_real_images_keeps_the_total_and_the_proportions() -> None:
    cases: list[tuple[str, dict[str, float], list[int]]] = [
        ("share:50", {}, [6, 3, 2]),
        ("class-shares", {"many": 0.5, "*": 0.34}, [6, 2, 1]),
    ]
    for arm, shares, kept in cases:
        minting = find_arm(arm).minting
        assert minting is not None
        counts = minting.counts(Need(COUNTS, None, (), shares))
        assert [COUNTS[name] - counts[name] for name in NAMES] == kept
        labels = np.repeat(np.arange(3), list(counts.values()))
        found = made(arm, shares=shares, minted=Images(np.full((len(labels), 1, 4, 4), 255, np.uint8), labels))
        assert np.bincount(found.labels).tolist() == list(COUNTS.values())
        assert (found.n_real, found.n_added) == (21 - len(labels), len(labels))
    assert find_arm("share:50").minting is find_arm("share:50").minting
    for wrong in ("share:0", "share:101", "share:x", "share:", "mix:0", "mix:-1", "mix:nan", "mix:1e3"):
        with pytest.raises(StudyError, match="arms = "):
            make_plan("ppca", arms=[wrong])
    with pytest.raises(StudyError, match="class-shares and no shares"):
        make_plan("ppca", arms=["class-shares"])


def test_a_ratio_mints_so_many_times_the_real_images() -> None:
    minting = find_arm("mix:2.5").minting
    assert minting is not None
    assert minting.counts(Need(COUNTS, None, (), {})) == {"many": 30, "some": 15, "few": 8}


def test_a_teacher_labels_minted_images_and_nothing_else() -> None:
    given: list[int] = []

    def teacher(pixels: np.ndarray) -> np.ndarray:
        given.append(int(pixels.min()))
        return np.tile([0.2, 0.3, 0.5], (len(pixels), 1))

    found = made("soft", teacher=teacher)
    assert given == [100] and found.labels.shape == (42, 3)  # it was asked about minted images alone
    assert np.array_equal(found.labels[:21], np.eye(3)[sources().real.labels])
    assert found.labels[21:] == pytest.approx(np.tile([0.2, 0.3, 0.5], (21, 1)))
    assert made("soft-real", teacher=teacher).n_added == 0 and given == [100, 0]


@pytest.mark.parametrize("on_top", ["", "+strong+classmix"])
def test_consistent_arms_use_no_label_of_a_minted_image_and_its_control_no_minted_image(on_top: str) -> None:
    found, control = made(f"consistent{on_top}"), made(f"consistent-real{on_top}")
    assert find_arm(f"consistent{on_top}").augment == find_arm(f"consistent-real{on_top}").augment
    real = sources().real
    assert np.array_equal(found.pixels, real.pixels) and np.array_equal(found.labels, real.labels)
    assert (
        found.unlabelled is not None and found.unlabelled.min() == 100 and (found.n_real, found.n_added) == (21, 21)
    )
    assert np.array_equal(control.unlabelled, real.pixels) and (control.n_real, control.n_added) == (21, 0)
    assert np.array_equal(made(f"consistent-real{on_top}", minted=None).unlabelled, real.pixels)


def test_the_half_nearest_the_boundary_is_kept_of_each_class() -> None:
    real = sources().real
    sure = np.linspace(0.4, 1, 21)  # of the class that was asked for: of each class the first half is nearer

    def teacher(pixels: np.ndarray) -> np.ndarray:
        found = np.repeat((1 - sure)[:, None] / 2, 3, 1)
        found[np.arange(21), real.labels] = sure
        assert pixels.min() == 100  # minted images alone
        return found

    found = made("boundary", teacher=teacher)
    kept = [*range(6), *range(12, 15), *range(18, 20)]  # 6 of 12, 3 of 6, 2 of 3
    assert np.unique(found.pixels[21:, 0, 0, 0]).tolist() == [100 + k for k in kept]
    assert found.n_added == len(kept) and np.array_equal(
        found.labels[21:], real.labels[found.pixels[21:, 0, 0, 0] - 100]
    )

    def wrong(pixels: np.ndarray) -> np.ndarray:  # as far on the other side as the least sure one is on this
        return teacher(pixels)[:, [1, 2, 0]]

    flipped = made("boundary", teacher=wrong)
    assert flipped.n_added == len(kept) and flipped.pixels[21, 0, 0, 0] == 100


def test_a_share_that_rises_repeats_no_image() -> None:
    found = made("mix+classic", rising=True, real_share=0.3)
    assert (found.rising, found.n_real, found.n_added, len(found.labels)) == (0.3, 21, 21, 42)
    assert made("mix+classic", real_share=0.3).rising is None
    none = Images(np.zeros((0, 1, 4, 4), np.uint8), np.zeros(0, np.int64))
    assert made("mix+classic", rising=True, minted=none).rising is None
    assert made("balanced", rising=True).rising is None  # it sees every image equally often


def test_shares_of_a_study(packs: tuple[Pack, Pack], tmp_path: Path) -> None:
    quick: dict[str, Any] = {**QUICK, "arms": ["classic", "mix+classic", "consistent", "boundary"], "budgets": "5"}

    def rows(name: str, **options: Any) -> dict[str, Any]:
        found = study(packs[0], packs[1], "ppca", tmp_path / name, **{**quick, **options})
        return {row.arm: row.model_dump(exclude={"seconds"}) for row in found.rows}

    usual = rows("usual", real_share=0.8)
    assert rows("same", real_share_by_budget={"5": 0.8}) == usual  # by budget or for all: the same share
    rising = rows("rising", real_share=0.8, real_schedule="rising")
    for arm in ("classic", "consistent"):  # they mix nothing
        assert rising[arm] == usual[arm]
    for arm in ("mix+classic", "boundary"):
        assert rising[arm]["loss"] != usual[arm]["loss"]
    page = (tmp_path / "rising" / "report.html").read_text()
    assert "80% of what it sees at the start is real, and all of it at the end" in page
    for wrong, message in (
        ({"real_share_by_budget": ["5=1"]}, "5=1"),
        ({"real_share_by_budget": "5=0.5,5=0.6"}, "every budget once"),
        ({"real_share_by_budget": {"50": 0.5}}, "names budget 50"),
        ({"real_schedule": "falling"}, "real_schedule = falling"),
        ({"classifier": "linear:net.onnx"}, "arm consistent for a linear probe"),
        ({"classifier": "linear:net.onnx", "real_schedule": "rising", "arms": "mix"}, "real-schedule rising for"),
    ):
        with pytest.raises(StudyError, match=message):
            make_plan("ppca", **{**quick, **wrong})


def test_noise_is_on_the_minted_images_alone() -> None:
    found = made("noisy")
    assert np.array_equal(found.pixels[:21], sources().real.pixels)
    apart = found.pixels[21:].astype(float) - sources().real.pixels - 100
    assert 20 < apart.std() < 30 and np.array_equal(made("noisy").pixels, found.pixels)
    real = sources().real
    for level in (0, 255):  # noise reaches black and white, and stops there
        flat = Images(np.full_like(real.pixels, level), real.labels)
        noisy = made("noisy", minted=flat).pixels[len(real.labels) :].astype(float)
        assert level in noisy and abs(np.median(noisy) - level) <= 10


def test_every_arm_that_mints_gives_a_row(packs: tuple[Pack, Pack], tmp_path: Path) -> None:
    arms = ["classic", "screened", "soft", "soft-real", "pca", "noisy", "mix:2", "share:40", "class-shares"]
    out = tmp_path / "out"
    found = study(*packs, "ppca", out, arms=arms, class_shares={"many": 40, "*": 10}, **QUICK)
    rows = {row.arm: row for row in found.rows}
    assert set(rows) == set(arms)
    counts = packs[0].counts()
    total = sum(counts.values())
    assert open_pack(out / "minted" / "all-0-pca").manifest.mintings[0].recipe == "pca"
    assert open_pack(out / "minted" / "all-0-screened").counts() == counts
    assert open_pack(out / "minted" / "all-0-times-2").counts() == {name: 2 * n for name, n in counts.items()}
    for arm in ("share:40", "class-shares"):
        assert rows[arm].n_real + rows[arm].n_minted == total and rows[arm].n_real < total / 2
    trained = {each.name for each in (out / "runs").iterdir()}
    assert trained == {"all-0", "all-0-pca"}  # one training for all arms of a recipe


@pytest.mark.parametrize("shown", ["lines", "steps"])
def test_progress_of_every_classifier_is_shown_the_teachers_too(
    packs: tuple[Pack, Pack],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    shown: str,
) -> None:
    said: list[str] = []
    monkeypatch.setattr(progress, "_on", True)
    monkeypatch.setattr(progress, "_tell", (lambda _, line: said.append(line)) if shown == "steps" else None)
    monkeypatch.setattr(progress, "_SECONDS_BETWEEN_LINES", 0.0)
    monkeypatch.setattr(progress, "_SECONDS_BETWEEN_STEPS", 0.0)
    arms = ["floor", "classic", "boundary", "soft", "soft-real"]  # the last three ask a teacher
    found = study(*packs, "ppca", tmp_path / "out", arms=arms, classifier_choose="learning-rate", **QUICK)
    assert {row.arm for row in found.rows} == set(arms)
    lines = [line for line in said or capsys.readouterr().err.splitlines() if line.startswith("classify")]
    assert any("soft-real" in line for line in lines), lines


def test_the_discriminator_chooses_among_what_its_own_gan_mints(
    packs: tuple[Pack, Pack], tiny: Recipe, tmp_path: Path
) -> None:
    options = {**QUICK, "arms": ["classic", "mix+classic", "density-ratio"]}
    out = tmp_path / "out"
    study(*packs, tiny, out, **options)
    chosen = open_pack(out / "minted" / "all-0-density-ratio")
    found = chosen.manifest.history[-1].parameters["screen"]
    assert chosen.counts() == packs[0].counts() and found["density_ratio"] == 0.25
    assert sum(found["rejected"].values()) > len(chosen)
    assert {each.name for each in (out / "runs").iterdir()} == {"all-0"}
    with pytest.raises(StudyError, match="arm density-ratio and recipe ppca, whose discriminator tells no"):
        study(*packs, "ppca", tmp_path / "other", **options)
    assert not (tmp_path / "other").exists()


def test_a_plan_file_is_as_good_as_options(packs: tuple[Pack, Pack], tmp_path: Path) -> None:
    lines = {"pack": str(packs[0].path), "test": str(packs[1].path), "arms": ["real"], **QUICK}
    (tmp_path / "plan.yaml").write_text(yaml.safe_dump({**lines, "budgets": [5, "50%"]}))
    words = ["study", str(tmp_path / "plan.yaml"), "--out", str(tmp_path / "out"), "--seed", "3"]
    done = CliRunner().invoke(app, words)
    assert done.exit_code == 0, done.output
    found = open_study(tmp_path / "out")
    assert (found.budgets, found.arms, found.facts.settings.seed) == (["5", "50%"], ["real"], 3)
    for wrong, message in (({"armes": 1}, "unknown key armes"), ({"test": 3}, "does not say test")):
        (tmp_path / "plan.yaml").write_text(yaml.safe_dump({**lines, **wrong}))
        with pytest.raises(StudyError, match=message):
            read_plan(tmp_path / "plan.yaml")


def test_saturation_asks_about_real_images_alone() -> None:
    plan = make_plan(None, saturation=True, repeats=4)
    assert (plan.arms, plan.budgets, plan.repeats) == (("real", "classic"), ("10%", "20%", "50%", "all"), 4)
    assert make_plan(None, saturation=True, budgets="5,10").budgets == ("5", "10")


def test_a_share_takes_a_part_of_each_class_as_it_is() -> None:
    assert [images_of("10%", n) for n in (100, 15, 3)] == [10, 2, 1]
    assert [images_of("20", n) for n in (100, 15)] == [20, 15]
    assert make_plan(None, arms="real", budgets="all,50%,10,10%,5").budgets == ("5", "10", "10%", "50%", "all")


def test_the_first_comparison_is_with_the_best_free_arm() -> None:
    assert free_arms(["real", "classic"]) == []  # nothing is asked of them
    assert free_arms(["real", "classic", "mix+classic"]) == ["real", "classic"]
    assert comparisons(["real", "classic", "mix+classic", "strong", "mix+strong"])[0] == ("mix+strong", FREE)
    both = ["mix+strong", "strong+classmix", "mix+strong+classmix"]
    assert comparisons([*both, "classic", "strong"])[0] == ("mix+strong+classmix", FREE)
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
