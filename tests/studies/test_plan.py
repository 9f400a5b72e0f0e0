"""Plans of studies: what is refused, and that every option, default and printed command comes from them."""

from __future__ import annotations

import inspect
import json
import os
import shlex
import subprocess
import sys
import zipfile
from html import unescape
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml

from imagemint import cli
from imagemint.config import load_recipe
from imagemint.data.pack import Pack, open_pack
from imagemint.errors import ImagemintError, StudyError
from imagemint.pages.study_page import command_again, report, study
from imagemint.studies.arms import USUAL
from imagemint.studies.plan import CHOICES, StudyPlan, make_plan
from tests.digits import digits, write


@pytest.fixture
def packs(tmp_path: Path) -> tuple[Pack, Pack]:
    pixels, labels = digits(300)
    ask = np.arange(300) % 3 == 0
    return write(tmp_path / "real", pixels[~ask], labels[~ask]), write(tmp_path / "test", pixels[ask], labels[ask])


def test_numbers_of_numpy_are_numbers_and_lists_of_any_kind_are_lists() -> None:
    plan = make_plan(None, repeats=np.int64(2), budgets=np.array([20, 5]), arms=(a for a in ["real", "floor"]))
    assert (plan.repeats, plan.budgets, plan.arms) == (2, ("5", "20"), ("floor", "real"))
    assert type(plan.repeats) is int


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"repeats": 10**9}, "repeats = 1000000000"),
        ({"repeats": 2.5}, "repeats = 2.5"),
        ({"repeats": True}, "repeats"),
        ({"minted_per_class": 0}, "minted_per_class = 0"),
        ({"real_share": 0}, "real_share = 0"),
        ({"real_share": 1}, "real_share = 1"),
        ({"real_share": float("nan")}, "real_share"),
        ({"budgets": "9" * 5000}, "budgets"),
        ({"budgets": [-3]}, "-3"),
        ({"budgets": 5}, "budgets = 5"),
        ({"arms": ["pack:"]}, "'pack:'"),
        ({"arms": "real,magic"}, "'magic'"),
        ({"seed": -1}, "seed = -1"),
        ({"budget": [5]}, "unknown key budget"),
        ({"epochs": 1, "images": 5}, "epochs"),
        ({"epochs": -1}, "epochs = -1"),
    ],
)
def test_what_no_plan_can_be_is_refused_in_one_line(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ImagemintError) as error:
        make_plan("demo", **options)
    assert message in str(error.value) and "\n" not in str(error.value)


def test_minting_needs_a_recipe() -> None:
    with pytest.raises(StudyError, match="arm mix and no recipe"):
        make_plan(None, arms="real,mix")


def test_the_options_of_the_command_are_the_fields_of_the_plan() -> None:
    parameters = inspect.signature(cli.study).parameters
    for name, field in StudyPlan.model_fields.items():
        if name != "recipe":
            default = ",".join(field.default) if isinstance(field.default, tuple) else field.default
            assert parameters[name].default == default
            assert field.description


@pytest.mark.parametrize(
    ("recipe", "overrides", "message"),
    [
        ("wgan-gp", {}, "pixels"),  # not for images of 8 x 8
        ("demo", {"loss": "magic"}, "magic"),
        ("demo", {"options.nonsense": 1}, "nonsense"),
        ("ppca", {"components": 100}, "components"),
        ("demo", {"weights": "best"}, "held"),  # two images of a class leave none to choose by
    ],
)
def test_a_recipe_that_does_not_fit_is_refused_before_a_file_exists(
    packs: tuple[Pack, Pack], tmp_path: Path, recipe: str, overrides: dict[str, Any], message: str
) -> None:
    out = tmp_path / "out"
    options: dict[str, Any] = {"budgets": [1, 2], "repeats": 1, "classifier_epochs": 1, "classifier_images": 64}
    with pytest.raises(ImagemintError, match=message):
        study(*packs, load_recipe(recipe, overrides), out, **options)
    assert not out.exists()
    study(*packs, load_recipe("ppca", {"components": 2}), out, arms=["real", "mix"], **options)


def test_networks_that_do_not_see_labels_cannot_mint_for_a_study(packs: tuple[Pack, Pack], tmp_path: Path) -> None:
    recipe = load_recipe("dense-minimal", {"smallest": 8})
    with pytest.raises(StudyError, match="do not see labels"):
        study(*packs, recipe, tmp_path / "out", budgets=[5], repeats=1)
    assert not (tmp_path / "out").exists()


def settled(out: Path) -> list[dict[str, Any]]:
    lines = [json.loads(line) for line in (out / "rows.jsonl").read_text().splitlines()]
    return [{key: value for key, value in line.items() if key != "seconds"} for line in lines]


def test_the_printed_command_repeats_the_study(packs: tuple[Pack, Pack], tmp_path: Path) -> None:
    """With a recipe that was read from a file and overridden, and a pack whose name holds a comma."""
    file = tmp_path / "mine.yaml"
    tree = load_recipe("ppca", {"components": 3}).model_dump(mode="json")
    file.write_text(yaml.safe_dump({**tree, "name": "ppca"}), encoding="utf-8")
    extra = write(tmp_path / "extra, more", np.asarray(packs[0].pixels), np.asarray(packs[0].labels))
    made = study(
        *packs,
        load_recipe(file, {"components": 4}),
        tmp_path / "out",
        budgets=[5],
        repeats=1,
        arms=["classic", "mix+classic", f"pack:{extra.path}"],
        classifier_epochs=1,
        classifier_images=128,
        minted_per_class=7,
        seed=3,
    )
    file.unlink()
    command = shlex.join(command_again(made))
    assert command in unescape(made.report.read_text(encoding="utf-8"))
    program, *words = shlex.split(command)
    assert program == "imagemint"
    env = {**os.environ, "OMP_NUM_THREADS": "1"}  # as in this process: sums depend on the number of threads
    done = subprocess.run([sys.executable, "-m", program, *words], cwd=tmp_path, check=False, env=env)
    assert done.returncode == 0
    before, after = settled(made.path), settled(tmp_path / "study-again")
    assert before == after and len(after) == 3
    assert before[1]["n_minted"] == 70


def test_a_study_of_an_earlier_version_opens_and_goes_on(tmp_path: Path) -> None:
    with zipfile.ZipFile(Path(__file__).with_name("old_study.zip")) as archive:
        archive.extractall(tmp_path)
    old = (tmp_path / "study" / "rows.jsonl").read_text()
    html = report(tmp_path / "study").read_text(encoding="utf-8")
    assert "mix+classic" in html and "recipe.yaml" in html
    settings = json.loads((tmp_path / "study" / "study.json").read_text())["settings"]
    assert yaml.safe_load((tmp_path / "study" / "recipe.yaml").read_text())["name"] == "tiny-ppca"
    packs = open_pack(tmp_path / "train.pack"), open_pack(tmp_path / "test.pack")
    made = study(
        *packs,
        tmp_path / "study" / "recipe.yaml",
        tmp_path / "study",
        budgets=["3"],
        repeats=3,
        classifier_epochs=1,
        classifier_images=64,
    )
    now = (tmp_path / "study" / "rows.jsonl").read_text().splitlines()
    assert set(old.splitlines()) <= set(now)  # in the order of the plan, old ones among new ones
    assert len(made.rows) == 3 * len(USUAL)
    assert {row.repeat for row in made.rows} == {0, 1, 2}
    after = json.loads((tmp_path / "study" / "study.json").read_text())["settings"]
    assert {key: after[key] for key in settings} == settings


def test_shares_of_each_class_are_budgets_in_order_and_all_of_them_is_all() -> None:
    plan = make_plan(None, budgets="50%, 2.50%,100%,10", arms="real,classic")
    assert plan.budgets == ("10", "2.5%", "50%", "all")


def test_of_each_setting_that_may_be_chosen_what_is_asked_for_comes_first_with_a_lower_and_a_higher_value() -> None:
    assert {name: (1.0, *sorted(factors[1:])) for name, factors in CHOICES.items()} == CHOICES
    assert {name: factors[1:] for name, factors in CHOICES.items()} == {
        "learning-rate": (1 / 3, 3.0),
        "length": (0.5, 2.0),
        "augmentation": (0.5, 1.6),  # 1.6 times classic is the harder part of strong
    }


def test_the_share_of_a_class_is_above_0_and_at_most_all_of_it() -> None:
    for share, kept in (("100", "100"), ("0.001", "0.001"), ("40%", "40")):
        given = make_plan("ppca", arms="class-shares", class_shares=f"a={share},*=10")
        assert given.class_shares == (f"a={kept}", "*=10")
    for share in ("0", "100.1", "101", "-1"):
        with pytest.raises(ImagemintError, match="above 0 and at most 100"):
            make_plan("ppca", arms="class-shares", class_shares=f"a={share}")


def test_of_budgets_that_are_not_in_the_plan_the_first_is_named() -> None:
    options: dict[str, Any] = {"arms": "mix", "budgets": "5,10"}
    assert make_plan("ppca", **options, real_share_by_budget="5=0.5,10=0.6").real_share_by_budget
    for wrong in ("7=0.5", "5=0.5,7=0.6,9=0.4"):
        with pytest.raises(ImagemintError, match="names budget 7; wanted one of 5, 10"):
            make_plan("ppca", **options, real_share_by_budget=wrong)
