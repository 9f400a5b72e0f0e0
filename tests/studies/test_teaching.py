"""What a cell asks of those who train and mint for it, on stand-ins that remember what they were given."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import numpy as np
import pytest

from imagemint.augment import AUGMENTATIONS, times
from imagemint.classifiers.training import CLASSIFIERS
from imagemint.config import load_recipe
from imagemint.data.pack import Pack, open_pack
from imagemint.studies import rows as module
from imagemint.studies.arms import USUALLY, Images, Minting, Sources, TrainingSet, find_arm
from imagemint.studies.folder import Cell, Row, load_classes, load_log_probabilities
from imagemint.studies.material import Material, find_material
from imagemint.studies.plan import CHOICES, StudyPlan, make_plan
from tests.data.edit_packs import make, noise

LABELS = np.repeat([0, 1], [12, 8])
TESTED = np.array([0, 0, 0, 1, 1])
SURE = np.array([0.25, 0.75])  # what every stand-in says of every image, so that 2 of the 5 test images are right


class Workshop:
    """In place of training and minting."""

    def __init__(self, tmp_path: Path, patch: pytest.MonkeyPatch) -> None:
        self.path = tmp_path
        pack = make(tmp_path / "real", noise(20, 1, 8, 8, 1), LABELS, ["a", "b"])
        self.sides = pack, make(tmp_path / "test", noise(5, 1, 8, 8, 2), TESTED, ["a", "b"])
        self.trained: list[dict[str, Any]] = []
        self.minted: list[dict[str, Any]] = []
        self.taught: list[dict[str, Any]] = []
        self.asked_for, self.done = 0, 0
        for name in ("train", "mint", "train_classifier", "progress"):
            patch.setattr(module, name, getattr(self, name))

    def train(self, pack: Pack, recipe: Any, run: Path, **options: Any) -> SimpleNamespace:
        self.trained.append({"pack": pack, "recipe": recipe, "run": run, **options})
        return SimpleNamespace(path=run, pack=pack, images_seen=321)

    def mint(self, run: SimpleNamespace, dest: Path, *, counts: dict[str, int], **options: Any) -> Pack:
        self.minted.append({"run": run.path, "dest": dest, "counts": counts, **options})
        labels = np.repeat(np.arange(2), list(counts.values()))
        return make(dest, noise(len(labels), 1, 8, 8, 3), labels, ["a", "b"], origin="minted")

    def train_classifier(self, pixels: np.ndarray, labels: np.ndarray, classes: int, **options: Any) -> Any:
        self.taught.append({"pixels": pixels, "labels": labels, "classes": classes, **options})
        options["advance"](options["images_seen"])
        return self.classifier()

    @staticmethod
    def classifier(**history: Any) -> Any:
        return SimpleNamespace(log_probabilities=lambda pixels: np.tile(np.log(SURE), (len(pixels), 1)), history=[])

    @contextmanager
    def progress(self, total: int, what: str) -> Iterator[Callable[..., None]]:
        def advance(amount: int = 1, note: Any = "") -> None:
            self.done += amount

        self.asked_for += total
        yield advance

    def material(self, plan: StudyPlan) -> Material:
        return find_material(*self.sides, plan.arms, near=False)

    def rows(
        self, *, arms: str, recipe: str | None = "demo", wanted: Sequence[str] = (), **options: Any
    ) -> list[Row]:
        usual: dict[str, Any] = {"budgets": "4", "classifier_images": 100, "classifier_epochs": 1, "seed": 5}
        self.plan = make_plan(recipe, arms=arms, **{**usual, **options})
        self.cell = Cell(self.path / "out", self.plan.budgets[0], 2)
        self.cell.predictions("any").parent.mkdir(parents=True, exist_ok=True)
        return list(module.compute_rows(self.cell, self.plan, self.material(self.plan), wanted or self.plan.arms))


@pytest.fixture
def workshop(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Workshop:
    return Workshop(tmp_path, monkeypatch)


@pytest.mark.parametrize("length", [0.37, 1.0, 2.0])
def test_what_is_shown_ends_at_the_whole_whatever_length_was_chosen(
    length: float, workshop: Workshop, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(CHOICES, "length", (length,))
    rows = workshop.rows(arms="real,classic,mix+classic", images=640, classifier_choose="length")
    assert {row.images_seen for row in rows} == {round(100 * length)}
    assert workshop.done == workshop.asked_for > 0


def test_all_arms_of_a_cell_start_alike_and_see_as_many_images(workshop: Workshop) -> None:
    rows = workshop.rows(arms="real,classic,strong,mix+classic,class-weights,soft", images=640)
    by_arm, plan, cell = {row.arm: row for row in rows}, workshop.plan, workshop.cell
    assert [row.arm for row in rows] == list(plan.arms)
    seeds = {
        purpose: plan.seed_for(purpose, "4", 2) for purpose in ("classifier", "choice", "teacher", "gan", "mint")
    }
    assert len(set(seeds.values())) == 5
    told = [call["seed"] for call in workshop.taught]
    free = ["real", "classic", "strong", "class-weights"]  # of which a yardstick is chosen
    assert [told.count(seeds[name]) for name in ("classifier", "choice", "teacher")] == [len(rows), len(free), 1]
    assert {call["images_seen"] for call in workshop.taught} == {100} == {row.images_seen for row in rows}
    assert {call["classes"] for call in workshop.taught} == {2}
    assert all(call["plan"] == plan.classifier_plan and call["looks"] == 8 for call in workshop.taught)
    assert {row.seed for row in rows} == {seeds["classifier"]}
    assert {arm for arm, row in by_arm.items() if row.validation is not None} == set(free)
    assert {(row.budget, row.repeat, row.n_real, row.n_test) for row in rows} == {("4", 2, 8, 5)}
    assert {arm: row.n_minted for arm, row in by_arm.items() if row.n_minted} == {"mix+classic": 8, "soft": 8}
    subset, minted = open_pack(cell.subset), open_pack(cell.minted)
    assert {row.subset for row in rows} == {subset.fingerprint} and {row.test for row in rows} == {
        workshop.sides[1].fingerprint
    }
    assert {row.minted for row in rows} == {None, minted.fingerprint}
    assert subset.counts() == {"a": 4, "b": 4} == minted.counts()
    for row in rows:
        assert (row.accuracy, row.per_class) == (0.4, [0, 1]) and row.scores["accuracy"] == 0.4
        assert row.loss == pytest.approx(-np.log(SURE[TESTED]).mean())
        assert load_classes(cell.predictions(row.arm), 2, 5).tolist() == [1] * 5
        assert np.exp(load_log_probabilities(cell.log_probabilities(row.arm), 5)) == pytest.approx(SURE[TESTED])
    (gan,) = workshop.trained
    assert (gan["seed"], gan["resume"], gan["run"]) == (seeds["gan"], True, cell.run)
    assert gan["pack"].fingerprint == subset.fingerprint and gan["recipe"].images == 640
    (coin,) = workshop.minted
    assert (coin["seed"], coin["dest"], coin["counts"]) == (seeds["mint"], cell.minted, {"a": 4, "b": 4})


def test_progress_ends_at_the_number_of_images_that_it_began_with(workshop: Workshop) -> None:
    for arms in ("real", "floor,real", "real,classic,mix+classic", "real,soft", "real,classic,strong,mix+strong"):
        workshop.rows(arms=arms)
        assert workshop.done == workshop.asked_for > 0, arms
    workshop.rows(arms="floor,real,classic,mix+classic", wanted=["floor", "classic"])
    assert workshop.done == workshop.asked_for


def test_classifiers_are_watched_on_images_that_they_learn_from_and_on_test_images(workshop: Workshop) -> None:
    workshop.rows(arms="real,classic,mix+classic")
    for call in workshop.taught:
        watched = call["watched"]
        if call["seed"] == workshop.plan.seed_for("choice", "4", 2):
            assert list(watched) == ["validation"] and watched["validation"].labels.tolist() == [0, 1]
            assert len(call["pixels"]) == 6  # a quarter of four images of two classes was held out
        else:
            assert list(watched) == ["training", "test"]
            assert np.array_equal(watched["training"].pixels, call["pixels"])
            assert np.array_equal(watched["test"].pixels, workshop.sides[1].pixels)


def test_an_arm_is_trained_on_what_it_says_in_the_way_it_says(workshop: Workshop) -> None:
    names = ["real", "classic", "mixup", "class-weights", "consistent", "consistent-real", "mix+classic"]
    workshop.rows(arms=",".join(names), real_share=0.3, real_schedule="rising")
    by_seed = [each for each in workshop.taught if each["seed"] == workshop.plan.seed_for("classifier", "4", 2)]
    calls = dict(zip(workshop.plan.arms, by_seed, strict=True))
    recipe = workshop.plan.recipe
    assert recipe is not None
    for name, call in calls.items():
        ranges = find_arm(name).augment
        if ranges == "none":
            assert call["augment"] is None
        else:
            assert call["augment"].keywords == {"ranges": AUGMENTATIONS[ranges], "flips": recipe.flips}
        assert (call["mix"] is None) == (name != "mixup") and call["kind"] is None
        assert (call["weights"] is None) == (name != "class-weights")
        assert (call["order"] is None) == (name != "mix+classic")
        assert (call["agreement"] is None) == (not name.startswith("consistent"))
    assert calls["mixup"]["mix"].keywords == {"ranges": AUGMENTATIONS["mixup"]}
    order = calls["mix+classic"]["order"]
    assert (order.share, order.length, order.shift, order.real.images, order.other.images) == (0.3, 100, 8, 8, 8)
    real = open_pack(workshop.cell.subset).pixels
    view = calls["consistent-real"]["agreement"]
    assert np.array_equal(view.pixels, real) and view.strong.keywords["ranges"].harder_share == 1
    assert view.strong.keywords["ranges"] == times(module.STRONG_VIEW, 1)
    assert np.array_equal(calls["consistent"]["agreement"].pixels, open_pack(workshop.cell.minted).pixels)


def test_images_of_an_added_pack_are_learned_from_and_named_in_the_row(workshop: Workshop) -> None:
    extra = make(workshop.path / "extra", noise(6, 1, 8, 8, 9), [0, 1, 1] * 2, ["a", "b"])
    rows = {row.arm: row for row in workshop.rows(arms=f"classic,pack:{extra.path}", recipe=None)}
    row = rows[f"pack:{extra.path}"]
    assert (row.n_real, row.n_minted, row.minted) == (8, 6, extra.fingerprint) and rows["classic"].minted is None
    learned = workshop.taught[-1]["pixels"]
    assert all((learned == each).all((1, 2, 3)).any() for each in extra.pixels)
    assert not workshop.trained and not workshop.minted


def test_a_teacher_learns_the_real_images_alone_and_is_trained_once(workshop: Workshop) -> None:
    workshop.rows(arms="soft,soft-real,boundary")
    teachers = [each for each in workshop.taught if each["seed"] == workshop.plan.seed_for("teacher", "4", 2)]
    (teacher,) = teachers
    subset = open_pack(workshop.cell.subset)
    assert np.array_equal(teacher["pixels"], subset.pixels) and np.array_equal(teacher["labels"], subset.labels)
    assert teacher["augment"].keywords["ranges"] == AUGMENTATIONS["classic"] and teacher["watched"] is None
    soft = next(each for each in workshop.taught if each["labels"].ndim == 2)
    assert soft["labels"][8:] == pytest.approx(np.tile(SURE, (8, 1)))


def test_a_discriminator_is_the_classifier_or_its_start(workshop: Workshop, monkeypatch: pytest.MonkeyPatch) -> None:
    runs: list[Any] = []

    def asked(given: Any) -> Callable[[Any], Any]:
        def of(run: Any) -> Any:
            runs.append(run)
            return given

        return of

    monkeypatch.setattr(module, "judge_of", asked(workshop.classifier()))
    monkeypatch.setattr(module, "started_from", asked(CLASSIFIERS["resnet"]))
    semi, started = workshop.rows(arms="semi-supervised,pretrained", recipe="sgan-mnist")
    assert (semi.arm, semi.images_seen, semi.n_real) == ("semi-supervised", 321, 8)  # as many as the GAN saw
    assert (started.arm, started.images_seen) == ("pretrained", 100)
    assert [run.path for run in runs] == [workshop.cell.run] * 2 and not workshop.minted
    assert [call["kind"] for call in workshop.taught] == [CLASSIFIERS["resnet"]]
    assert workshop.done == workshop.asked_for


def test_what_is_minted_is_what_the_arm_lacks_and_is_minted_once(workshop: Workshop) -> None:
    subset = make(workshop.path / "subset", noise(12, 1, 8, 8), [0] * 9 + [1] * 3, ["a", "b"])
    plan = make_plan("demo", arms="mix", seed=5, minted_per_class=7)
    cell = Cell(workshop.path / "out", "4", 1)
    first = module.minted_pack(cell, plan, subset, USUALLY)
    assert first is not None and first.counts() == {"a": 7, "b": 7} and first.path == cell.minted
    assert module.minted_pack(cell, plan, subset, USUALLY).fingerprint == first.fingerprint  # type: ignore[union-attr]
    assert len(workshop.minted) == len(workshop.trained) == 1
    rare = find_arm("balanced").minting
    assert rare is not None and module.minted_pack(cell, plan, subset, rare).counts() == {  # type: ignore[union-attr]
        "a": 0,
        "b": 6,
    }
    equal = make(workshop.path / "equal", noise(6, 1, 8, 8), [0, 1] * 3, ["a", "b"])
    assert module.minted_pack(Cell(workshop.path / "out", "5", 1), plan, equal, rare) is None  # nothing is lacking
    assert len(workshop.minted) == 2
    screened = find_arm("screened").minting
    assert screened is not None
    module.minted_pack(cell, plan, subset, screened)
    last = workshop.minted[-1]
    assert (last["keep"], last["pack"]) == (0.5, subset) and "keep" not in workshop.minted[0]
    by_ratio = find_arm("density-ratio").minting
    assert by_ratio is not None
    module.minted_pack(cell, plan, subset, by_ratio)
    assert workshop.minted[-1]["density_ratio"] == 0.25 and "keep" not in workshop.minted[-1]
    assert "density_ratio" not in last
    assert {each["run"] for each in workshop.minted} == {cell.run}


def test_the_duration_of_a_study_holds_for_every_recipe_that_has_one() -> None:
    plan = make_plan("demo", arms="mix", images=77)
    for minting in (USUALLY, Minting(name="p", recipe="per-class")):
        recipe: Any = module.recipe_of(plan, minting)
        assert recipe.images == 77
    assert module.recipe_of(plan, Minting(name="p", recipe="pca")) == load_recipe("pca")  # has no duration
    usual = make_plan("demo", arms="mix")
    assert module.recipe_of(usual, USUALLY) == load_recipe("demo")


def test_subsets_of_a_repeat_are_nested_and_a_seed_draws_what_it_always_drew() -> None:
    pool = [np.arange(0, 40, 2), np.arange(1, 20, 2)]
    drawn = {budget: module.subset_rows(budget, 1, 3, pool) for budget in ("2", "5", "50%", "all")}
    for rows in drawn.values():
        assert (np.diff(rows) > 0).all()
    assert set(drawn["2"]) < set(drawn["5"]) < set(drawn["all"]) == {*range(0, 40, 2), *range(1, 20, 2)}
    assert np.bincount(drawn["5"] % 2).tolist() == [5, 5] and np.bincount(drawn["50%"] % 2).tolist() == [10, 5]
    others = [module.subset_rows("5", repeat, seed, pool).tolist() for repeat, seed in ((0, 3), (1, 4), (2, 3))]
    assert drawn["5"].tolist() not in others and len({str(each) for each in others}) == 3


# --- what is chosen -----------------------------------------------------------------------------------------------


def chosen(
    patch: pytest.MonkeyPatch, arm: str, asked: str, score: Callable[..., float | None]
) -> tuple[dict[str, float], list[dict[str, float]]]:
    tried: list[dict[str, float]] = []

    def held_out(arm: Any, sources: Any, plan: Any, teach: Any, advance: Any) -> Any:
        tried.append(teach.keywords["factors"])
        found = score(**{name.replace("-", "_"): each for name, each in tried[-1].items()})
        return None if found is None else (found, [])

    patch.setattr(module, "_held_out", held_out)
    plan = make_plan(None, arms=[arm], classifier_choose=asked)
    nothing: Any = None
    return module._chosen(find_arm(arm), nothing, plan, cast(Any, lambda **_: None)), tried


def test_settings_are_chosen_one_after_the_other_each_with_the_best_of_those_before(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    everything = "learning-rate,length,augmentation"
    found, tried = chosen(
        monkeypatch,
        "classic",
        everything,
        lambda learning_rate=1.0, length=1.0, augmentation=1.0: learning_rate - length + (augmentation == 0.5),
    )
    assert found == {"learning-rate": 3.0, "length": 0.5, "augmentation": 0.5}
    assert len(tried) == 9 and [len(each) for each in tried] == [1, 1, 1, 2, 2, 2, 3, 3, 3]
    assert {each["learning-rate"] for each in tried[3:]} == {3.0} and {each["length"] for each in tried[6:]} == {0.5}
    assert [each["length"] for each in tried[3:6]] == list(CHOICES["length"])
    equal, _ = chosen(monkeypatch, "classic", everything, lambda **_: 0.5)
    assert set(equal.values()) == {1}  # of equal ones what the plan says
    plain, tried = chosen(monkeypatch, "real", everything, lambda **_: 0.5)
    assert set(plain) == {"learning-rate", "length"} and len(tried) == 6  # nothing to augment
    assert chosen(monkeypatch, "classic", everything, lambda **_: None)[0] == {}
    assert chosen(monkeypatch, "classic", "", lambda **_: 0.5) == ({}, [])


def test_what_was_chosen_is_what_the_classifier_is_trained_with(workshop: Workshop) -> None:
    plan = make_plan("demo", arms="mixup", seed=5, classifier_learning_rate=0.02)
    cell, there = Cell(workshop.path / "out", "4", 2), workshop.material(plan)
    learned = TrainingSet(noise(4, 1, 8, 8), np.array([0, 1, 0, 1]), 4, 0, unlabelled=noise(3, 1, 8, 8))

    def taught(plan: StudyPlan = plan, **options: Any) -> dict[str, Any]:
        nothing: Any = lambda amount=1, note="": None  # noqa: E731
        module._taught(cell, plan, there, 100, find_arm("mixup"), learned, nothing, **options)
        return workshop.taught[-1]

    factors = {"learning-rate": 3.0, "length": 0.5, "augmentation": 1.6}
    usual, other = taught(), taught(factors=factors)
    assert (usual["images_seen"], other["images_seen"]) == (100, 50)
    assert (usual["plan"].learning_rate, other["plan"].learning_rate) == (0.02, pytest.approx(0.06))
    assert usual["augment"].keywords["ranges"] == AUGMENTATIONS["mixup"] == usual["mix"].keywords["ranges"]
    stronger = times(AUGMENTATIONS["mixup"], 1.6)
    assert (
        other["augment"].keywords["ranges"] == stronger == other["mix"].keywords["ranges"] != AUGMENTATIONS["mixup"]
    )
    assert other["agreement"].strong.keywords["ranges"] == times(module.STRONG_VIEW, 1.6)
    assert usual["agreement"].strong.keywords["ranges"] == times(module.STRONG_VIEW, 1)
    own = make_plan("demo", arms="mixup", classifier="lenet")
    assert taught(own, factors=factors)["plan"].learning_rate == pytest.approx(3 * CLASSIFIERS["lenet"].learning_rate)
    assert taught(own)["plan"].learning_rate is None
    started = taught(own, factors=factors, kind=CLASSIFIERS["resnet"])
    assert started["plan"].learning_rate == pytest.approx(3 * CLASSIFIERS["resnet"].learning_rate)
    assert taught(purpose="teacher")["seed"] != taught()["seed"] == plan.seed_for("classifier", "4", 2)


def test_nothing_is_held_out_where_no_class_has_two_images() -> None:
    nothing: Any = None
    for labels, some in (([0, 1], False), ([0, 1, 1], True)):
        real = Images(noise(len(labels), 1, 8, 8), np.array(labels))
        given = Sources(real, None, None, ["a", "b"], 0.5, {}, 3, nothing)
        found = module._held_out(
            find_arm("real"), given, make_plan(None, arms="real"), lambda *_, **__: Workshop.classifier(), nothing
        )
        assert (found is not None) == some
        if found is not None:
            assert found[0] == 1 and found[1] == []  # an image of class b, which is what the stand-in says


def test_the_score_of_held_out_images_is_that_of_the_study() -> None:
    nothing: Any = None
    real = Images(noise(40, 1, 8, 8), np.repeat([0, 1], [32, 8]))
    given = Sources(real, None, None, ["a", "b"], 0.5, {}, 3, nothing)
    for score, value in (
        (None, 0.2),
        ("accuracy", 0.2),
        ("balanced-accuracy", 0.5),
        ("macro-f1", 1 / 6),
        ("log-loss", 0.8 * np.log(0.25) + 0.2 * np.log(0.75)),
    ):
        plan = make_plan(None, arms="real", score=score)
        found = module._held_out(find_arm("real"), given, plan, lambda *_, **__: Workshop.classifier(), nothing)
        assert found is not None and found[0] == pytest.approx(value), score


def test_histories_of_a_classifier_and_of_its_twin_stand_side_by_side() -> None:
    def line(seen: int, **marks: float) -> dict[str, Any]:
        return {"images_seen": seen, **{name: {"loss": each, "accuracy": 0.1234567} for name, each in marks.items()}}

    looks = module._looks(
        [line(20, training=1.0000049, test=2.0), line(10, training=3.0, test=4.0)],
        [line(10, validation=5.0), line(15, validation=6.0)],
    )
    assert [look.images_seen for look in looks] == [10, 15, 20]
    first, twin, last = looks
    assert first.training and first.test and first.validation and last.training
    assert (first.training.loss, first.test.loss, first.validation.loss) == (3, 4, 5)
    assert twin.training is twin.test is None and twin.validation and twin.validation.loss == 6
    assert last.validation is None and last.training.loss == pytest.approx(1, abs=1e-9)
    assert first.training.accuracy == 0.12346  # five digits


def test_a_log_probability_is_never_above_0() -> None:
    found = SimpleNamespace(labels=np.array([0, 1]), log_probabilities=np.array([[1e-7, -20.0], [-0.5, -0.9]]))
    assert module._of_label(cast(Any, found)).tolist() == [0, -0.9]
