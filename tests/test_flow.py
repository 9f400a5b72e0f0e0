"""Flow matching: the loss and the ways against closed forms, and the training against the laws of every training."""

from __future__ import annotations

import os
import signal
from itertools import count
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

import imagemint
from imagemint import seeds
from imagemint.config import load_recipe
from imagemint.data.pack import Pack
from imagemint.errors import PackError, RecipeError, TrainingError
from imagemint.fitting import train
from imagemint.methods import flow, load_minter, settle
from imagemint.methods.flow import FlowRecipe, matching
from imagemint.minting import mint
from imagemint.models import ImageShape
from imagemint.models.flow import Options, build, integrated
from imagemint.runs import Run, open_run
from imagemint.studies.study import study
from imagemint.sweeps.plan import make_sweep
from tests.digits import digits, write
from tests.test_sweep import QUICK, sweep_here
from tests.training.test_exact import contents

SMALL: dict[str, Any] = {
    "options.width": 8,
    "batch_size": 8,
    "images": 64,
    "log_every": 16,
    "picture_every": 32,
    "checkpoint_every": 24,
    "steps": 2,
    "precision": "fp32",
}


def recipe(**settings: Any) -> FlowRecipe:
    found = load_recipe("flow", SMALL | settings)
    assert isinstance(found, FlowRecipe)
    return found


@pytest.fixture(scope="module")
def noise(tmp_path_factory: pytest.TempPathFactory) -> Pack:
    """Ten images of each of three classes, 16x16 in colour, random pixels."""
    pixels = seeds.rng(0, "noise pack").integers(0, 256, (30, 3, 16, 16), np.uint8)
    return write(tmp_path_factory.mktemp("noise") / "pack", pixels, np.arange(30) % 3, ["a", "b", "c"])


@pytest.fixture(scope="module")
def run(noise: Pack, tmp_path_factory: pytest.TempPathFactory) -> Run:
    return train(noise, recipe(), tmp_path_factory.mktemp("flow") / "run", device="cpu")


def drawn(*shape: int) -> Tensor:
    return torch.randn(shape, generator=seeds.generator(0, "test"))


def test_the_loss_is_least_for_the_velocity_of_the_straight_way() -> None:
    image, start, t = drawn(4, 1, 3, 3), drawn(5, 1, 3, 3)[1:], torch.tensor([0.0, 0.3, 0.6, 1.0])
    assert matching(lambda points, times: image - start, image, start, t).tolist() == [0, 0, 0, 0]
    backwards = matching(lambda points, times: start - image, image, start, t)
    torch.testing.assert_close(backwards, 4 * (image - start).square().flatten(1).mean(1))


def test_a_way_begins_at_the_noise_and_ends_at_the_image() -> None:
    image, start, seen = drawn(2, 1, 3, 3), drawn(3, 1, 3, 3)[1:], []

    def note(points: Tensor, times: Tensor) -> Tensor:
        seen.append(points)
        return points

    for end in (0.0, 1.0):
        matching(note, image, start, torch.full((2,), end))
    assert torch.equal(seen[0], start)
    assert torch.equal(seen[1], image)


def test_the_ideal_velocity_of_one_image_leads_every_noise_to_it() -> None:
    """The minimum of the loss for a single image m is (m - x) / (1 - t), whose way Euler's rule follows exactly."""
    m, start = drawn(1, 1, 2, 2), drawn(6, 1, 2, 2)
    for steps in (1, 3, 10):
        end = integrated(lambda x, t: (m - x) / (1 - t).view(-1, 1, 1, 1), start, steps, "euler")
        torch.testing.assert_close(end, m.expand_as(end))


def test_the_ideal_velocity_of_a_normal_distribution_gives_that_distribution() -> None:
    """Of images N(mean, s^2) the minimum has a closed form; noise z must end at mean + s z."""
    mean, s, z = 0.5, 0.2, torch.linspace(-2, 2, 9)

    def velocity(x: Tensor, t: Tensor) -> Tensor:
        variance = (1 - t) ** 2 + t**2 * s**2
        return mean + (t * s**2 - (1 - t)) / variance * (x - t * mean)

    errors = {
        (solver, steps): float((integrated(velocity, z, steps, solver) - (mean + s * z)).abs().max())
        for solver in ("euler", "heun")
        for steps in (20, 40)
    }
    assert errors["heun", 40] < 2e-3
    assert errors["euler", 20] / errors["euler", 40] == pytest.approx(2, rel=0.25)  # first order
    assert errors["heun", 20] / errors["heun", 40] == pytest.approx(4, rel=0.35)  # second


def test_guidance_stretches_the_difference_that_a_label_makes() -> None:
    torch.manual_seed(0)
    nets = {
        w: build(Options(width=8, blocks=1), ImageShape(1, 16, 16), 3, steps=1, solver="euler", guidance=w)
        for w in (0, 1, 2)
    }
    for parameter in nets[0].parameters():
        torch.nn.init.normal_(parameter, std=0.05)
    for net in nets.values():
        net.load_state_dict(nets[0].state_dict())
    z, labels = 0.1 * drawn(3, 256), torch.tensor([0, 1, 2])
    none, once, twice = (nets[w](z, labels) for w in (0, 1, 2))
    assert not torch.allclose(none, once)
    torch.testing.assert_close(twice - once, once - none)
    assert torch.equal(none, nets[0](z, labels.flip(0)))  # without guidance by a label it plays no part


def test_an_image_depends_on_its_seed_and_label_alone(run: Run) -> None:
    minter = load_minter(run)
    labels = np.array([0, 1, 2, 1])
    together = minter.draw([5, 6, 7, 8], labels)
    for k in range(4):
        np.testing.assert_allclose(minter.draw([5 + k], labels[[k]])[0].astype(int), together[k].astype(int), atol=1)


def test_minted_counts_are_exact_and_minting_repeats(run: Run, tmp_path: Path) -> None:
    first = mint(run, tmp_path / "first", counts={"a": 3, "c": 2}, device="cpu")
    again = mint(run, tmp_path / "again", counts={"a": 3, "c": 2}, device="cpu", at=open_run(run).images_seen)
    assert first.counts() == {"a": 3, "b": 0, "c": 2}
    assert first.fingerprint == again.fingerprint


@pytest.mark.parametrize("settings", [{}, {"augment": "affine", "label_dropout": 0.5, "optimizer.name": "sgd"}])
def test_interrupted_and_resumed_is_bit_equal_to_never_stopped(
    settings: dict[str, Any], noise: Pack, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = recipe(**settings)
    straight = train(noise, asked, tmp_path / "straight", seed=3, device="cpu")
    steps, iterate = count(1), flow.iterate

    def interrupted(*args: Any) -> float:
        if next(steps) == 4:  # between two checkpoints, lines and pictures
            os.kill(os.getpid(), signal.SIGINT)
        return iterate(*args)

    monkeypatch.setattr(flow, "iterate", interrupted)
    with pytest.raises(KeyboardInterrupt):
        train(noise, asked, tmp_path / "stopped", seed=3, device="cpu")
    monkeypatch.undo()
    assert 0 < open_run(tmp_path / "stopped").images_seen < straight.images_seen
    resumed = train(noise, asked, tmp_path / "stopped", seed=3, device="cpu", resume=True)
    assert contents(resumed.path) == contents(straight.path)


def test_a_label_that_can_be_learned_is_learned(tmp_path: Path) -> None:
    """Dark images of one class and bright ones of another: minted ones must be dark and bright."""
    pixels = np.repeat(np.array([40, 215], np.uint8), 16)[:, None, None, None] * np.ones((1, 1, 16, 16), np.uint8)
    pack = write(tmp_path / "pack", pixels, np.repeat([0, 1], 16), ["dark", "bright"])
    learning = recipe(**{"images": 3200, "batch_size": 16, "steps": 4, "ema_images": 200, "optimizer.lr": 0.003})
    run = train(pack, learning, tmp_path / "run", device="cpu")
    minted = mint(run, tmp_path / "minted", per_class=8, device="cpu")
    means = np.asarray(minted.pixels).mean((1, 2, 3))
    assert means[:8].max() < 110 < 150 < means[8:].min()
    losses = [line["loss"] for line in run.log()]
    assert losses[-1] < losses[0] / 4


def test_every_verb_that_takes_a_run_takes_this_one(run: Run, noise: Pack, tmp_path: Path) -> None:
    assert imagemint.methods.METHODS["flow"].models == ("flow",)
    from imagemint.pages.show import show
    from imagemint.pages.strip import strip
    from imagemint.pages.walk import walk

    page = show(run.path, tmp_path / "run.html").read_text()
    assert "loss" in page
    assert "Nobody looked at this training" in page
    assert strip(run.path, tmp_path / "strip.png").exists()
    assert walk(run.path, tmp_path / "walk.gif", points=2, frames=1).exists()


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"guidance": -1}, "guidance = -1"),
        ({"solver": "rk4"}, "solver = rk4 .* 'euler' or 'heun'"),
        ({"options.wide": 3}, "unknown key options.wide"),
        ({"images": None}, "either epochs or images"),
        ({"loss": "hinge"}, "unknown key loss"),
    ],
)
def test_what_makes_no_sense_is_refused_in_a_line(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(RecipeError, match=message):
        recipe(**settings)


def test_packs_that_do_not_fit_are_refused_before_the_first_file(noise: Pack, tmp_path: Path) -> None:
    odd = write(tmp_path / "odd", np.zeros((4, 1, 15, 15), np.uint8), np.arange(4) % 2, ["a", "b"])
    with pytest.raises(RecipeError, match=r"15x15 images.* wanted sides that are multiples of 16"):
        train(odd, recipe(), tmp_path / "run")
    empty = write(tmp_path / "empty", noise.pixels[:2], np.array([0, 0]), ["a", "b"])
    with pytest.raises(PackError, match=r"class 'b' .* has no image"):
        train(empty, recipe(), tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_a_loss_that_is_not_finite_stops_the_training(noise: Pack, tmp_path: Path) -> None:
    with pytest.raises(TrainingError, match=r"loss is (nan|inf) at .*--set optimizer\.lr"):
        train(noise, recipe(**{"optimizer.lr": 10.0, "optimizer.name": "sgd", "images": 4000}), tmp_path / "run")


def test_what_a_run_says_of_itself(noise: Pack) -> None:
    facts = settle(noise, recipe(), device="cpu")
    assert (facts.pack.images, facts.precision, facts.recipe.target(30)) == (30, "fp32", 64)


def test_a_study_of_flow_has_the_same_rows_by_one_process_and_by_two_that_go_on(tmp_path: Path) -> None:
    pixels, labels = digits(160)
    large = pixels.repeat(2, 2).repeat(2, 3)
    packs = write(tmp_path / "real", large[:100], labels[:100]), write(tmp_path / "test", large[100:], labels[100:])
    options: dict[str, Any] = {
        "arms": ["classic", "mix+classic"],
        "budgets": [4],
        "repeats": 2,
        "images": 32,
        "minted_per_class": 2,
        "classifier_epochs": 1,
        "classifier_images": 64,
    }
    made = recipe(flips=False)
    alone = study(*packs, made, tmp_path / "alone", **options)
    begun = study(*packs, made, tmp_path / "begun", **{**options, "repeats": 1})
    kept = (begun.path / "rows.jsonl").read_text(encoding="utf-8").splitlines(keepends=True)[:1]
    (begun.path / "rows.jsonl").write_text("".join(kept), encoding="utf-8")  # as if it had been killed in a cell
    on = study(*packs, made, begun.path, jobs=2, **options)
    assert [row.model_copy(update={"seconds": 0}) for row in on.rows] == [
        row.model_copy(update={"seconds": 0}) for row in alone.rows
    ]
    assert {row.n_minted for row in on.rows if row.arm == "mix+classic"} == {20}
    for name in ("4-0", "4-1"):
        runs = [open_run(each.path / "runs" / name) for each in (alone, on)]
        assert runs[0].checkpoint_hash == runs[1].checkpoint_hash and runs[0].log() == runs[1].log()


def test_a_sweep_trains_flow_and_mints_from_it(tmp_path: Path) -> None:
    pixels, labels = digits(600)
    pack = write(tmp_path / "pack", pixels.repeat(2, 2).repeat(2, 3), labels)
    given = {"packs": [str(pack.path)], "recipes": ["flow"], "grid": {"steps": [1, 2]}, "mint": 10}
    fixed = {key: [value] for key, value in SMALL.items() if key != "steps"}
    made = sweep_here(
        make_sweep({**given, **QUICK, "mint": 10, "grid": {**fixed, "steps": [1, 2]}}), tmp_path / "out"
    )
    assert sorted(row.settings["steps"] for row in made.rows) == [1, 2]
    values = [row.measures["fd_pixels"].value for row in made.rows]
    assert all(np.isfinite(values)) and values[0] != values[1]


def test_tensorboard_gets_the_log_of_flow(run: Run, tmp_path: Path) -> None:
    pytest.importorskip("tensorboard", reason="tensorboard is missing (extra track)")
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    from imagemint.tracking.follow import track

    track(run.path, f"tensorboard:{tmp_path}/board")
    events = EventAccumulator(str(tmp_path / "board" / run.path.name)).Reload()
    lines = run.log()
    assert [each.step for each in events.Scalars("loss")] == [line["images_seen"] for line in lines]
    assert [each.value for each in events.Scalars("loss")] == pytest.approx([line["loss"] for line in lines])
    assert [each.step for each in events.Images("samples")] == [int(path.stem) for path in run.samples()]
