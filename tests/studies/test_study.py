"""Studies: what is drawn, what reaches the generator, what is computed again, and what is refused."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from imagemint.classifiers import train_classifier
from imagemint.config import load_recipe
from imagemint.data.pack import Pack, open_pack
from imagemint.errors import ImagemintError, StudyError
from imagemint.files import append_line
from imagemint.pages.study_page import report, study
from imagemint.runs import Finding
from imagemint.studies import rows as module
from imagemint.studies.arms import ARMS, FREE, USUAL, Arm, Images, Sources, oversampled, real, times_seen, weighted
from imagemint.studies.results import Study, open_study
from imagemint.studies.statistics import SCORES
from tests.digits import NAMES, digits, write


class FakeGan:
    """In place of `train` and `mint`: remembers what it was given, and mints copies of its images, lightly spoilt."""

    def __init__(self) -> None:
        self.trained_on: list[Pack] = []
        self.calls: list[dict[str, Any]] = []

    def train(self, pack: Pack, recipe: Any, run: Path, **options: Any) -> SimpleNamespace:
        self.trained_on.append(pack)
        self.calls.append({"recipe": recipe, **options})
        return SimpleNamespace(path=run, pack=pack)

    def mint(self, run: SimpleNamespace, dest: Path, *, counts: Mapping[str, int], seed: int) -> Pack:
        rng = np.random.default_rng(seed)
        labels = np.repeat(np.arange(len(counts)), list(counts.values()))
        rows = [rng.choice(np.flatnonzero(np.asarray(run.pack.labels) == label)) for label in labels]
        pixels = (run.pack.pixels[rows].astype(np.int64) + rng.integers(-20, 21, (len(rows), 1, 8, 8))).clip(0, 255)
        return write(dest, pixels.astype(np.uint8), labels, run.pack.classes, "minted")


@pytest.fixture
def gan(monkeypatch: pytest.MonkeyPatch) -> FakeGan:
    fake = FakeGan()
    monkeypatch.setattr(module, "train", fake.train)
    monkeypatch.setattr(module, "mint", fake.mint)
    return fake


@pytest.fixture
def packs(tmp_path: Path) -> tuple[Pack, Pack]:
    pixels, labels = digits(500)
    ask = np.arange(500) % 4 == 0
    return write(tmp_path / "real", pixels[~ask], labels[~ask]), write(tmp_path / "test", pixels[ask], labels[ask])


QUICK: dict[str, Any] = {"classifier_epochs": 1, "classifier_images": 640}


def quick(packs: tuple[Pack, Pack], out: Path, **options: Any) -> Study:
    return study(*packs, "demo", out, **{"budgets": [5, 20], "repeats": 2, "images": 64, **QUICK, **options})


def hashes(pack: Pack) -> set[bytes]:
    return {image.tobytes() for image in pack.pixels}


def test_a_study_has_a_row_for_everything_and_a_verdict(
    gan: FakeGan, packs: tuple[Pack, Pack], tmp_path: Path
) -> None:
    found = quick(packs, tmp_path / "out")
    assert len(found.rows) == 2 * 2 * len(USUAL) == len({row.key for row in found.rows})
    for row in found.rows:
        arm, size = ARMS[row.arm], 10 * int(row.budget)
        assert (row.n_real, row.n_minted) == (size * arm.real, size * arm.minted)
        assert row.images_seen == 640 * (row.arm != "floor")
        predictions = found.predictions(*row.key)
        assert np.mean(predictions == found.test_labels) == pytest.approx(row.accuracy)
        for k, share in enumerate(row.per_class):
            assert share == pytest.approx(np.mean(predictions[found.test_labels == k] == k))
    by_arm = {(row.budget, row.arm): row.accuracy for row in found.rows}
    assert by_arm["5", "floor"] < 0.15 and by_arm["20", "real"] > by_arm["20", "floor"]
    assert list(found.verdicts) == ["5", "20"]
    first = found.verdicts["5"][0]
    assert (first.arm, first.baseline, first.chosen) == ("mix+strong", found.best_free("5"), True)
    assert found.difference("5", "mix+strong", FREE) is first
    assert "mix+classic against classic" in found.summary() and found.report.is_file()
    assert [call["recipe"].images for call in gan.calls] == [64] * 4 and all(call["resume"] for call in gan.calls)
    assert len({call["seed"] for call in gan.calls}) == 4


def test_every_classifier_keeps_its_history(gan: FakeGan, packs: tuple[Pack, Pack], tmp_path: Path) -> None:
    arms = ["floor", "real", "classic", "mix+classic", "soft"]
    found = quick(packs, tmp_path / "out", budgets=[20], repeats=1, arms=arms)
    by_arm = {row.arm: row for row in found.rows}
    assert by_arm["floor"].history == []
    for arm in arms[1:]:
        row = by_arm[arm]
        assert len(row.history) == module.LOOKS and row.history[-1].images_seen == row.images_seen
        last = row.history[-1]
        assert last.test and last.test.accuracy == pytest.approx(row.accuracy)  # fewer than WATCHED: all of them
        assert last.test.loss == pytest.approx(row.loss, abs=1e-4)
        first = row.history[0]
        assert first.training and last.training and first.training.loss > last.training.loss
        assert (last.validation is not None) == ARMS[arm].free
        if last.validation:
            assert last.validation.accuracy == pytest.approx(row.validation, abs=1e-5)
    lines = found.path / "rows.jsonl"
    old = [{k: v for k, v in row.model_dump(mode="json").items() if k != "history"} for row in found.rows]
    lines.write_text("".join(json.dumps(each) + "\n" for each in old))
    assert all(row.history == [] for row in open_study(found.path).rows)


def test_test_images_never_reach_a_generator(gan: FakeGan, packs: tuple[Pack, Pack], tmp_path: Path) -> None:
    real, test = packs
    leaky = write(
        tmp_path / "leaky",
        np.concatenate([real.pixels, test.pixels[:3]]),
        np.concatenate([real.labels, test.labels[:3]]),
    )
    found = quick((leaky, test), tmp_path / "out", budgets=["all"], repeats=1, arms=["real", "mix"])
    assert len(gan.trained_on) == 1 and len(gan.trained_on[0]) == len(leaky) - 3
    assert not hashes(gan.trained_on[0]) & hashes(test)
    assert not hashes(open_pack(tmp_path / "out" / "minted" / "all-0")) & hashes(test)
    assert found.facts.about.leaked == 3
    assert "3 exact copies" in found.report.read_text()


def test_many_copies_of_test_images_are_no_accident(packs: tuple[Pack, Pack], tmp_path: Path) -> None:
    real, test = packs
    with pytest.raises(StudyError, match="exact copies of test images"):
        quick((real, real), tmp_path / "a")
    pixels, labels = np.concatenate([real.pixels, test.pixels[:20]]), np.concatenate([real.labels, test.labels[:20]])
    with pytest.raises(StudyError, match="20 of 395 training images"):
        quick((write(tmp_path / "leaky", pixels, labels), test), tmp_path / "b")
    assert not (tmp_path / "a").exists() and not (tmp_path / "b").exists()


def test_equal_arms_give_exactly_the_same_answers(
    gan: FakeGan, packs: tuple[Pack, Pack], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(
        ARMS, "twin", Arm(about="the same as real", images=real, learns_from=("real",), against=("real",))
    )
    found = quick(packs, tmp_path / "out", budgets=[5], arms=["real", "twin", "classic"])
    same = found.difference("5", "twin", "real")
    assert same is not None and (same.interval.mean, same.interval.se) == (0, 0)
    for score in SCORES:
        twins = [found.values("5", arm, [0, 1], score) for arm in ("twin", "real")]
        assert np.array_equal(twins[0], twins[1]) and twins[0].shape == (2, len(found.test_labels))
    for repeat in (0, 1):
        assert np.array_equal(found.predictions("5", repeat, "twin"), found.predictions("5", repeat, "real"))
        assert not np.array_equal(found.predictions("5", repeat, "classic"), found.predictions("5", repeat, "real"))
    assert not gan.calls  # no arm needs it


def test_subsets_are_balanced_nested_and_differ_by_repeat(
    gan: FakeGan, packs: tuple[Pack, Pack], tmp_path: Path
) -> None:
    quick(packs, tmp_path / "out", budgets=[5, 20, "all"], arms=["floor"])
    subsets = {path.name: open_pack(path) for path in (tmp_path / "out" / "subsets").iterdir()}
    assert set(subsets["5-0"].counts().values()) == {5} and set(subsets["20-1"].counts().values()) == {20}
    assert hashes(subsets["5-0"]) < hashes(subsets["20-0"]) < hashes(subsets["all-0"]) == hashes(packs[0])
    assert hashes(subsets["5-0"]) != hashes(subsets["5-1"])
    assert subsets["5-0"].manifest.history[-1].parents == [packs[0].fingerprint]


def test_what_is_there_is_not_computed_again(
    gan: FakeGan, packs: tuple[Pack, Pack], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "out"
    whole = quick(packs, tmp_path / "whole", arms=["real", "mix"])
    quick(packs, out, budgets=[5], repeats=1, arms=["real"])
    lines = (out / "rows.jsonl").read_text()
    (out / "rows.jsonl").write_text(lines + '{"budget": "5", "repeat": 0, "arm": "mi')  # killed while writing

    trained: list[int] = []
    classifier = train_classifier

    def counted(*data: Any, **options: Any) -> Any:
        trained.append(options["seed"])
        return classifier(*data, **options)

    monkeypatch.setattr(module, "train_classifier", counted)
    extended = quick(packs, out, arms=["real", "mix"])
    assert len(trained) == 7  # 2 budgets x 2 repeats x 2 arms, less the one that was there
    assert (out / "rows.jsonl").read_text().startswith(lines)

    def settled(found: Study) -> dict[Any, float]:
        return {row.key: row.accuracy for row in found.rows}

    assert settled(extended) == settled(whole)
    assert extended.budgets == ["5", "20"] and extended.arms == ["real", "mix"]
    quick(packs, out, arms=["real", "mix"])
    assert len(trained) == 7


def test_a_recipe_that_is_only_described_otherwise_goes_on(packs: tuple[Pack, Pack], tmp_path: Path) -> None:
    out = tmp_path / "out"
    quick(packs, out, arms=["floor"])
    demo = load_recipe("demo")
    worded = demo.model_copy(update={"about": "other words", "source": "another page"})
    assert study(*packs, worded, out, budgets=[5, 20], repeats=2, images=64, arms=["floor"], **QUICK).rows
    faster = load_recipe("demo", {"optimizer_g.lr": 0.5})
    with pytest.raises(StudyError, match=r"recipe\.optimizer_g\.lr"):
        study(*packs, faster, out, budgets=[5, 20], repeats=2, images=64, arms=["floor"], **QUICK)


def test_another_study_in_the_same_folder_is_refused(packs: tuple[Pack, Pack], tmp_path: Path) -> None:
    out = tmp_path / "out"
    quick(packs, out, arms=["floor"])
    with pytest.raises(StudyError, match="seed = 0, not 1"):
        quick(packs, out, arms=["floor"], seed=1)
    with pytest.raises(StudyError, match="images = 64, not 128"):
        quick(packs, out, arms=["floor"], images=128)
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "thesis.txt").write_text("mine")
    with pytest.raises(StudyError, match="already there"):
        quick(packs, tmp_path / "other", arms=["floor"])
    (out / "study.json").write_text("{")
    with pytest.raises(StudyError, match="damaged"):
        open_study(out)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"budgets": [5, 1000]}, "no class has 1,000 images"),
        ({"budgets": ["0%"]}, "'0%'"),
        ({"budgets": ["101%"]}, "'101%'"),
        ({"score": "auc"}, "score = auc .* one of accuracy"),
        ({"rare": ["digit 11"]}, "rare names 'digit 11'"),
        ({"class_shares": ["digit 0=0"]}, "'digit 0=0'"),
        ({"class_shares": ["digit 11=5"]}, "class_shares names 'digit 11'"),
        ({"budgets": ["ten"]}, "'ten'"),
        ({"budgets": [0]}, "'0'"),
        ({"budgets": []}, "at least one budget"),
        ({"arms": ["real", "magic"]}, "'magic'"),
        ({"repeats": 0}, "repeats = 0"),
        ({"classifier_epochs": 0}, "classifier_epochs = 0"),
    ],
)
def test_what_cannot_be_done_is_refused_before_anything_is_written(
    packs: tuple[Pack, Pack], tmp_path: Path, options: dict[str, Any], message: str
) -> None:
    with pytest.raises(StudyError, match=message):
        quick(packs, tmp_path / "out", **{"arms": ["floor"], **options})
    assert not (tmp_path / "out").exists()


def test_test_classes_are_matched_by_name(packs: tuple[Pack, Pack], tmp_path: Path) -> None:
    real, test = packs
    turned = write(tmp_path / "turned", np.asarray(test.pixels), 9 - np.asarray(test.labels), NAMES[::-1])
    plain, other = (quick((real, each), tmp_path / each.path.stem / "out", arms=["real"]) for each in (test, turned))
    assert np.array_equal(plain.test_labels, other.test_labels)
    assert [row.accuracy for row in plain.rows] == [row.accuracy for row in other.rows]
    strange = write(tmp_path / "strange", np.asarray(test.pixels), np.asarray(test.labels), ["?", *NAMES[1:]])
    with pytest.raises(StudyError, match="in one pack only"):
        quick((real, strange), tmp_path / "no")


def test_unlabelled_images_are_neither_learned_nor_asked(
    gan: FakeGan, packs: tuple[Pack, Pack], tmp_path: Path
) -> None:
    real, test = packs
    half = [np.where(np.arange(len(pack)) % 2, -1, pack.labels) for pack in packs]
    less = (
        write(tmp_path / "r", np.asarray(real.pixels), half[0]),
        write(tmp_path / "t", np.asarray(test.pixels), half[1]),
    )
    found = quick(less, tmp_path / "out", budgets=["all"], arms=["real"], repeats=1)
    assert found.rows[0].n_real == (half[0] >= 0).sum() and found.rows[0].n_test == (half[1] >= 0).sum()


def test_report_is_one_file_without_outside_references(
    gan: FakeGan, packs: tuple[Pack, Pack], tmp_path: Path
) -> None:
    hostile = [f"<script>{k}</script> & $x^{{{k}$" for k in range(10)]
    named = [
        write(tmp_path / f"{p.path.name} <b>", np.asarray(p.pixels), np.asarray(p.labels), hostile) for p in packs
    ]
    found = quick((named[0], named[1]), tmp_path / "out", arms=["real", "classic", "mix+classic"])
    html = found.report.read_text()
    assert "<script" not in html and "pack <b>" not in html and "http://" not in html and "https://" not in html
    assert html.count("data:image/png") >= 2 * 2 * 10  # and the closest pairs
    for expected in ("Saturation check", "imagemint study", named[0].fingerprint):
        assert expected in html
    assert report(found).read_text() == html  # the same study, the same bytes


def test_report_of_an_unfinished_study_says_so(gan: FakeGan, packs: tuple[Pack, Pack], tmp_path: Path) -> None:
    out = tmp_path / "out"
    quick(packs, out)
    lines = (out / "rows.jsonl").read_text().splitlines(keepends=True)
    for count in (0, 1, 9):
        (out / "rows.jsonl").write_text("".join(lines[:count]))
        assert f"{count} of {4 * len(USUAL)} classifiers" in report(out).read_text()


def test_findings_of_a_training_stand_in_the_report(packs: tuple[Pack, Pack], tmp_path: Path) -> None:
    found = quick(packs, tmp_path / "out", budgets=[5], arms=["classic", "mix+classic"])
    assert "Nothing was found to be wrong" in found.report.read_text()
    wrong = Finding(
        images_seen=64, name="mode <collapse>", began=32, evidence="all are alike", remedy="lower the rate"
    )
    append_line(found.trainings("5")[1].path / "findings.jsonl", wrong.model_dump(mode="json"))
    html = report(found).read_text()
    assert "wrong with 1 of 2 trainings" in html and "repeat 2" in html and "Nothing was found" not in html
    assert "mode &lt;collapse&gt;" in html and "since 32 images: all are alike" in html and wrong.remedy in html


def test_one_repeat_says_that_it_cannot_say(gan: FakeGan, packs: tuple[Pack, Pack], tmp_path: Path) -> None:
    found = quick(packs, tmp_path / "out", budgets=[5], repeats=1, arms=["classic", "mix+classic"])
    assert "cannot say yet" in found.report.read_text() and "run 5 repeats" in found.summary()


@given(real=st.integers(1, 500), minted=st.integers(1, 5000), share=st.floats(0.1, 0.9))
def test_what_an_arm_of_both_kinds_sees_is_real_in_about_the_share_asked_for(
    real: int, minted: int, share: float
) -> None:
    times = times_seen(real, minted, share)
    assert len(times) == real + minted
    assert times.min() == 1
    assert len(set(times[:real])) == len(set(times[real:])) == 1
    odds, asked = times[:real].sum() / times[real:].sum(), share / (1 - share)
    assert odds / asked * (1 + 1e-9) >= 1 / 1.5 and odds / asked <= 1.5 * (1 + 1e-9)  # copies are whole


def test_as_many_minted_as_real_are_mixed_as_they_are() -> None:
    assert times_seen(200, 200, 0.5).tolist() == [1] * 400
    assert times_seen(200, 5000, 0.5)[:200].tolist() == [25] * 200


def unequal() -> Sources:
    labels = np.repeat([0, 2, 3], [7, 3, 1])
    pixels = np.arange(11, dtype=np.uint8).reshape(-1, 1, 1, 1)
    return Sources(
        real=Images(pixels, labels),
        minted=None,
        pack=None,
        classes=NAMES[:4],
        real_share=0.5,
        shares={},
        seed=0,
        teacher=lambda pixels: pixels,
    )


def test_oversampling_shows_every_class_as_often_and_every_image_at_least_once() -> None:
    made = oversampled(unequal())
    assert np.bincount(made.labels).tolist() == [7, 0, 7, 7]
    assert set(made.pixels.ravel().tolist()) == set(range(11)) and made.n_real == 11
    assert np.array_equal(made.labels, unequal().real.labels[made.pixels.ravel()])
    times = np.bincount(made.pixels.ravel())
    assert all(np.ptp(times[unequal().real.labels == k]) <= 1 for k in (0, 2, 3))


def test_weights_let_every_class_count_the_same() -> None:
    made = weighted(unequal())
    assert made.weights is not None
    sums = [made.weights[made.labels == k].sum() for k in (0, 2, 3)]
    assert sums == pytest.approx([sums[0]] * 3)


def test_rivals_of_minting_on_unequal_classes_need_no_recipe(packs: tuple[Pack, Pack], tmp_path: Path) -> None:
    real, test = packs
    keep = (np.asarray(real.labels) > 1) | (np.arange(len(real)) % 10 == 0)
    few = write(tmp_path / "few", np.asarray(real.pixels)[keep], np.asarray(real.labels)[keep])
    arms = ["floor", "classic", "oversample", "class-weights"]
    found = study(few, test, None, tmp_path / "out", budgets="all", repeats=1, arms=arms, **QUICK)
    answers = {row.arm: found.predictions(*row.key) for row in found.rows}
    assert [(each.arm, each.baseline) for each in found.verdicts["all"]] == [(arm, "classic") for arm in arms[2:]]
    assert len({answer.tobytes() for answer in answers.values()}) == 4
    rare = {arm: int((answer <= 1).sum()) for arm, answer in answers.items()}
    assert rare["classic"] < rare["oversample"] and rare["classic"] < rare["class-weights"]
    assert np.unique(answers["floor"]).tolist() == [np.argmax(list(few.counts().values()))]


def test_the_classifier_is_an_option(packs: tuple[Pack, Pack], tmp_path: Path) -> None:
    once: dict[str, Any] = {**QUICK, "budgets": [5], "repeats": 1, "arms": ["real"]}
    given: list[dict[str, Any]] = [{}, {"classifier": "cnn5"}, {"classifier_learning_rate": 0.003}]
    made = [study(*packs, None, tmp_path / str(k), **{**once, **options}) for k, options in enumerate(given)]
    assert len({each.predictions("5", 0, "real").tobytes() for each in made}) == 3
    assert "five convolutions" in made[1].report.read_text() and "learning rate 0.003" in made[2].report.read_text()
    with pytest.raises(ImagemintError, match="no classifier 'magic'"):
        quick(packs, tmp_path / "no", classifier="magic")
    with pytest.raises(StudyError, match="classifier = cnn5, not lenet"):
        study(*packs, None, tmp_path / "1", **once)
