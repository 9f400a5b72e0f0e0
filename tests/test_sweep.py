"""Sweeps: the winner of a known truth, the same rows however they are computed, refusals before anything starts."""

from __future__ import annotations

import csv
import json
import subprocess
import sys
import time
from collections.abc import Generator, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import yaml
from typer.testing import CliRunner

from imagemint.cli import app
from imagemint.data.edit import resize
from imagemint.data.pack import Pack, open_pack
from imagemint.data.split import split
from imagemint.errors import ImagemintError, PackError, RunError, SweepError, TrainingError
from imagemint.fitting import only_one
from imagemint.jobs import Task, side_by_side
from imagemint.runs import list_runs
from imagemint.sweeps.plan import SweepPlan, count_trials, make_sweep, read_sweep, trials_of
from imagemint.sweeps.results import Row, open_sweep
from imagemint.sweeps.sweep import compute, sweep

EXPERIMENTS = Path(__file__).parents[1] / "experiments"
PLANS = sorted(file for file in EXPERIMENTS.rglob("*.yaml") if "\npacks:" in file.read_text(encoding="utf-8"))
TINY = {"options.width": 4, "options.embedding": 4, "z_size": 8, "batch_size": 16, "precision": "fp32"}
QUICK = {"mint": 20, "judge_images": 500, "features": "pixels"}


def here(tasks: Sequence[Task], count: int, what: str, *, go_on: bool = False) -> Generator[tuple[Task, Any]]:
    """In this process, for tests that are about something else: another one would have to load torch first."""
    for task in tasks:
        try:
            yield from ((task, value) for value in task.work(*task.arguments))
        except ImagemintError as error:
            assert go_on
            yield task, error


sweep_here = partial(sweep, fan_out=here)


def plan_of(pack: Pack, **given: Any) -> SweepPlan:
    return make_sweep({"packs": [str(pack.path)], "recipes": ["ppca"], **QUICK, **given})


def plain(rows: list[Row]) -> list[dict[str, Any]]:
    """Rows without their seconds."""
    return [{**row.model_dump(), "seconds": 0} for row in rows]


def test_the_setting_that_is_known_to_be_better_wins(digits: Pack, tmp_path: Path) -> None:
    # One principal component cannot draw ten sorts of strokes; sixteen can. Few images of a GAN are noise.
    made = sweep_here(plan_of(digits, grid={"components": [1, 16]}, seeds=[0, 1]), tmp_path / "sweep")
    [winner] = made.best()["winners"]
    assert winner["settings"] == {"components": 16} and winner["settings_tried"] == 2 and winner["apart_from_next"]
    assert made.best()["direction"] == "lower" and made.best()["trials"] == 4
    values = {row.settings["components"]: row.measures["fd_pixels"].value for row in made.rows}
    assert values[16] < values[1]
    better = sweep_here(plan_of(digits, grid={"components": [1, 16]}, choose="recall"), tmp_path / "recall")
    assert better.best()["winners"][0]["settings"] == {"components": 16} and better.best()["direction"] == "higher"

    # The folder: every run opens, and both tables hold every trial.
    assert len(list_runs(tmp_path / "sweep" / "runs")) == 4
    table = (tmp_path / "sweep" / "table.md").read_text(encoding="utf-8")
    assert (
        "4 trials tried, 0 failed" in table and "lower is better" in table and "No test pack played a part" in table
    )
    lines = list(csv.DictReader((tmp_path / "sweep" / "table.csv").read_text(encoding="utf-8").splitlines()))
    assert [(line["components"], line["seed"]) for line in lines] == [
        ("1", "0"),
        ("1", "1"),
        ("16", "0"),
        ("16", "1"),
    ]
    assert float(lines[2]["fd_pixels_value"]) == made.rows[2].measures["fd_pixels"].value
    assert json.loads((tmp_path / "sweep" / "best.json").read_text()) == made.best()


def test_nothing_that_is_measured_against_was_learned(digits: Pack, tmp_path: Path) -> None:
    made = sweep_here(plan_of(digits, grid={"components": [4]}), tmp_path / "sweep")
    train, held_out = (open_pack(tmp_path / "sweep/packs/digits" / side) for side in ("train", "validation"))
    assert len(train) + len(held_out) == len(digits)
    assert not {bytes(each) for each in train.pixels} & {bytes(each) for each in held_out.pixels}
    [run] = list_runs(tmp_path / "sweep")
    assert run.facts.pack.fingerprint == train.fingerprint
    assert made.rows[0].measures["fd_pixels"].n_real <= len(held_out) // 2


def test_rows_are_the_same_for_one_job_and_two_and_nothing_is_computed_twice(digits: Pack, tmp_path: Path) -> None:
    plan = plan_of(digits, recipes=["demo"], variants={"tiny": TINY}, grid={"images": [64, 128]}, seeds=[3, 4])
    one = sweep_here(plan, tmp_path / "one")
    two = sweep(plan, tmp_path / "two", jobs=2)
    assert plain(one.rows) == plain(two.rows)
    assert [row.images_seen for row in one.rows] == [64, 64, 128, 128]
    assert len({row.checkpoint for row in one.rows}) == 4
    times = {file: file.stat().st_mtime_ns for file in (tmp_path / "one" / "runs").rglob("*")}
    again = sweep_here(plan, tmp_path / "one")
    assert again.rows == one.rows == open_sweep(tmp_path / "one").rows
    assert times == {file: file.stat().st_mtime_ns for file in (tmp_path / "one" / "runs").rglob("*")}


@pytest.mark.skipif(sys.platform == "win32", reason="there is no SIGKILL")
def test_a_sweep_that_was_killed_goes_on_and_equals_one_that_was_not(digits: Pack, tmp_path: Path) -> None:
    settings = {**TINY, "checkpoint_every": 128, "watch_every": 4096, "picture_every": 4096, "log_every": 128}
    plan = plan_of(digits, recipes=["demo"], variants={"tiny": settings}, images=2048)
    file = tmp_path / "plan.yaml"
    file.write_text(yaml.safe_dump(plan.model_dump(mode="json", exclude_none=True)))
    command = [
        sys.executable,
        "-m",
        "imagemint",
        "sweep",
        str(file),
        "--out",
        str(tmp_path / "killed"),
        "--jobs",
        "1",
    ]
    process = subprocess.Popen(command, stderr=subprocess.DEVNULL, start_new_session=True)
    checkpoints = tmp_path / "killed" / "runs" / "00001-demo-seed0" / "checkpoints"
    while process.poll() is None and not list(checkpoints.glob("0*/state.json")):
        time.sleep(0.02)
    assert process.poll() is None, "it ended before it could be killed"
    process.kill()
    process.wait()
    seen = -1
    while seen != (now := len(list(checkpoints.glob("0*")))):  # its child ends by itself, after a checkpoint
        seen = now
        time.sleep(0.5)
    while True:
        try:
            with only_one(checkpoints.parent):
                break
        except RunError:
            time.sleep(0.05)
    assert not open_sweep(tmp_path / "killed").rows
    assert plain(sweep_here(plan, tmp_path / "killed").rows) == plain(sweep_here(plan, tmp_path / "straight").rows)


def test_scale_multiplies_the_images_seen_and_leaves_one_batch(digits: Pack, tmp_path: Path) -> None:
    tiny = plan_of(digits, recipes=["demo"], variants={"tiny": TINY}, grid={"images": [640, 64]})
    found = sweep_here(tiny, tmp_path / "sweep", scale=0.1)
    assert [row.images_seen for row in found.rows] == [64, 16]
    baseline = sweep_here(plan_of(digits), tmp_path / "baseline", scale=0.1)
    assert baseline.rows[0].images_seen == len(open_pack(tmp_path / "baseline/packs/digits/train"))
    with pytest.raises(SweepError, match=r"scale = 0\.1, not 1\.0"):
        sweep(tiny, tmp_path / "sweep")


def test_a_trial_that_fails_in_every_try_is_said_and_the_others_go_on(digits: Pack, tmp_path: Path) -> None:
    out = tmp_path / "sweep"

    def blocked(tasks: Sequence[Task], count: int, what: str, *, go_on: bool = False) -> Generator[tuple[Task, Any]]:
        (out / "runs" / tasks[0].name).touch()  # a file where its run should be
        yield from side_by_side(tasks, 1, what, go_on=go_on)

    plan = plan_of(digits, grid={"components": [2, 4]})
    made = sweep(plan, out, fan_out=blocked)
    assert [row.state for row in made.rows] == ["failed", "done"]
    assert "is there and is not a run" in made.rows[0].why
    table = (out / "table.md").read_text(encoding="utf-8")
    assert "2 trials tried, 1 failed" in table and made.rows[0].why.split(";")[0] in table
    assert made.best()["winners"][0]["settings"] == {"components": 4} and made.best()["failed"] == 1
    (out / "runs" / made.rows[0].name).unlink()
    again = sweep_here(plan, out)  # what failed is tried again
    assert [row.state for row in again.rows] == ["done", "done"] and again.rows[1] == made.rows[1]


def test_a_sweep_of_which_nothing_ends_well_is_an_error(digits: Pack, tmp_path: Path) -> None:
    def failing(tasks: Sequence[Task], count: int, what: str, *, go_on: bool = False) -> Generator[tuple[Task, Any]]:
        yield from ((task, TrainingError("loss_g is nan", "a number", "lower it")) for task in tasks)

    with pytest.raises(SweepError, match=r"no trial of .* has ended well; the first: loss_g is nan"):
        sweep(plan_of(digits), tmp_path / "none", fan_out=failing)
    assert "loss_g is nan" in (tmp_path / "none" / "table.md").read_text(encoding="utf-8")


def test_a_machine_without_the_pack_says_so(digits: Pack, tmp_path: Path) -> None:
    plan = plan_of(digits, grid={"components": [2]})
    [trial] = trials_of(plan)
    gone, other = (tmp_path / "gone", digits.fingerprint), (digits.path, "0" * 64)
    for where, words in ((gone, "has no pack at"), (other, "is another pack; wanted fingerprint 000000000000")):
        with pytest.raises(PackError, match=words):
            next(compute(tmp_path, trial, plan, 1.0, [where, where]))
    assert not list(tmp_path.iterdir())


def test_a_search_proposes_the_same_again_and_goes_on_in_the_middle_of_a_round(digits: Pack, tmp_path: Path) -> None:
    pytest.importorskip("optuna", reason="optuna is not installed")
    search = {"trials": 6, "together": 3, "space": {"components": {"low": 1, "high": 40}}}
    plan = plan_of(digits, search=search)
    one = sweep_here(plan, tmp_path / "one")
    assert plain(one.rows) == plain(sweep_here(plan, tmp_path / "two").rows)
    assert len(one.rows) == 6 == count_trials(plan)
    values = {row.settings["components"]: row.measures["fd_pixels"].value for row in one.rows}
    assert one.best()["winners"][0]["value"] == min(values.values())
    file = tmp_path / "one" / "trials.jsonl"
    file.write_text("".join(line + "\n" for line in file.read_text().splitlines()[:4]))
    assert plain(sweep_here(plan, tmp_path / "one").rows) == plain(one.rows)  # goes on in the middle of a round


# --- refusals ------------------------------------------------------------------------------------------------------

BAD: list[tuple[dict[str, Any], str]] = [
    ({"grid": {"componets": [1]}}, r"unknown key componets in recipe ppca; wanted one of .*components"),
    ({"grid": {"components": [4, 0]}}, r"components = 0 in recipe ppca; wanted a whole number, at least 1"),
    ({"grid": {"components": []}}, "at least one value of components"),
    ({"grid": {"components": 4}}, "grid"),
    ({"gird": {}}, r"unknown key gird in the plan; wanted one of packs|unknown key gird in the plan"),
    ({"recipes": ["nonesuch"]}, "no recipe 'nonesuch'"),
    ({"recipes": []}, "recipes"),
    ({"packs": []}, "packs"),
    ({"packs": ["a/x.pack", "b/x.pack"]}, "packs whose folders have different names"),
    ({"seeds": [-1]}, "at least 0|greater than or equal to 0"),
    ({"seeds": [1, 1]}, "each one once"),
    ({"seeds": []}, "seeds"),
    ({"choose": "beauty"}, "choose = beauty in the plan; wanted one of fd, kd"),
    ({"choose": "fd_lenet", "features": "pixels"}, "choose fd_lenet goes with features: lenet"),
    ({"images": 5, "epochs": 1}, "either images or epochs"),
    ({"images": 0}, "images = 0"),
    ({"mint": 0}, "mint = 0"),
    ({"held_out": 0.9}, "held_out = 0.9"),
    ({"grid": {"components": [1]}, "search": {"trials": 1, "space": {"components": [1]}}}, "either grid or search"),
    ({"search": {"trials": 1, "space": {"components": {"low": 3, "high": 1}}}}, "low below high"),
    ({"search": {"trials": 1, "space": {"components": {"low": 0, "high": 9}}}}, "components = 0"),
    ({"search": {"trials": 1, "space": {"components": []}}}, "no value of components"),
    ({"search": {"trials": 1, "space": {"lr": [1]}}}, "unknown key lr"),
    ({"variants": {"a": {"components": -1}}}, "components = -1"),
    ({"grid": {"components": list(range(1, 1000))}, "seeds": list(range(1000))}, "999,000 trials; wanted at most"),
]


@pytest.mark.parametrize(("given", "words"), BAD)
def test_a_bad_plan_is_refused_in_one_line(given: dict[str, Any], words: str) -> None:
    with pytest.raises(ImagemintError, match=words) as error:
        make_sweep({"packs": ["digits.pack"], "recipes": ["ppca"], **given})
    assert "\n" not in str(error.value) and len(str(error.value)) < 700


def test_the_command_line_refuses_before_anything_is_written(digits: Pack, tmp_path: Path) -> None:
    file, out = tmp_path / "plan.yaml", tmp_path / "out"

    def refused(text: str, *options: str) -> str:
        file.write_text(text)
        result = CliRunner().invoke(app, ["sweep", str(file), "--out", str(out), *options])
        assert isinstance(result.exception, ImagemintError), result.output
        assert not out.exists()
        return str(result.exception)

    good = f"packs: [{digits.path}]\nrecipes: [ppca]\nmint: 20\n"
    assert "unknown key componets" in refused(good + "grid: {componets: [1]}")
    assert "does not say packs" in refused("recipes: [ppca]")
    assert "is not YAML" in refused("packs: [")
    assert "no pack at" in refused("packs: [nowhere.pack]\nrecipes: [ppca]")
    assert "--jobs 0" in refused(good, "--jobs", "0")
    assert "--scale" in refused(good, "--scale", "0") and "--scale" in refused(good, "--scale", "nan")
    assert "--on moon" in refused(good, "--on", "moon")
    assert "mint 1 per class" in refused(good.replace("20", "1"))
    assert "do not see labels" in refused(good.replace("ppca", "dense") + "choose: classifier_score")
    few = split(digits, tmp_path / "few", test=0.1)
    assert "the test side of a split" in refused(f"packs: [{few['test'].path}]\nrecipes: [ppca]")
    assert "to measure fd on" in refused(good + "held_out: 0.01")


def test_another_plan_another_pack_and_a_second_sweep_at_once_are_refused(digits: Pack, tmp_path: Path) -> None:
    plan = plan_of(digits, grid={"components": [2]})
    sweep_here(plan, tmp_path / "sweep")
    with pytest.raises(SweepError, match=r"holds a sweep with grid.components = \[2\], not \[3\]"):
        sweep(plan_of(digits, grid={"components": [3]}), tmp_path / "sweep")
    with only_one(tmp_path / "sweep"), pytest.raises(RunError, match=r"another process is sweeping into .* --out"):
        sweep(plan, tmp_path / "sweep")
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "thing").touch()
    with pytest.raises(SweepError, match="already there and is no sweep"):
        sweep(plan, tmp_path / "other")
    (tmp_path / "sweep" / "trials.jsonl").write_text("[]\n")
    with pytest.raises(SweepError, match="is damaged"):
        sweep(plan, tmp_path / "sweep")


def test_a_sweep_of_an_earlier_version_goes_on(digits: Pack, tmp_path: Path) -> None:
    """It knew nothing of a setting that came later, and described a recipe in other words."""
    plan = plan_of(digits, recipes=["demo"], variants={"tiny": TINY}, images=64)
    made = sweep_here(plan, tmp_path / "sweep")
    file = tmp_path / "sweep" / "facts.json"
    facts = json.loads(file.read_text())
    assert facts["recipes"]["demo"].pop("compile") is False
    facts["recipes"]["demo"] |= {"about": "as it was called", "left_out": None}
    file.write_text(json.dumps(facts))
    assert sweep_here(plan, tmp_path / "sweep").rows == made.rows
    facts["recipes"]["demo"]["compile"] = True
    file.write_text(json.dumps(facts))
    with pytest.raises(SweepError, match=r"recipes\.demo\.compile = True, not False"):
        sweep_here(plan, tmp_path / "sweep")


# --- plans ----------------------------------------------------------------------------------------------------------


def test_keys_joined_by_commas_get_the_same_value(digits: Pack) -> None:
    plan = plan_of(digits, recipes=["demo"], grid={"optimizer_g.lr,optimizer_d.lr": [0.001]}, epochs=3)
    tree = trials_of(plan)[0].recipe.model_dump()
    assert tree["optimizer_g"]["lr"] == tree["optimizer_d"]["lr"] == 0.001 and tree["epochs"] == 3


@pytest.mark.parametrize("file", PLANS, ids=lambda file: f"{file.parent.name}-{file.stem}")
def test_every_plan_that_ships_resolves_all_of_its_trials(file: Path) -> None:
    plan = read_sweep(file)
    trials = trials_of(plan)
    assert len(trials) == count_trials(plan) and len({trial.name for trial in trials}) == len(trials)
    assert plan.about


def test_the_plans_hold_what_their_sources_tried() -> None:
    baker = read_sweep(EXPERIMENTS / "baker-2018" / "plan.yaml")
    phases = [(trial.cell.pack, trial.recipe.epochs, trial.recipe.batch_size) for trial in trials_of(baker)]  # type: ignore[attr-defined]
    lengths = [(25, 64), (100, 64), (100, 100)]
    assert phases == [(f"mnist-{n}k", *each) for n in (10, 20, 30, 60) for each in lengths]
    rzayev = read_sweep(EXPERIMENTS / "rzayev-weldegebriel" / "plan.yaml")
    grid = {
        (t.cell.recipe, t.recipe.options["width"], t.recipe.options["depth"], t.recipe.batch_size)  # type: ignore[attr-defined]
        for t in trials_of(rzayev)
    }
    assert len(grid) == 2 * 3 * 3 * 3 and {key[3] for key in grid} == {32, 64, 128}
    road = ("dense-minimal", "dense-relu", "dense", "conv-mirrored", "conv-mnist")
    assert read_sweep(EXPERIMENTS / "winkler-2018" / "plan.yaml").recipes == road


@pytest.mark.parametrize("file", PLANS, ids=lambda file: f"{file.parent.name}-{file.stem}")
def test_a_plan_that_ships_runs_to_its_end_at_a_small_scale(
    file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, digits: Pack
) -> None:
    """On digits in place of its packs: every recipe, the first and the last variant, the first value of each key.

    The packs of a plan count from the current folder.
    """
    monkeypatch.chdir(tmp_path)
    plan = yaml.safe_load(file.read_text(encoding="utf-8"))
    resize(digits, Path(plan["packs"][0]), 32 if plan["recipes"] == ["wgan-gp"] else 28)
    first = {key: values[:1] for key, values in plan.get("grid", {}).items()}
    ends = dict([*(variants := list(plan.get("variants", {}).items()))[:1], *variants[-1:]])
    small = {
        "packs": plan["packs"][:1],
        "grid": first,
        "variants": ends,
        "seeds": [0],
        "mint": 12,
        "features": "pixels",
    }
    made = sweep_here(make_sweep({**plan, **small}), "out", scale=1e-6)
    assert [row.state for row in made.rows] == ["done"] * count_trials(made.plan), [row.why for row in made.rows]
    assert len(made.rows) == len(plan["recipes"]) * max(len(ends), 1) and len(made.best()["winners"]) == 1
