"""What is read off the rows of a study, row by row: on rows and answers that were made up."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import numpy as np
import pytest

from imagemint.errors import StudyError
from imagemint.jobs import side_by_side
from imagemint.pages import answer
from imagemint.studies import arms, folder, material
from imagemint.studies import rows as cells
from imagemint.studies import study as module
from imagemint.studies.arms import ARMS, FREE, Images, Need, Sources, known
from imagemint.studies.plan import CHOICES, images_of, make_plan
from imagemint.studies.results import Study
from imagemint.studies.verdict import Difference

LABELS = np.arange(40) % 2


class Told(Study):
    """Every arm is right about as many of the test images as `told` says, the same in every repeat."""

    told: dict[tuple[str, str], int]

    @property
    def test_labels(self) -> np.ndarray:
        return LABELS

    def predictions(self, budget: str, repeat: int, arm: str) -> np.ndarray:
        return np.where(np.arange(40) < self.told[budget, arm], LABELS, 1 - LABELS)


def told(budgets: Sequence[str], arms: Sequence[str], repeats: int = 2, **right: int) -> Told:
    rows = [
        SimpleNamespace(budget=b, repeat=r, arm=a, key=(b, r, a), n_real=2 * int(b), validation=None, seconds=1.0)
        for b in budgets
        for r in range(repeats)
        for a in arms
    ]
    facts = SimpleNamespace(
        extent=SimpleNamespace(budgets=tuple(budgets), arms=tuple(arms), repeats=repeats),
        about=SimpleNamespace(classes=["a", "b"]),
        settings=SimpleNamespace(score=None),
    )
    made = Told(Path("nowhere"), cast(Any, facts), cast(Any, rows))
    object.__setattr__(made, "told", {(b, a): right.get(f"{a}{b}", right.get(a, 20)) for b in budgets for a in arms})
    return made


def test_progress_counts_the_rows_that_are_wanted() -> None:
    study = told(["5", "10"], ["real", "classic"], 3)
    assert study.progress == (12, 12)
    study.rows.pop()
    study.rows.append(cast(Any, SimpleNamespace(key=("20", 0, "real"))))  # of a budget that is no longer wanted
    assert study.progress == (11, 12)


def test_repeats_are_those_that_all_arms_have() -> None:
    study = told(["5"], ["real", "classic"], 3)
    study.rows[:] = [row for row in study.rows if row.key != ("5", 1, "classic")]
    assert study.repeats("5", "real") == [0, 1, 2] and study.repeats("5", "real", "classic") == [0, 2]
    assert study.repeats("5", "mix") == study.repeats("7", "real") == study.repeats("5") == []


def test_the_free_arm_of_the_best_validation_is_the_yardstick() -> None:
    study = told(["5", "10"], ["classic", "strong", "mix+classic"], 3, strong=22)
    for row in study.rows:
        marks = {"classic": 0.5, "strong": 0.6, "mix+classic": 0.9}  # the last is not free
        row.validation = marks[row.arm] + 0.01 * row.repeat if row.budget == "5" else 0.7 - marks[row.arm]
    assert study.validations("5") == pytest.approx({"classic": 0.51, "strong": 0.61})
    assert (study.best_free("5"), study.best_free("10")) == ("strong", "classic")
    study.rows[1].validation = None  # strong, repeat 0: only shared repeats count
    assert study.validations("5") == pytest.approx({"classic": 0.515, "strong": 0.615})
    found = study.difference("5", "mix+classic", FREE)
    assert found is not None and (found.baseline, found.chosen) == ("strong", True)
    assert found.interval.mean == pytest.approx(-2 / 40)
    other = study.difference("10", "mix+classic", FREE)
    assert other is not None and other.baseline == "classic" and other.interval.mean == 0
    for row in study.rows:
        row.validation = None
    assert study.validations("5") == {} and study.best_free("5") is None


def test_a_report_is_about_minted_images_on_top_of_what_was_chosen_at_most_budgets() -> None:
    names = ["classic", "strong", "mix+classic", "mix+strong"]
    for chosen, lead in ((["classic", "strong", "classic"], "mix+classic"), (["strong"] * 3, "mix+strong")):
        study = told(["5", "10", "20"], names, strong=22)
        for row in study.rows:
            row.validation = float(row.arm == dict(zip(study.budgets, chosen, strict=True))[row.budget])
        assert study.comparisons[0] == (lead, FREE)
        assert sorted(study.comparisons) == sorted(arms.comparisons(names))  # nothing comes or goes by the choice
    assert told(["5"], names).comparisons[0] == ("mix+strong", FREE)  # nobody has chosen yet


@pytest.mark.parametrize("chosen", ["oversample", "class-weights"])
def test_where_classes_are_made_equal_for_free_the_report_is_about_minted_images_that_do_so(chosen: str) -> None:
    names = ["classic", "strong", chosen, "mix+strong", "balanced", "minted-rare"]
    without = [name for name in names if name != "balanced"]
    for asked, lead in ((names, "balanced"), (without, "minted-rare"), (names[:4], "mix+strong")):
        study = told(["5"], asked, balanced=24)
        for row in study.rows:
            row.validation = float(row.arm == chosen)
        assert study.comparisons[0] == (lead, FREE)
        assert answer.question(study) == (lead, FREE)


def test_repeats_of_another_budget_do_not_count() -> None:
    study = told(["5", "7"], ["real"], 3)
    study.rows[:] = [row for row in study.rows if row.key != ("5", 1, "real")]
    assert study.repeats("5", "real") == [0, 2] and study.repeats("7", "real") == [0, 1, 2]


def test_a_difference_is_that_with_the_baseline_that_is_asked_for() -> None:
    study = told(["5"], ["real", "classic", "mix"], 3, real=10, classic=20, mix=24)
    assert study.comparisons == [("classic", "real"), ("mix", "real")]
    found = study.difference("5", "mix", "real")
    assert found is not None and (found.baseline, found.chosen) == ("real", False)
    assert study.difference("5", "mix", "classic") is None and study.difference("5", "classic", "mix") is None
    assert study.difference("7", "mix", "real") is None


def test_more_real_images_are_compared_with_the_budget_before() -> None:
    study = told(["5", "10", "20"], ["real"], real5=10, real10=20, real20=26)
    found = study.saturation()
    assert isinstance(found, Difference) and (found.budget, found.baseline) == ("20", "real at 10")
    assert found.interval.mean == pytest.approx(6 / 40)
    assert told(["5"], ["real"]).saturation() is None and told(["5", "10"], ["classic"]).saturation() is None


def test_a_missing_learning_curve_is_mentioned_where_nothing_but_a_curve_was_asked_for() -> None:
    for asked, said in ((["real", "classic"], True), (["real"], True), (["real", "mix"], False)):
        assert ("no learning curve" in told(["5"], asked).summary()) == said, asked


def test_numbers_per_class_errors_and_confusion_are_those_of_the_arm_that_is_asked_for() -> None:
    study = told(["5", "10"], ["real", "classic"], real=30, classic=10)
    for row in study.rows:
        row.n_real += row.arm == "classic"
    assert study.per_class("real", ["5", "10"]) == [5, 10] and study.per_class("classic", ["5"]) == [5.5]
    assert study.errors(["5", "10"], "real", [0, 1]).mean((0, 2)) == pytest.approx([0.25, 0.25])
    assert study.confusion("5", "real") == pytest.approx(np.array([[0.75, 0.25], [0.25, 0.75]]))
    level, accuracy = study.level("5", "classic"), study.accuracy("5", "classic")
    assert level is not None and accuracy is not None and level.mean == accuracy.mean == 0.25
    assert study.level("7", "classic") is None and study.yardstick == "classic"


# --- rows ---------------------------------------------------------------------------------------------------------


def test_a_quarter_of_every_class_is_held_out_and_learned_from_is_the_rest() -> None:
    labels = np.repeat([0, 1, 2, 3], [40, 10, 2, 1])
    pixels = np.arange(53, dtype=np.uint8).reshape(-1, 1, 1, 1)
    sources = SimpleNamespace(real=Images(pixels, labels), classes=list("abcd"), seed=3)
    seen: dict[str, Images] = {}

    class Sure:
        history: list[Any] = []  # noqa: RUF012

        def log_probabilities(self, asked: np.ndarray) -> np.ndarray:
            with np.errstate(divide="ignore"):
                return np.log(np.eye(4)[labels[asked.ravel()]])

    def teach(arm: Any, learned: Any, advance: Any, purpose: str, watched: dict[str, Images]) -> Any:
        assert purpose == "choice"
        seen.update(learned=learned, others=watched["validation"])
        return Sure()

    arm: Any = SimpleNamespace(images=lambda given: given.real)
    plan = make_plan(None, arms=["real"])
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(cells, "replace", lambda given, real: SimpleNamespace(real=real))
        found = cells._held_out(arm, cast(Any, sources), plan, cast(Any, teach), cast(Any, None))
    assert found is not None and found[0] == 1
    assert np.bincount(seen["others"].labels, minlength=4).tolist() == [10, 2, 1, 0]
    both = np.concatenate([seen["learned"].pixels, seen["others"].pixels]).ravel()
    assert sorted(both.tolist()) == list(range(53))
    assert (seen["learned"].labels == labels[seen["learned"].pixels.ravel()]).all()


def test_a_length_is_a_factor_of_what_the_plan_says_and_one_image_at_least() -> None:
    assert cells._length(100, {}) == 100 and cells._length(101, {"length": 0.5}) == 50
    assert cells._length(100, {"length": 2.0, "learning-rate": 3.0}) == 200 and cells._length(0, {}) == 1


def test_looks_are_taken_at_250_images_at_most() -> None:
    plan = make_plan(None, arms=["real"])
    for n in (1, 249, 250, 251, 600):
        images = Images(np.arange(n).reshape(-1, 1, 1, 1), np.arange(n) % 7)
        some = cells._some(images, plan)
        rows = some.pixels.ravel()
        assert len(rows) == min(n, 250) and (np.diff(rows) > 0).all() and np.array_equal(some.labels, rows % 7)


def test_the_floor_always_says_the_most_frequent_class_of_what_was_learned() -> None:
    test = SimpleNamespace(labels=np.array([0, 1, 1, 2]))
    found = cells._most_frequent(
        np.array([1, 1, 1, 0, 2]), cast(Any, SimpleNamespace(classes=list("abc"), test=test))
    )
    assert (found.predictions == 1).all() and found.accuracy == 0.5
    assert np.exp(found.log_probabilities[0]) == pytest.approx([0.2, 0.6, 0.2])
    assert cells._by_class(found) == [0, 1, 0]
    assert cells._of_label(found) == pytest.approx(np.log([0.2, 0.6, 0.6, 0.2]))


def test_a_soft_image_shows_its_most_probable_class() -> None:
    soft = SimpleNamespace(pixels=None, labels=np.array([[0.2, 0.8], [0.9, 0.1]]))
    assert cells._certain(cast(Any, soft)).labels.tolist() == [1, 0]


# --- plans --------------------------------------------------------------------------------------------------------


def test_what_may_be_chosen_is_as_it_is_less_or_more() -> None:
    for name, (usual, less, more) in CHOICES.items():
        assert usual == 1 and 0 < less < 1 < more, name
    _, less, more = CHOICES["learning-rate"]
    assert less * more == pytest.approx(1) and more == 3


def test_a_budget_takes_what_it_says_of_a_class() -> None:
    assert [images_of(budget, 57) for budget in ("1", "10", "57", "58", "all")] == [1, 10, 57, 57, 57]
    assert [images_of(budget, 57) for budget in ("0.1%", "10%", "50%", "100%")] == [1, 6, 28, 57]
    assert images_of("10%", 0) == images_of("all", 0) == images_of("3", 0) == 0


def test_shares_are_read_by_the_name_of_their_class_or_budget() -> None:
    given: dict[str, Any] = {"arms": "class-shares"}
    found = make_plan("ppca", **given, class_shares="a=100,b=c=0.5,*=20%")
    assert found.shares == {"a": 1, "b=c": 0.005, "*": 0.2}
    for wrong in ("a", "a=1,a=2", "a=x"):
        with pytest.raises(StudyError, match="class_shares"):
            make_plan("ppca", **given, class_shares=wrong)
    shared = make_plan(None, arms="real", budgets="5,all", real_share=0.25, real_share_by_budget="all=0.9")
    assert (shared.real_share_at("5"), shared.real_share_at("all")) == (0.25, 0.9)
    for wrong in ("5=0", "5=1", "5=0.5,5=0.6", "0.5", "x=0.5"):
        with pytest.raises(StudyError, match="real_share_by_budget"):
            make_plan(None, arms="real", budgets="5", real_share_by_budget=wrong)


def test_of_several_that_are_unknown_the_first_is_named() -> None:
    cases: list[tuple[dict[str, Any], str]] = [
        ({"budgets": "5,x,y"}, "not 'x'"),
        ({"arms": "real,x,y"}, "not 'x'"),
        ({"classifier_choose": "y,x"}, "not 'x'"),
        ({"arms": "real,mix,minted"}, "arm minted and no recipe"),
    ]
    for options, found in cases:
        with pytest.raises(StudyError, match=found):
            make_plan(None, **{"arms": "real", "budgets": "5", **options})


# --- arms ---------------------------------------------------------------------------------------------------------

KINDS = {"real": 1, "minted": 2, "pack": 3}  # the value of every pixel


def sources(real: Sequence[int] = (6, 4), share: float = 0.5) -> Sources:
    def images(kind: str, counts: Sequence[int]) -> Images:
        return Images(np.full((sum(counts), 1, 2, 2), KINDS[kind], np.uint8), np.repeat([0, 1], counts))

    sure = lambda pixels: np.tile([0.75, 0.25], (len(pixels), 1))  # noqa: E731
    return Sources(
        images("real", real), images("minted", (5, 5)), images("pack", (3, 7)), ["a", "b"], share, {"a": 0.5}, 0, sure
    )


@pytest.mark.parametrize("name", [*ARMS, "mix:2", "share:50", "pack:more.pack"])
def test_an_arm_learns_from_what_it_says_and_counts_it(name: str) -> None:
    arm = known(name)
    assert arm is not None
    assert (arm.minting is not None) == arm.minted or arm.discriminator
    assert arm.free <= (arm.learns_from == ("real",)) and set(arm.against) <= {*ARMS, FREE} - {name}
    if arm.images is None:
        assert not arm.learns_from or arm.discriminator
        return
    given = sources()
    found = arm.images(given)
    pixels = found.pixels if found.unlabelled is None else np.concatenate([found.pixels, found.unlabelled])
    values = pixels[:, 0, 0, 0]
    if name.startswith("noisy"):
        values = np.where(values == 1, 1, 2)
    assert set(values.tolist()) == {KINDS[kind] for kind in arm.learns_from}
    if "share" not in name and name != "boundary":  # these take a part of them
        assert found.n_real == arm.real * 10 and found.n_added == arm.added * 10
    assert found.n_real <= (values == 1).sum() and found.n_added <= (values != 1).sum()
    assert len(found.labels) == len(found.pixels)
    if found.labels.ndim == 2:
        assert found.labels.sum(1) == pytest.approx(1)


def test_every_class_counts_the_same_by_repeats_or_by_weights() -> None:
    given = sources(real=(9, 3))
    assert np.bincount(arms.oversampled(given).labels).tolist() == [9, 9]
    weighed = arms.weighted(given)
    assert weighed.weights is not None
    assert np.bincount(weighed.labels, weighed.weights) == pytest.approx([weighed.weights.sum() / 2] * 2)


@pytest.mark.parametrize(
    ("real", "other", "share", "times"),
    [
        (100, 100, 0.5, (1, 1)),
        (10, 100, 0.5, (10, 1)),
        (100, 10, 0.5, (1, 10)),
        (100, 100, 0.75, (3, 1)),
        (100, 100, 0.2, (1, 4)),
        (7, 100, 0.1, (2, 1)),
    ],
)
def test_the_share_of_real_images_is_about_what_is_asked_for(
    real: int, other: int, share: float, times: tuple[int, int]
) -> None:
    found = arms.times_seen(real, other, share)
    assert found.tolist() == [times[0]] * real + [times[1]] * other


def test_what_is_minted_follows_from_the_real_images() -> None:
    need = Need({"a": 10, "b": 4, "c": 5}, None, (), {"b": 0.5})
    asked = need._replace(per_class=7)
    assert arms.as_many(need) == need.real and set(arms.as_many(asked).values()) == {7}
    assert arms.filling(need) == arms.filling(asked) == {"a": 0, "b": 6, "c": 5}
    assert arms.for_rare(need) == {"a": 0, "b": 6, "c": 0} and arms.for_rare(asked) == {"a": 0, "b": 7, "c": 0}
    assert arms.for_rare(need._replace(rare=("c",))) == {"a": 0, "b": 0, "c": 5}
    assert arms.times_as_many(0.5)(need) == {"a": 5, "b": 2, "c": 2}
    assert arms.times_as_many(0.01)(need) == {"a": 1, "b": 1, "c": 1}
    assert arms.missing(lambda given: given.shares)(need) == {"a": 0, "b": 2, "c": 0}
    assert arms.missing(lambda _: {"*": 0.1})(need) == {"a": 9, "b": 3, "c": 4}
    assert [arms.kept_of(n, 0.1) for n in (0, 1, 3, 50)] == [0, 1, 1, 5]
    assert arms.share_of({"a": 0.4, "*": 0.1}, "a") == 0.4 and arms.share_of({"a": 0.4, "*": 0.1}, "b") == 0.1
    assert arms.share_of({"a": 0.4}, "b") == 1
    assert arms.unequal([10, 5]) and not arms.unequal([10, 6]) and not arms.unequal([7, 7])


def test_arguments_of_arms_have_bounds() -> None:
    there = ["mix:0.001", "mix:1000", "share:0.1", "share:100", "pack:x"]
    absent = [
        "mix:0",
        "mix:1000.001",
        "mix:-1",
        "mix:two",
        "mix:",
        "share:0",
        "share:100.1",
        "share:",
        "pack:",
        "real:2",
    ]
    assert all(known(name) for name in there) and not any(known(name) for name in absent)
    assert known("mix:2") is known("mix:2")  # what is minted for it is known again


def test_comparisons_begin_with_the_best_rival_that_is_free() -> None:
    assert arms.in_order(["pack:x", "mix", "real", "mix", "floor"]) == ("floor", "real", "mix", "pack:x")
    found = arms.comparisons(arms.USUAL)
    assert found[0] == ("mix+strong+classmix", FREE) and all(base in {*arms.USUAL, FREE} for _, base in found)
    assert len(found) == len(set(found)) and found[-1][1] == "real"
    assert arms.free_arms(["classic", "strong", "mix+classic"]) == ["classic", "strong"]
    assert arms.free_arms(["classic", "mix+classic"]) == [] == arms.free_arms(["classic", "strong"])
    assert all(base != FREE for _, base in arms.comparisons(["classic", "mix+classic"]))


# --- files and remarks ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("largest", [0, 1, 2**15 - 1, 2**15, 70_000])
def test_classes_are_read_as_they_were_written(tmp_path: Path, largest: int) -> None:
    file, values = tmp_path / "labels.npy", np.array([0, largest, 0])
    folder.save_classes(file, values)
    assert np.load(file).dtype == (np.int16 if largest < 2**15 else np.int32)
    for count in (None, 3):
        found = folder.load_classes(file, largest + 1, count)
        assert found.dtype == np.int64 and found.tolist() == values.tolist()
    for classes, count in ((largest, 3), (largest + 1, 2), (largest + 1, 4)):
        with pytest.raises(StudyError, match="a class for every test image"):
            folder.load_classes(file, classes, count)


@pytest.mark.parametrize("wrong", [np.array([0, -1]), np.array([0.0, 1.0]), np.zeros((2, 1), int), np.zeros(0, int)])
def test_what_is_no_list_of_classes_is_refused(tmp_path: Path, wrong: np.ndarray) -> None:
    np.save(tmp_path / "labels.npy", wrong)
    with pytest.raises(StudyError, match="a class for every test image"):
        folder.load_classes(tmp_path / "labels.npy", 5)


def test_log_probabilities_are_read_as_they_were_written_and_are_at_most_0(tmp_path: Path) -> None:
    file = tmp_path / "some.log.npy"
    folder.save_log_probabilities(file, np.array([0.0, -1.5, -np.inf]))
    assert folder.load_log_probabilities(file, 3).tolist() == [0, -1.5, -np.inf]
    for values in ([0.0, -1.0], [0.0, -1.0, 0.001], [0.0, -1.0, np.nan]):
        folder.save_log_probabilities(file, np.array(values))
        with pytest.raises(StudyError, match="a log probability for every"):
            folder.load_log_probabilities(file, 3)


def test_what_is_left_out_of_an_added_pack_is_said_and_nothing_else() -> None:
    note = folder.AddedNote.model_validate({"path": "p", "images": 3, "counts": {"a": 1, "b": 2}, "fingerprint": "f"})
    assert note.left_out() == []
    some = {"copies": 1, "near": 2, "other_classes": {"z": 3}, "unlabelled": 4, "counts": {"a": 1, "b": 0}}
    said = note.model_copy(update=some).left_out()
    assert [line.split(" image")[0] for line in said] == ["1", "2", "3", "4", "no"]
    assert "exact" in said[0] and "near" in said[1] and said[2].endswith("class z") and said[4].endswith("1 class: b")


def test_what_is_left_out_of_both_packs_is_said_and_nothing_else() -> None:
    def made(exact: int, near: int | None, **without: int) -> material.Material:
        pairs = [tuple((k, 100 + k) for k in range(n)) for n in (exact, near or 0)]
        first = material.Copies("one", pairs[0], None if near is None else pairs[1])
        other = material.Copies("two", ((7, 7),), ((8, 8),))
        nothing: Any = None
        return material.Material(
            nothing, nothing, [], [], nothing, "", without_test=without, added={}, copies=(first, other)
        )

    assert made(0, 0).remarks() == made(0, None).remarks() == []
    assert made(1, 2, c=5).remarks() == [
        "1 class without a test image, left out of both packs: c (5 training images)",
        "1 training image left out: exact copies of test images",
        "2 training images left out: near copies of test images",
    ]
    found = made(2, 1)
    assert (found.leaked, found.near, found.twins) == (2, 1, ((0, 100), (0, 100), (1, 101)))
    assert made(1, None).near is None and made(1, None).twins == ((0, 100),)


def test_remarks_name_classes_with_fewer_images_than_a_budget() -> None:
    plan = make_plan(None, arms=["real"], budgets=["10%", "5", "8", "all"])
    test = SimpleNamespace(labels=np.array([0, 0, 0, 1, 1]))
    there = SimpleNamespace(classes=["a", "b"], pool=[np.arange(8), np.arange(7)], test=test)
    assert module._remarks(plan, cast(Any, there)) == [
        "8 real images per class: classes with fewer use all that they have: b 7"
    ]
    there.pool[1] = np.arange(4)
    said = module._remarks(plan, cast(Any, there))
    assert len(said) == 3 and said[0].endswith("b 4") and "unequal (4 to 8 training images)" in said[2]
    assert said[2].endswith("the verdict is given for accuracy")
    there.pool[1], test.labels = np.arange(8), np.array([0, 0, 1])  # unequal to be tested on
    assert "unequal" in module._remarks(plan, cast(Any, there))[-1]


def test_the_time_left_is_that_of_the_cells_before_times_those_to_come(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock, said = [0.0], list[str]()

    def compute(cell: Any, *_: Any) -> Any:
        clock[0] += 120
        yield cell.repeat

    monkeypatch.setattr(module, "compute_rows", compute)
    monkeypatch.setattr("imagemint.studies.study.time.monotonic", lambda: clock[0])
    monkeypatch.setattr(module, "say", said.append)
    plan = make_plan(None, arms=["real"], budgets=["5"], repeats=3)
    wanted = {folder.Cell(tmp_path, "5", repeat): ["real"] for repeat in range(3)}
    nothing: Any = None
    rows: list[Any] = list(module._computed(wanted, plan, nothing, nothing, 1, side_by_side))
    assert rows == [0, 1, 2]
    assert said == [
        "study 1/3: 5 real images per class, repeat 1 of 3",
        "study 2/3: 5 real images per class, repeat 2 of 3, about 4 min left",
        "study 3/3: 5 real images per class, repeat 3 of 3, about 2 min left",
    ]


def test_only_the_arm_that_says_so_is_screened() -> None:
    mintings = {name: arm.minting for name, arm in ARMS.items() if arm.minting}
    assert {name: each.keep for name, each in mintings.items() if each.keep} == {"screened": 0.5}
    assert {name: each.density_ratio for name, each in mintings.items() if each.density_ratio} == {
        "density-ratio": 0.25
    }
