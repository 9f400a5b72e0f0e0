"""The page of a study: what its answer says, in whose units, and that nothing from outside is more than text."""

from __future__ import annotations

import csv
import json
import re
import shlex
import shutil
from dataclasses import asdict, replace
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest

from imagemint.errors import StudyError
from imagemint.metrics.copies import nearness
from imagemint.pages import answer, figures
from imagemint.pages.study_copies import Copies, copies
from imagemint.pages.study_page import longer, report
from imagemint.studies.arms import ARMS
from imagemint.studies.folder import Look, Mark, save_classes
from imagemint.studies.results import Study
from tests.digits import digits, write
from tests.pages.made import HOSTILE, made_study

SIZES = {"10": 10, "20": 20, "40": 40}


def curve(budget: str, more: float = 0) -> float:
    """The chance of a right answer that so many real images per class bring."""
    return float(0.95 - 0.9 * (SIZES.get(budget, 100) + more) ** -0.6)


def as_if(**more: float):  # type: ignore[no-untyped-def]
    """Each arm does as well as `classic` with so many more real images per class."""
    return lambda budget, arm: curve(budget, more.get(arm.replace("+", "_"), 0))


def text_of(html: str) -> str:
    return re.sub(r"\s+", " ", re.sub(r"<[^>]*>", " ", re.sub(r"<style>.*?</style>", "", html, flags=re.DOTALL)))


def test_the_answer_is_whether_how_sure_and_what_it_is_worth(tmp_path: Path) -> None:
    study = made_study(tmp_path / "out", as_if(mix_classic=12, real=-6), tested=3000)
    text = text_of(report(study).read_text(encoding="utf-8"))
    assert "Yes. On top of ordinary augmentation, minted images raised accuracy" in text
    assert re.search(r"How sure: the smallest p is (below 0\.001|0\.0\d\d) .*4 repeats, 3,000 test images\.", text)
    worth = re.search(r"With 10 real images per class, 10 minted images per class were worth (\d+) more real", text)
    assert worth and 6 <= int(worth[1]) <= 20  # 12 by construction
    assert "boundary" in text or "Up to the largest training set studied" in text


def test_a_gain_of_minted_images_is_to_be_asked_of_longer_trainings(tmp_path: Path) -> None:
    study = made_study(tmp_path / "out", as_if(mix_classic=12, real=-6), tested=3000)
    found = longer(study)
    assert found is not None
    assert all(each in text_of(report(study).read_text(encoding="utf-8")) for each in found)
    assert found[1] in (study.path / "report.md").read_text(encoding="utf-8")
    words = shlex.split(found[1])
    given = dict(zip(words[3::2], words[4::2], strict=True))
    assert given["--gans-from"] == str(study.path.absolute()) and given["--out"] == "study-longer"
    assert (given["--classifier-images"], given["--classifier-epochs"]) == ("80000", "40")
    assert given["--arms"] == "real,classic,mix+classic" and given["--recipe"].endswith("recipe.yaml")
    for name, more, extra in (
        ("none", {"mix_classic": -5}, {}),  # minted images do harm: nothing is to be believed
        ("free", {"mix_classic": 12, "classic": 12}, {}),  # what helps needs no minted image
        ("chosen", {"mix_classic": 12}, {"classifier_choose": ("length",)}),
        ("probe", {"mix_classic": 12}, {"classifier": "linear:net.onnx"}),
    ):
        other = made_study(tmp_path / name, as_if(real=-6, **more), tested=3000)
        settings = other.facts.settings.model_copy(update=extra)
        other = replace(other, facts=other.facts.model_copy(update={"settings": settings}))
        assert longer(other) is None, name


def test_what_to_do_next_is_ranked_by_the_surest_gain(tmp_path: Path) -> None:
    arms = ("real", "classic", "mix+classic", "oversample")
    study = made_study(tmp_path / "out", as_if(mix_classic=5, oversample=40, real=-5), arms=arms, tested=3000)
    text = text_of(report(study).read_text(encoding="utf-8"))
    places = [text.index(f"{rank}. {what}") for rank, what in ((1, "label"), (2, "oversample"), (3, "mix+classic"))]
    assert places == sorted(places)
    assert "Not tried:" in text and "class-weights" in text[text.index("Not tried:") :]


def test_a_class_that_loses_is_named_although_the_mean_does_not_show_it(tmp_path: Path) -> None:
    study = made_study(tmp_path / "out", as_if(real=-6), tested=600)
    for budget in study.budgets:  # the arm gets every owl wrong, and every cat right
        for repeat in range(4):
            file = study.cell(budget, repeat).predictions("mix+classic")
            said = study.predictions(budget, repeat, "mix+classic")
            said[study.test_labels == 2], said[study.test_labels == 0] = 1, 0
            save_classes(file, said)
    each = answer.focus(study)
    assert each is not None
    gains, loses, worst = answer.gains_and_losses(study, each)
    assert gains.startswith("Gains most: cat (+") and loses.startswith("Loses most: owl (−")
    assert worst.startswith("Worst off: owl, of whose test images mix+classic recognises 0.0 %")
    html = report(study).read_text(encoding="utf-8")
    assert "▼ loses" in html and "▲ gains" in html


@pytest.mark.parametrize(
    ("score", "says", "unit"),
    [("macro-f1", "macro F1", "points"), ("log-loss", "log likelihood", "nats"), ("accuracy", "accuracy", "points")],
)
def test_every_score_is_called_by_its_name_and_in_its_unit(tmp_path: Path, score: str, says: str, unit: str) -> None:
    study = made_study(tmp_path / "out", as_if(mix_classic=12, real=-6), score=score, tested=1000)
    text = text_of(report(study).read_text(encoding="utf-8"))
    assert f"raised {says} with" in text and f"{unit.capitalize()} of {says} on the test images" in text
    mean = answer.answers(study)[0].interval.mean
    shown = f"+{100 * mean:.1f} points" if unit == "points" else f"+{mean:.3f} nats"
    assert shown in text
    if score != "accuracy":
        assert "of accuracy" not in text and "raised accuracy" not in text


class _Tags(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.found: set[str] = set()
        self.links: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found.add(tag)
        self.links += [value or "" for key, value in attrs if key in ("src", "href") or key.startswith("on")]


def test_hostile_names_are_text_and_nothing_is_fetched(tmp_path: Path) -> None:
    arms = ("real", "classic", "mix+classic", "pack:<script>x</script>|*")
    about = {"remarks": ("classes <b>are</b> unequal",), "without_test": {HOSTILE[0]: 3}, "near": 2}
    study = made_study(tmp_path / "out", as_if(real=-6), arms=arms, classes=HOSTILE, about=about)
    html = report(study).read_text(encoding="utf-8")
    tags = _Tags()
    tags.feed(html)
    assert not tags.found & {"script", "a", "iframe", "link", "object"}
    assert all(link.startswith("data:") for link in tags.links)
    assert "\x1b" not in html and "\u202e" not in html
    assert "Classes &lt;b&gt;are&lt;/b&gt; unequal." in html and "2 near copies of test images" in html


def test_shares_of_the_images_stand_at_their_own_places(tmp_path: Path) -> None:
    study = made_study(tmp_path / "out", as_if(), budgets=["10%", "50%", "all"], arms=("real", "classic"))
    assert "10 % per class" in report(study).read_text(encoding="utf-8")


def test_rows_and_answer_stand_beside_the_page_as_csv_and_markdown(tmp_path: Path) -> None:
    arms = ("real", "classic", "mix+classic", "pack:<script>x</script>|*")
    study = made_study(tmp_path / "out", as_if(mix_classic=12, real=-6), arms=arms, classes=HOSTILE, tested=1000)
    report(study)
    with (study.path / "rows.csv").open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    assert [(row["budget"], int(row["repeat"]), row["arm"]) for row in rows] == [row.key for row in study.rows]
    assert [float(row["accuracy"]) for row in rows] == [row.accuracy for row in study.rows]
    recalls = [key for key in rows[0] if key.startswith("recall of ")]
    assert len(recalls) == len(HOSTILE)
    assert [float(rows[0][key]) for key in recalls] == study.rows[0].per_class
    text = (study.path / "report.md").read_text(encoding="utf-8")
    assert text.startswith("# Do minted images help?\n") and answer.headline(study)[1] in text
    said, _ = text.split("## To do it again")
    assert "<" not in said.replace("\\<", "") and "\x1b" not in text
    tables = [line for line in text.splitlines() if line.startswith("|")]
    pipes = [len(re.findall(r"(?<!\\)\|", line)) for line in tables]
    assert len(tables) > 20 and set(pipes) <= {4, 5, 6}  # no name adds a column or a line
    assert any(line.startswith("| a\\|b ") for line in tables)


def test_an_unfinished_study_has_them_too(tmp_path: Path) -> None:
    study = made_study(tmp_path / "out", as_if(), budgets=["10"], repeats=1)
    (study.path / "rows.jsonl").write_text("")
    report(study.path)
    assert (study.path / "rows.csv").read_text().count("\n") == 1
    assert "Unfinished: 0 of 3 classifiers" in (study.path / "report.md").read_text()


def test_curves_of_the_classifiers_are_drawn_where_rows_have_a_history(tmp_path: Path) -> None:
    history = [
        {"images_seen": seen, "training": {"loss": 1 / seen, "accuracy": 0.5}, "test": {"loss": 2.0, "accuracy": 0.4}}
        for seen in (100, 200)
    ]
    with_it = made_study(tmp_path / "with", as_if(), extra={"history": history})
    without = made_study(tmp_path / "without", as_if())
    for study, there in ((with_it, True), (without, False)):
        html = report(study).read_text(encoding="utf-8")
        assert ("How the classifiers learned" in html) == there
        assert html.count("of the classifiers of mix+classic over the images seen") == 2 * there


def test_means_of_histories_are_over_the_repeats_that_have_looked() -> None:
    looks = [
        [
            Look(images_seen=10, test=Mark(loss=1, accuracy=0.2)),
            Look(images_seen=20, test=Mark(loss=3, accuracy=0.4)),
        ],
        [Look(images_seen=10, test=Mark(loss=2, accuracy=0.4))],
    ]
    found = figures._mean_over(looks, "test")
    assert [(seen, mark.loss, round(mark.accuracy, 9)) for seen, mark in found] == [(10, 1.5, 0.3), (20, 3, 0.4)]
    assert figures._mean_over(looks, "validation") == []


def with_images(study: Study, minted: np.ndarray) -> None:
    """Give every budget and repeat 30 real images of its own, and the first repeats these minted ones."""
    pixels, labels = digits()
    names = study.classes
    for budget in study.budgets:
        for repeat in range(study.facts.extent.repeats):
            rows = slice(30 * repeat, 30 * repeat + 30)
            write(study.cell(budget, repeat).subset, pixels[rows], labels[rows] % len(names), names)
        write(study.cell(budget, 0).minted, minted, np.arange(len(minted)) % len(names), names, "minted")


def test_copies_are_found_and_the_closest_pairs_are_shown(tmp_path: Path) -> None:
    pixels, _ = digits()
    for name, minted, word in (("copied", pixels[:30], "copies are likely"), ("new", pixels[900:930], "no sign of")):
        study = made_study(tmp_path / name, as_if(), budgets=["3"])
        with_images(study, minted)
        (found,) = copies(study)
        assert found.words.startswith(word) and found.near is not None and found.near.n_real == 90
        assert (found.pairs[0].distance == 0) == (name == "copied")
        assert [each.distance for each in found.pairs] == sorted(each.distance for each in found.pairs)
        html = report(study).read_text(encoding="utf-8")
        assert "Are minted images copies?" in html and f"{word[0].upper()}{word[1:]}" in html
        assert html.count("of 255<") == len(found.pairs)


def test_without_held_out_images_nothing_is_said_of_copies(tmp_path: Path) -> None:
    study = made_study(tmp_path / "out", as_if(), budgets=["all"], repeats=1)
    with_images(study, digits()[0][:5])
    (found,) = copies(study)
    assert found.near is None and "held out" in found.words


def test_a_study_of_real_images_alone_answers_whether_more_would_help(tmp_path: Path) -> None:
    for name, right, word in (
        ("steep", as_if(), "More images could help:"),
        ("flat", lambda budget, arm: 1.1, "More images of any kind cannot be expected to help:"),
    ):
        study = made_study(tmp_path / name, right, arms=("real", "classic"), tested=3000)
        html = report(study).read_text(encoding="utf-8")
        headline = re.search(r'class="headline">([^<]*)', html)
        assert headline and headline[1].startswith(word) and "Would more images help?" in html
        assert "Fitted curve" in html or "The learning curve that was fitted" in html
        assert word in (study.path / "report.md").read_text(encoding="utf-8")


def test_copies_of_test_images_are_shown_while_the_packs_are_there(tmp_path: Path) -> None:
    pixels, labels = digits()
    names = ["cat", "dog", "owl"]
    packs = [write(tmp_path / name, pixels[:30], labels[:30] % 3, names) for name in ("real", "test")]
    study = made_study(tmp_path / "out", as_if(), about={"near": 2, "twins": ((4, 7), (5, 5))})
    facts = study.facts.model_dump(mode="json")
    for side, pack in zip(("pack", "test"), packs, strict=True):
        facts["about"][side]["path"], facts["settings"][side] = str(pack.path), pack.fingerprint
    (study.path / "study.json").write_text(json.dumps(facts))
    assert "training image 4, test image 7" in report(study.path).read_text(encoding="utf-8")
    shutil.move(packs[0].path, tmp_path / "elsewhere")
    html = report(study.path).read_text(encoding="utf-8")
    assert "2 near copies of test images" in html and "have been moved" in html


def test_measures_stand_on_the_page_with_what_they_say_of_copies(tmp_path: Path) -> None:
    near = nearness(np.arange(30.0), np.arange(30.0) + 100, 0)
    measured = {
        "value": 1.5,
        "low": 1.0,
        "high": 2.0,
        "floor": 0.5,
        "n_real": 60,
        "n_minted": 70,
        "direction": "lower",
    }
    study = made_study(tmp_path / "out", as_if())
    said = {"verdict": "copies are likely: look", "per_class": {"<i>cat": asdict(near)}}
    found = {"values": {"fd_lenet": measured}, "minted": "m", "against": "a", "judge": "j", "copies": said}
    study.measures.write_text(json.dumps(found))
    text = report(study).read_text(encoding="utf-8")
    assert "Copies are likely: look." in text and "&lt;i&gt;cat" in text and "lower is better" in text
    assert "100 %" in text  # every minted image is nearer than every held-out one
    said["per_class"] = {"cat": {"share": 1}}
    study.measures.write_text(json.dumps(found))
    with pytest.raises(StudyError, match="is damaged"):
        report(study)


def test_arms_do_not_differ_by_colour_alone() -> None:
    arms = [*ARMS, "pack:a", "pack:b", "mix:2"]
    styles = figures.styles_of(arms)
    assert len({(style.marker, style.linestyle) for style in styles.values()}) == len(arms)
    assert styles["mix+classic"].linestyle != styles["classic"].linestyle != styles["pack:a"].linestyle


@pytest.mark.parametrize(
    ("minted", "words"),
    [
        (np.arange(100.0) + 50, "no sign of copies"),
        (np.arange(100.0) / 2 + 51, "no close copies, although minted images are nearer"),
        (np.arange(100.0) / 10, "copies are likely"),
    ],
)
def test_nearer_on_the_whole_is_said_although_it_is_no_copy(minted: np.ndarray, words: str) -> None:
    near = nearness(minted, np.arange(100.0) + 50, 0)
    assert Copies("10", [], 100, near).words.startswith(words)


def test_the_answer_speaks_of_an_augmentation_only_where_it_is_what_arms_are_compared_with(tmp_path: Path) -> None:
    """The best free arm may be another one: then both sides are named."""
    arms, chances = ("real", "classic", "strong", "mix+strong"), as_if(mix_strong=-8)
    for best, words in {
        "strong": "On top of strong augmentation, minted images lowered accuracy",
        "classic": "Compared with classic, the best free arm, minted images (mix+strong) lowered accuracy",
    }.items():
        study = made_study(tmp_path / best, chances, arms=arms)
        rows = [row.model_copy(update={"validation": float(row.arm == best)}) for row in study.rows]
        study = replace(study, rows=rows)
        assert {each.baseline for each in answer.answers(study)} == {best}
        assert words in answer.headline(study)[1]


@pytest.mark.parametrize(("strong", "said"), [(14, True), (10, False)])
def test_a_gain_that_a_free_arm_has_as_well_is_not_told_without_it(tmp_path: Path, strong: int, said: bool) -> None:
    """Held-out images have chosen classic, and on test images strong is as good as minted images or is not."""
    arms, chances = ("real", "classic", "strong", "mix+classic"), as_if(mix_classic=12, strong=strong)
    study = made_study(tmp_path / "study", chances, arms=arms, tested=1000)
    study = replace(
        study, rows=[row.model_copy(update={"validation": float(row.arm == "classic")}) for row in study.rows]
    )
    word, text = answer.headline(study)
    assert word == "helps" and ("But arm strong, which needs no other images, did as well" in text) == said
    assert ("although held-out training images chose classic" in text) == said
