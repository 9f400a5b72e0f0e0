"""How a study is set up: what it may look at, what it refuses before it writes, and what may not change later."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Generator, Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import numpy as np
import pytest
from PIL import Image

from imagemint.config import load_recipe
from imagemint.data.pack import Pack
from imagemint.errors import StudyError
from imagemint.jobs import Task
from imagemint.studies import folder
from imagemint.studies import study as module
from imagemint.studies.arms import Images
from imagemint.studies.continuing import check_same_packs, same_settings
from imagemint.studies.folder import Cell, read_facts, read_rows, write_recipe
from imagemint.studies.material import Copies, Material, find_material, note_of
from imagemint.studies.plan import make_plan
from imagemint.studies.results import Study, open_study
from imagemint.studies.study import study
from tests.data.edit_packs import make, noise

LABELS = np.array([0] * 100 + [1] * 90 + [2] * 10 + [-1] * 3)  # 200 labelled images: 2 of them may be copies
NAMES = ["a", "b", "c"]


def pixels(count: int, seed: int) -> np.ndarray:
    """Images of 8 x 8, no two of them alike, with room for a level more."""
    return noise(count, 1, 8, 8, seed) // 2 + 50


def moved(images: np.ndarray) -> np.ndarray:
    """One pixel to the right, with the edge repeated."""
    return np.concatenate([images[..., :1], images[..., :-1]], axis=-1)


@pytest.fixture
def sides(tmp_path: Path) -> tuple[Pack, Pack]:
    """203 images to learn from, 12 to be tested on, none of class b; 20 and 120 are copies, 30 to 32 near ones."""
    learned, asked = pixels(203, 1), pixels(12, 2)
    asked[7] = asked[5]  # twice among the test images
    learned[[120, 20]] = asked[[3, 5]]
    learned[[30, 31]] = asked[[4, 8]] + 1
    learned[32] = moved(asked[9])
    learned[201] = asked[0]  # without a label
    turned = np.array([1] * 4 + [0] * 6 + [-1, -1])  # a and c by the names of the test pack
    return make(tmp_path / "real", learned, LABELS), make(tmp_path / "test", asked, turned, ["c", "a", "b"])


def test_what_is_learned_from_and_asked_has_the_same_classes_and_nothing_in_common(sides: tuple[Pack, Pack]) -> None:
    found = find_material(*sides, ("real",))
    assert found.classes == ["a", "c"] and found.without_test == {"b": 90}
    assert found.labels.tolist() == [0] * 100 + [-1] * 90 + [1] * 10 + [-1] * 3
    assert [each.tolist() for each in found.pool] == [
        [k for k in range(100) if k not in (20, 30, 31, 32)],
        [*range(190, 200)],
    ]
    assert found.test.labels.tolist() == [0] * 4 + [1] * 6  # without the two that have no label
    assert np.array_equal(found.test.pixels, sides[1].pixels[:10])
    assert found.test_fingerprint == sides[1].fingerprint
    assert found.copies == (Copies(sides[0].fingerprint, ((20, 5),), ((30, 4), (31, 8), (32, 9))),)
    assert (found.leaked, found.near) == (1, 3)
    assert found.twins == ((30, 4), (31, 8), (32, 9), (20, 5))
    earlier = find_material(*sides, ("real",), near=False)
    assert earlier.near is None and earlier.twins == ((20, 5),)
    assert len(earlier.pool[0]) == 99 and 20 not in earlier.pool[0]


def test_copies_that_are_known_are_not_searched_again(sides: tuple[Pack, Pack]) -> None:
    told = Copies(sides[0].fingerprint, ((7, 0),), ((8, 1),))
    found = find_material(*sides, ("real",), known=[told])
    assert found.copies == (told,) and sorted({*range(100)} - {*found.pool[0].tolist()}) == [7, 8]


def test_twins_for_the_page_are_the_first_24() -> None:
    pairs = tuple((k, 0) for k in range(30))
    nothing: Any = None
    there = Material(nothing, nothing, [], [], nothing, "", {}, {}, (Copies("p", pairs, ((50, 1),)),))
    assert there.twins == ((50, 1), *pairs[:23])


def test_one_in_a_hundred_images_may_be_a_copy_and_no_more(tmp_path: Path) -> None:
    learned, asked = pixels(203, 1), pixels(12, 2)
    test = make(tmp_path / "test", asked, [0, 1, 2] * 4)
    for copies in (2, 3):
        learned[:copies] = asked[:copies]
        pack = make(tmp_path / f"real-{copies}", learned, LABELS)
        if copies == 2:
            assert find_material(pack, test, ()).leaked == 2
        else:
            with pytest.raises(StudyError, match="3 of 200 training images are exact copies of test images"):
                find_material(pack, test, ())
    empty = make(tmp_path / "unlabelled", learned, np.full(203, -1))
    with pytest.raises(StudyError, match=r"exact copies|no labelled"):  # the same pack on both sides
        find_material(empty, empty, ())


def test_packs_that_do_not_fit_each_other_are_refused(tmp_path: Path) -> None:
    good = make(tmp_path / "good", pixels(6, 1), [0, 1, 2] * 2)
    wrong: list[tuple[Pack, str]] = [
        (
            make(tmp_path / "wide", noise(6, 1, 8, 9), [0, 1, 2] * 2),
            r"images are \[1, 8, 8\] and test images \[1, 8, 9\]",
        ),
        (make(tmp_path / "color", noise(6, 3, 8, 8), [0, 1, 2] * 2), r"\[1, 8, 8\] and test images \[3, 8, 8\]"),
        (make(tmp_path / "less", pixels(6, 2), [0, 1] * 3, ["a", "b"]), "'c' is in one pack only, the training pack"),
        (
            make(tmp_path / "more", pixels(6, 2), [0, 1, 2] * 2, ["a", "b", "c", "z", "y"]),
            "'y' is in one pack only, the test",
        ),
        (make(tmp_path / "none", pixels(6, 2), [-1] * 6), "no labelled image"),
    ]
    for test, message in wrong:
        with pytest.raises(StudyError, match=message):
            find_material(good, test, ())
    with pytest.raises(StudyError, match="exact copies of test images"):
        find_material(good, good, ())


def test_of_a_pack_that_an_arm_names_only_what_may_be_learned_from_is_used(
    sides: tuple[Pack, Pack], tmp_path: Path
) -> None:
    asked = np.asarray(sides[1].pixels)
    extra = np.concatenate([pixels(5, 3), asked[:2], asked[2:5] + 1, pixels(4, 4)])
    labels = [2, 2, 1, 2, 2, 0, 0, 2, 2, 2, 3, 0, -1, -1]
    path = make(tmp_path / "extra", extra, labels, ["z", "b", "a", "c"]).path
    found = find_material(*sides, ("real", arm := f"pack:{path}"))
    images, note = found.added[arm]
    # b has no test image and z is no class; asked[:2] are of class z here
    assert np.array_equal(images.pixels, extra[[0, 1, 3, 4, 10]]) and images.labels.tolist() == [0, 0, 0, 0, 1]
    assert (note.images, note.counts) == (5, {"a": 4, "c": 1})
    assert (note.copies, note.near, note.unlabelled) == (0, 3, 2)
    assert note.other_classes == {"z": 3, "b": 1} and note.fingerprint == found.copies[1].pack
    assert Path(note.path) == path.absolute() and set(found.added) == {arm}
    assert [line for line in found.remarks() if line.startswith(arm)] == [
        f"{arm}: {line}" for line in note.left_out()
    ]


def test_exact_copies_in_an_added_pack_are_no_offence_but_are_left_out(
    sides: tuple[Pack, Pack], tmp_path: Path
) -> None:
    extra = np.concatenate([np.asarray(sides[1].pixels)[:9], pixels(1, 3)])
    path = make(tmp_path / "extra", extra, [0] * 10).path
    images, note = find_material(*sides, (arm := f"pack:{path}",)).added[arm]
    assert np.array_equal(images.pixels, extra[9:]) and (note.copies, note.near) == (9, 0)
    only = make(tmp_path / "only", extra[:9], [0] * 9).path
    with pytest.raises(StudyError, match="no image of a class of the study that is no copy"):
        find_material(*sides, (f"pack:{only}",))
    wide = make(tmp_path / "wide", noise(9, 1, 9, 8), [0] * 9).path
    with pytest.raises(StudyError, match=r"\[1, 9, 8\], training images \[1, 8, 8\]; .* --size 8x8 --channels 1"):
        find_material(*sides, (f"pack:{wide}",))


def test_a_folder_of_images_is_read_at_the_size_of_the_training_images(
    sides: tuple[Pack, Pack], tmp_path: Path
) -> None:
    for name, level in (("a", 10), ("c", 200)):
        (tmp_path / "folder" / name).mkdir(parents=True)
        Image.new("RGB", (16, 16), (level,) * 3).save(tmp_path / "folder" / name / "one.png")
    images, note = find_material(*sides, (arm := f"pack:{tmp_path / 'folder'}",)).added[arm]
    assert images.pixels.shape == (2, 1, 8, 8) and images.pixels.mean((1, 2, 3)).tolist() == [10, 200]
    assert images.labels.tolist() == [0, 1] and note.counts == {"a": 1, "c": 1}


def test_a_note_of_a_pack_says_where_it_is_and_what_it_holds(sides: tuple[Pack, Pack]) -> None:
    note = note_of(sides[0])
    assert (note.path, note.images) == (str(sides[0].place), 203)
    assert note.counts == {"a": 100, "b": 90, "c": 10}


# --- what is refused, or settled, before a file is written ----------------------------------------------------------


def there(*sizes: int, tested: Sequence[int] = (), names: Sequence[str] = "abcdef", **parts: Any) -> Material:
    """A material of classes of these sizes."""
    made: dict[str, Any] = {
        "classes": list(names[: len(sizes)]),
        "pool": [np.arange(size) for size in sizes],
        "test": SimpleNamespace(labels=np.repeat(np.arange(len(tested or sizes)), tested or [1] * len(sizes))),
    }
    return cast(Material, SimpleNamespace(**{**made, **parts}))


def plan(**options: Any) -> Any:
    return make_plan(options.pop("recipe", None), **{"arms": ["real"], **options})


def test_the_memory_of_a_cell_is_that_of_all_its_images_as_float32() -> None:
    learned, asked, extra, more = pixels(7, 1), noise(3, 1, 8, 8), noise(2, 1, 8, 8), noise(5, 1, 8, 8)

    def need(*added: np.ndarray) -> int:
        others = {str(k): (Images(each, np.zeros(len(each), np.int64)), None) for k, each in enumerate(added)}
        sides: Any = {"pack": SimpleNamespace(pixels=learned), "test": SimpleNamespace(pixels=asked), "added": others}
        return module._memory(cast(Material, SimpleNamespace(**sides)))

    for added in ((), (extra,), (extra, more)):
        assert need(*added) == sum(each.astype(np.float32).nbytes for each in (learned, asked, *added))


def test_a_class_without_images_and_a_budget_that_none_can_fill_are_refused() -> None:
    module._check_budgets(plan(budgets="1,8,50%,all"), there(8, 3))
    module._check_budgets(plan(budgets="90%,all"), there(1, 1))
    with pytest.raises(StudyError, match="no class has 9 images for a budget of 9 per class; the largest has 8"):
        module._check_budgets(plan(budgets="1,9,50%,all"), there(3, 8))
    with pytest.raises(StudyError, match="no training image of 2 classes to learn from: b, d"):
        module._check_budgets(plan(budgets="1"), there(3, 0, 5, 0))


def test_classes_that_a_plan_names_are_those_of_the_study() -> None:
    shares: dict[str, Any] = {"arms": ["class-shares"], "recipe": "ppca"}
    module._check_classes(plan(rare="b,a"), there(3, 3))
    module._check_classes(plan(**shares, class_shares="a=5,*=3"), there(3, 3))
    with pytest.raises(StudyError, match="one class, a"):
        module._check_classes(plan(), there(3))
    with pytest.raises(StudyError, match="rare names 'x'; wanted one of a, b"):
        module._check_classes(plan(rare="a,x,y"), there(3, 3))
    with pytest.raises(StudyError, match="class_shares names 'x'"):
        module._check_classes(plan(**shares, class_shares="b=5,*=3,x=1,y=1"), there(3, 3))


def test_rare_classes_have_fewer_than_half_of_the_images_of_the_largest() -> None:
    rare: dict[str, Any] = {"arms": ["real", "minted-rare"], "recipe": "ppca"}
    module._check_classes(plan(**rare), there(10, 4))
    module._check_classes(plan(**rare, rare="a"), there(10, 5))
    module._check_classes(plan(), there(10, 5))
    with pytest.raises(StudyError, match="no class with fewer than 50% of the images of the largest"):
        module._check_classes(plan(**rare), there(10, 5))


def test_classes_are_unequal_on_either_side_from_twice_as_many_images_on() -> None:
    for sizes, tested, unequal in (
        ((10, 6), (10, 6), False),
        ((10, 5), (1, 1), True),
        ((1, 1), (2, 4), True),
        ((4, 2), (3, 1), True),
    ):
        assert module.unequal_classes(there(*sizes, tested=tested)) == unequal


def test_the_score_is_what_was_asked_for_or_what_suits_the_classes(tmp_path: Path) -> None:
    for asked, sizes, score in (
        ("macro-f1", (8, 2), "macro-f1"),
        (None, (8, 2), "balanced-accuracy"),
        (None, (8, 8), "accuracy"),
    ):
        given = plan(score=asked, budgets="3")
        found = module._decided(given, there(*sizes), tmp_path)
        assert found.score == score
        assert found.model_copy(update={"score": asked, "classifier_precision": "auto"}) == given


def test_the_precision_is_what_was_asked_for_what_it_was_or_what_suits_the_processor(
    sides: tuple[Pack, Pack], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "out"
    for native, asked, decided in (
        ("bf16", "auto", "bf16"),
        ("fp32", "auto", "fp32"),
        ("bf16", "fp32", "fp32"),
        ("fp32", "bf16", "bf16"),
    ):
        monkeypatch.setattr(module, "native_precision", lambda device, native=native: native)
        given = plan(classifier_precision=asked)
        assert module._decided(given, there(8, 8), out).classifier_precision == decided
    monkeypatch.setattr(module, "native_precision", lambda device: "bf16")
    floor(sides, out)
    assert read_facts(out).settings.classifier_precision == "bf16"
    monkeypatch.setattr(module, "native_precision", lambda device: "fp32")  # the folder moves to another machine
    floor(sides, out)
    assert read_facts(out).settings.classifier_precision == "bf16"
    with pytest.raises(StudyError, match="classifier_precision = bf16, not fp32"):
        floor(sides, out, classifier_precision="fp32")


def test_a_recipe_is_tried_on_the_smallest_budget(sides: tuple[Pack, Pack], monkeypatch: pytest.MonkeyPatch) -> None:
    found, tried, sighted = find_material(*sides, ("mix",)), list[tuple[Any, Any, Any]](), [True]

    def check_fits(smallest: Pack, recipe: Any, *, seed: int) -> Any:
        tried.append((smallest, recipe, seed))
        return "facts"

    method = SimpleNamespace(sees_labels=lambda facts: facts == "facts" and sighted[0])
    monkeypatch.setattr(module, "check_fits", check_fits)
    monkeypatch.setattr(module, "method_of", lambda _: method)
    monkeypatch.setattr(module, "check_discriminator", lambda *given: tried.append(given))

    def check(arms: str, recipe: str | None = "demo") -> None:
        tried.clear()
        module._check_recipe(make_plan(recipe, arms=arms, budgets="4,8", seed=5, images=77), found)

    check("real,classic", None)
    assert not tried
    check("mix,mix+classic,pca")
    assert [recipe.name for _, recipe, _ in tried] == ["demo", "pca"] and {seed for *_, seed in tried} == {5}
    assert tried[0][1].images == 77
    smallest = tried[0][0]
    assert smallest.counts() == {"a": 4, "c": 4} and len(smallest) == 8
    rows = [np.flatnonzero((sides[0].pixels[:] == each).all((1, 2, 3)))[0] for each in smallest.pixels]
    assert np.array_equal(found.labels[rows], smallest.labels) and set(rows) <= {*np.concatenate(found.pool).tolist()}
    check("pretrained,semi-supervised")
    assert tried[1::2] == [("facts", "semi-supervised", "as it is"), ("facts", "pretrained", "as a start")]
    sighted[0] = False
    with pytest.raises(StudyError, match=r"do not see labels.*each of the 2 classes"):
        check("mix")


# --- a study that needs no training -------------------------------------------------------------------------------


def floor(sides: tuple[Pack, Pack], out: Path, **options: Any) -> Study:
    """A study of the arm that learns nothing."""
    return study(
        *sides, options.pop("recipe", None), out, **{"arms": ["floor"], "budgets": "2", "repeats": 1, **options}
    )


def settled(found: Study) -> list[dict[str, Any]]:
    return [row.model_dump(mode="json") | {"seconds": 0} for row in found.rows]


def test_a_study_says_what_it_was_made_from(sides: tuple[Pack, Pack], tmp_path: Path) -> None:
    found = floor(sides, tmp_path / "out", budgets="2,8,50%,all", repeats=2, seed=3)
    about, settings = found.facts.about, found.facts.settings
    assert (settings.pack, settings.test) == (sides[0].fingerprint, sides[1].fingerprint)
    assert (about.pack, about.test) == (note_of(sides[0]), note_of(sides[1]))
    assert (about.classes, about.without_test, about.leaked, about.near) == (["a", "c"], {"b": 90}, 1, 3)
    assert about.twins == ((30, 4), (31, 8), (32, 9), (20, 5)) and about.added == {}
    assert {"imagemint", "python", "torch", "numpy"} <= set(about.versions)
    assert all(re.match(r"\d+\.\d+", each) for each in about.versions.values())
    assert "classes are unequal (10 to 96 training images)" in about.remarks[0]
    assert settings.score == "balanced-accuracy" == found.score and found.facts.plan.seed == 3
    assert found.test_labels.tolist() == [0] * 4 + [1] * 6
    assert found.progress == (8, 8) and open_study(tmp_path / "out") == found
    assert [row.key for row in found.rows] == [
        (budget, repeat, "floor") for budget in ("2", "8", "50%", "all") for repeat in range(2)
    ]


def test_the_floor_needs_no_classifier_and_no_minted_image(sides: tuple[Pack, Pack], tmp_path: Path) -> None:
    row = floor(sides, tmp_path / "out", budgets="all").rows[0]
    assert (row.n_real, row.n_minted, row.images_seen, row.n_test) == (0, 0, 0, 10)
    assert (row.minted, row.validation, row.chosen, row.history) == (None, None, {}, [])
    assert row.accuracy == 0.4 and row.per_class == [1, 0] and row.test == sides[1].fingerprint
    assert row.scores["accuracy"] == 0.4 and row.scores["balanced-accuracy"] == 0.5
    assert row.loss == pytest.approx(-(4 * np.log(96 / 106) + 6 * np.log(10 / 106)) / 10)
    assert row.seconds >= 0


def test_a_study_goes_on_where_it_was_and_may_be_widened(sides: tuple[Pack, Pack], tmp_path: Path) -> None:
    whole = floor(sides, tmp_path / "whole", budgets="2,4", repeats=2)
    out = tmp_path / "out"
    floor(sides, out, budgets="4")
    file = out / "rows.jsonl"
    first = file.read_text()
    file.write_text(first + '{"budget": "2", "rep')  # killed while it wrote
    more = floor(sides, out, repeats=2)
    assert (more.budgets, more.facts.extent.repeats, len(more.rows)) == (["2", "4"], 2, 3)
    assert [row.key[:2] for row in more.rows] == [("2", 0), ("2", 1), ("4", 0)]  # in the order of the plan
    assert first in file.read_text()  # and what was there was not computed again
    assert more.facts.about.remarks == whole.facts.about.remarks
    found = floor(sides, out, budgets="4", repeats=2)
    assert settled(found) == settled(whole)
    before = file.stat().st_mtime_ns
    assert [row.key for row in read_rows(out)] == [row.key for row in found.rows]
    module._put_in_order(out, found.facts.extent)
    assert file.stat().st_mtime_ns == before  # nothing to change


def test_a_study_of_other_settings_or_images_may_not_go_on(sides: tuple[Pack, Pack], tmp_path: Path) -> None:
    out = tmp_path / "out"
    floor(sides, out, score="accuracy", real_share=0.25)
    before = {file: file.read_bytes() for file in out.rglob("*") if file.is_file()}
    usual: dict[str, Any] = {"score": "accuracy", "real_share": 0.25}
    for wrong, message in (
        ({"seed": 1}, "seed = 0, not 1"),
        ({"real_share": 0.75}, "real_share = 0.25, not 0.75"),
        ({"minted_per_class": 5}, "minted_per_class = None, not 5"),
        ({"score": "macro-f1"}, "score = accuracy, not macro-f1"),
        ({"rare": "a"}, "rare"),
    ):
        with pytest.raises(StudyError, match=message):
            floor(sides, out, **{**usual, **wrong})
    other = make(tmp_path / "other", pixels(203, 9), LABELS)
    with pytest.raises(StudyError, match=f"pack = {sides[0].fingerprint}, not {other.fingerprint}"):
        floor((other, sides[1]), out, **usual)
    assert before == {file: file.read_bytes() for file in out.rglob("*") if file.is_file()}
    note = folder.AddedNote.model_validate({"path": "x", "images": 1, "counts": {"a": 1}, "fingerprint": "one"})
    facts = read_facts(out)

    def saying(**added: folder.AddedNote) -> folder.About:
        return facts.about.model_copy(update={"added": added})

    old = facts.model_copy(update={"about": saying(x=note)})
    for about in (saying(), saying(x=note), saying(y=note.model_copy(update={"fingerprint": "two"}))):
        check_same_packs(old, about, out)
    with pytest.raises(StudyError, match="images of arm x are others"):
        check_same_packs(old, saying(x=note.model_copy(update={"fingerprint": "two"})), out)


def test_a_recipe_may_come_or_go_and_be_described_otherwise_and_not_change(tmp_path: Path) -> None:
    def fixed(recipe: Any, **options: Any) -> folder.Fixed:
        return folder.Fixed(**{"pack": "p", "test": "t", "recipe": recipe, **options})

    def same(before: folder.Fixed, now: folder.Fixed) -> folder.Fixed:
        return same_settings(before, now, tmp_path, 1)

    demo = load_recipe("demo")
    worded, faster = load_recipe("demo", {"about": "other words"}), load_recipe("demo", {"optimizer_g.lr": 0.5})
    for before, now, kept in ((None, demo, demo), (demo, None, demo), (None, None, None), (demo, worded, worded)):
        found = same(fixed(before, score="accuracy"), fixed(now, score="accuracy"))
        assert found.recipe == kept and found.score == "accuracy"
    for before, now in ((demo, faster), (faster, demo)):
        with pytest.raises(StudyError, match=r"recipe\.optimizer_g\.lr = .*, not "):
            same(fixed(before, score="accuracy"), fixed(now, score="accuracy"))
    with pytest.raises(StudyError, match="seed = 0, not 1"):
        same(fixed(demo, score="accuracy"), fixed(None, score="accuracy", seed=1))
    assert same(fixed(None), fixed(None, score="accuracy")).score == "accuracy"  # studies that do not say
    with pytest.raises(StudyError, match="score = accuracy, not macro-f1"):
        same(fixed(None), fixed(None, score="macro-f1"))


def test_only_an_empty_folder_or_that_of_a_study_is_written_to(sides: tuple[Pack, Pack], tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    assert floor(sides, tmp_path / "empty").progress == (1, 1)
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "thesis.txt").write_text("mine")
    (tmp_path / "file").write_text("mine")
    for name in ("full", "file"):
        with pytest.raises(StudyError, match="already there and is no study"):
            floor(sides, tmp_path / name)
    assert [each.name for each in (tmp_path / "full").iterdir()] == ["thesis.txt"]


def changed(out: Path, change: Callable[[dict[str, Any]], Any]) -> None:
    facts = json.loads((out / "study.json").read_text())
    change(facts)
    (out / "study.json").write_text(json.dumps(facts))


def test_studies_of_earlier_versions_are_read_as_what_they_did(sides: tuple[Pack, Pack], tmp_path: Path) -> None:
    out = tmp_path / "out"
    assert module._near_copies_are_left_out(out)
    floor(sides, out, score="accuracy", classifier_precision="fp32")
    assert module._near_copies_are_left_out(out)
    now = read_facts(out)
    for name in folder._SINCE:
        changed(out, lambda facts, name=name: facts["settings"].pop(name))  # type: ignore[misc]
    changed(out, lambda facts: [facts["about"].pop(name) for name in ("near", "twins", "added", "remarks")])
    old = read_facts(out)
    assert not module._near_copies_are_left_out(out) and old.settings.score is None
    assert old.settings.model_copy(update={"score": "accuracy"}) == now.settings
    assert module._decided(plan(), there(8, 2), out).score == "accuracy" == open_study(out).score
    assert module._decided(plan(), there(8, 2), out).classifier_precision == "fp32"
    assert old.plan == now.plan.model_copy(update={"score": None})
    kept = (out / "study.json").read_bytes()
    for part, name in (
        *(("settings", name) for name in ("recipe", "seed", "epochs", "minted_per_class", "pack", "test")),
        *(("extent", name) for name in ("budgets", "repeats", "arms")),
    ):
        changed(out, lambda facts, part=part, name=name: facts[part].pop(name))  # type: ignore[misc]
        with pytest.raises(StudyError, match=f"{name}|does not say"):
            read_facts(out)
        (out / "study.json").write_bytes(kept)


def test_what_is_no_study_or_no_row_is_said_with_its_line(sides: tuple[Pack, Pack], tmp_path: Path) -> None:
    out = tmp_path / "out"
    with pytest.raises(StudyError, match="no study at"):
        read_facts(out)
    assert read_rows(out) == []
    floor(sides, out, repeats=2)
    rows = read_rows(out)
    file = out / "rows.jsonl"
    whole = file.read_text()
    assert [row.key for row in rows] == [("2", 0, "floor"), ("2", 1, "floor")]
    file.write_text(whole + '{"x": 1}\n')
    with pytest.raises(StudyError, match=r"rows.jsonl is damaged \(line 3 is no row\)"):
        read_rows(out)
    file.write_text(whole + '{"x": ')
    assert read_rows(out) == rows
    changed(out, lambda facts: facts.update(about=None))
    with pytest.raises(StudyError, match=r"study\.json"):
        read_facts(out)


def test_cells_computed_elsewhere_give_the_rows_that_they_give_here(sides: tuple[Pack, Pack], tmp_path: Path) -> None:
    asked: list[tuple[str, int, int]] = []

    def backwards(
        tasks: Sequence[Task], count: int, what: str, *, go_on: bool = False
    ) -> Generator[tuple[Task, Any]]:
        asked.extend((task.name, task.results, count) for task in tasks)
        for task in reversed(tasks):
            for row in task.work(*task.arguments):
                yield task, row

    module._material.cache_clear()
    there = floor(sides, tmp_path / "there", budgets="2,all", repeats=2, fan_out=backwards, jobs=3)
    assert asked == [
        (f"{words}, repeat {repeat} of 2", 1, 3)
        for words in ("2 real images per class", "all real images")
        for repeat in (1, 2)
    ]
    assert settled(there) == settled(floor(sides, tmp_path / "here", budgets="2,all", repeats=2))
    assert module._anywhere(Cell(Path("out"), "2", 1)) == Cell(Path.cwd() / "out", "2", 1)


# --- the folder ---------------------------------------------------------------------------------------------------


def test_files_of_a_cell_have_names_of_their_own(tmp_path: Path) -> None:
    one = Cell(tmp_path, "10%", 3)
    assert [path.relative_to(tmp_path).as_posix() for path in (one.subset, one.run, one.minted)] == [
        "subsets/10%-3",
        "runs/10%-3",
        "minted/10%-3",
    ]
    assert one.run_of("pca").name == "10%-3-pca" and one.minted_for("rare").name == "10%-3-rare"
    assert one.run_of("pca").parent == one.run.parent and one.minted_for("rare").parent == one.minted.parent
    assert one.predictions("mix") == tmp_path / "predictions" / "10%-3-mix.npy"
    assert one.log_probabilities("mix") == tmp_path / "predictions" / "10%-3-mix.log.npy"
    strange = [one.predictions(f"pack:{path}").name for path in ("a/b", "a_b", "c:\\d", "a b")]
    assert len(set(strange)) == 4
    assert all(re.fullmatch(r"10%-3-pack-[0-9a-f]{16}\.npy", name) for name in strange)
    assert one.predictions("mix:2").name.startswith("10%-3-mix-")


def test_the_recipe_of_a_study_can_be_read_again(tmp_path: Path) -> None:
    demo = load_recipe("demo", {"about": "Grüße", "z_size": 7})
    write_recipe(tmp_path, demo)
    assert load_recipe(tmp_path / "recipe.yaml") == demo
    assert "Grüße" in (tmp_path / "recipe.yaml").read_text(encoding="utf-8")
    write_recipe(tmp_path / "none", None)
    assert not (tmp_path / "none").exists()


def test_a_study_of_what_is_free_says_why_it_has_no_learning_curve(sides: tuple[Pack, Pack], tmp_path: Path) -> None:
    assert "no learning curve can be fitted" in floor(sides, tmp_path / "one").summary()
