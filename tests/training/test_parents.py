"""Runs joined from trained runs: what they take from their parents, and when they can do without them."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from imagemint import seeds
from imagemint.config import Recipe
from imagemint.data.edit import drop, rename
from imagemint.data.pack import Pack, writing
from imagemint.errors import RecipeError, RunError
from imagemint.fitting import train
from imagemint.methods import load_minter, settle
from imagemint.methods.joined import KIND, JoinedFacts, ParentFacts, load_parents
from imagemint.minter import NetworkMinter
from imagemint.minting import mint
from imagemint.models import parameter_count, total_count
from imagemint.models.mitlgan import MitlganGenerator
from imagemint.runs import Run, open_run
from imagemint.training import loop
from imagemint.training.state import new_gan
from imagemint.training.step import generator_step
from tests.recipes import gan_recipe
from tests.training.test_exact import contents

SHORT: dict[str, Any] = {
    "options": {"width": 8, "blocks": 2},
    "batch_size": 4,
    "d_steps": 2,
    "images": 48,
    "log_every": 8,
    "picture_every": 24,
    "checkpoint_every": 16,
    "precision": "fp32",
}


@pytest.fixture(scope="module")
def parents(digits: Pack, tiny: Recipe, tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    """Two trained runs: a conditional one with averaged weights, and one without labels and with uniform noise."""
    folder = tmp_path_factory.mktemp("parents")
    train(digits, tiny, folder / "small", images=64, checkpoint_every=64, seed=3)
    flat = {"model": "dense", "options": {"hidden_g": [16], "hidden_d": [16]}, "z_size": 5, "noise": "uniform"}
    train(digits, gan_recipe(tiny, {**flat, "ema_images": None}), folder / "dense", images=64, seed=4)
    return [str(folder / "small"), str(folder / "dense")]


@pytest.fixture
def recipe(parents: list[str]) -> Recipe:
    return gan_recipe("mitlgan", {**SHORT, "parents": parents})


def weights(net: nn.Module) -> dict[str, Tensor]:
    return {key: value.clone() for key, value in net.state_dict().items()}


def same(a: dict[str, Tensor], b: dict[str, Tensor]) -> bool:
    return a.keys() == b.keys() and all(torch.equal(a[key], b[key]) for key in a)


def network(run: Run) -> nn.Module:
    minter = load_minter(run)
    assert isinstance(minter, NetworkMinter)
    return minter.generator


def joined(run: Run) -> MitlganGenerator:
    generator = network(run)
    assert isinstance(generator, MitlganGenerator)
    return generator


@pytest.mark.parametrize("ema", [None, 100])
def test_parents_are_the_minting_weights_of_their_runs_before_and_after(
    ema: int | None, digits: Pack, recipe: Recipe, parents: list[str], tmp_path: Path
) -> None:
    run = train(digits, recipe, tmp_path / "run", ema_images=ema)
    theirs = [weights(network(open_run(each))) for each in parents]
    assert all(same(weights(mine), other) for mine, other in zip(joined(run).parents, theirs, strict=True))
    fresh = new_gan(run.facts, kind=KIND)
    load_parents(fresh, run.facts)
    assert isinstance(fresh.generator, MitlganGenerator)
    assert not same(weights(fresh.generator.joiner), weights(joined(run).joiner))  # and the rest was trained


def test_z_is_as_long_as_the_parents_ask_for_and_each_gets_its_kind_of_noise(
    digits: Pack, recipe: Recipe, tmp_path: Path
) -> None:
    run = train(digits, recipe, tmp_path / "run", images=8)
    assert (load_minter(run).z_size, load_minter(run).noise) == (8 + 5, "normal")
    generator, heard = joined(run), list[Tensor]()
    for parent in generator.parents:
        parent.register_forward_pre_hook(lambda _, args: heard.append(args[0]))
    z = seeds.noise(range(4000), 13)
    generator(z[:, :], torch.zeros(len(z), dtype=torch.int64))
    assert torch.equal(heard[0], z[:, :8])
    uniform = heard[1].flatten().sort().values
    assert float((uniform - torch.linspace(-1, 1, len(uniform))).abs().max()) < 0.03  # Kolmogorov and Smirnov
    assert torch.equal(heard[1].argsort(0), z[:, 8:].argsort(0))


def test_stopped_and_resumed_is_never_stopped_even_when_the_parents_are_gone(
    digits: Pack, recipe: Recipe, parents: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    straight = train(digits, recipe, tmp_path / "straight", ema_images=100)
    calls = iter(range(100))

    class Killed(BaseException):
        pass

    def killed(*args: object) -> object:
        if next(calls) == 3:
            raise Killed
        return generator_step(*args)  # type: ignore[arg-type]

    monkeypatch.setattr(loop, "generator_step", killed)
    with pytest.raises(Killed):
        train(digits, recipe, tmp_path / "run", ema_images=100)
    monkeypatch.undo()
    assert open_run(tmp_path / "run").images_seen == 16
    moved = [Path(each).rename(f"{each}.moved") for each in parents]
    try:
        train(digits, recipe, tmp_path / "run", ema_images=100, resume=True)
        shutil.rmtree(tmp_path / "run" / "checkpoints")
        with pytest.raises(RunError, match=f"no run at {parents[0]}"):  # nothing to take their weights from
            train(digits, recipe, tmp_path / "run", ema_images=100, resume=True)
        pack = mint(straight, tmp_path / "minted", counts={"3": 4})
    finally:
        for each in moved:
            each.rename(str(each).removesuffix(".moved"))
    train(digits, recipe, tmp_path / "run", ema_images=100, resume=True)
    mine, theirs = contents(tmp_path / "run"), contents(straight.path)
    assert mine == theirs
    fingerprints = [digits.fingerprint]  # of the pack and of the parents' packs: one and the same here
    assert pack.manifest.history[-1].parents == fingerprints


def test_minted_images_name_every_pack_that_they_come_from(
    digits: Pack, tiny: Recipe, parents: list[str], tmp_path: Path
) -> None:
    zeros = drop(digits, tmp_path / "zeros", list("123456789"))
    flat = {"model": "dense", "options": {"hidden_g": [16], "hidden_d": [16]}}
    train(zeros, gan_recipe(tiny, flat), tmp_path / "zeros-run", images=32)
    three = gan_recipe("mitlgan", {**SHORT, "parents": [*parents, str(tmp_path / "zeros-run")]})
    run = train(digits, three, tmp_path / "run", images=8)
    assert len(joined(run).parents) == 3
    pack = mint(run, tmp_path / "minted", per_class=1)
    assert pack.manifest.history[-1].parents == [digits.fingerprint, zeros.fingerprint]


def test_a_joined_run_can_be_a_parent(digits: Pack, recipe: Recipe, parents: list[str], tmp_path: Path) -> None:
    inner = train(digits, recipe, tmp_path / "inner", images=8)
    outer = train(digits, recipe, tmp_path / "outer", images=8, parents=[str(inner.path), parents[1]])
    assert load_minter(outer).z_size == 13 + 5
    assert same(weights(joined(outer).parents[0]), weights(joined(inner)))


def test_labels_are_minted_where_a_parent_draws_by_class(
    digits: Pack, recipe: Recipe, parents: list[str], tmp_path: Path
) -> None:
    assert mint(train(digits, recipe, tmp_path / "a", images=8), tmp_path / "p", per_class=1).unlabelled() == 0
    run = train(digits, recipe, tmp_path / "b", images=8, parents=[parents[1]] * 2)
    with pytest.raises(RunError, match="never saw the labels"):
        mint(run, tmp_path / "q", per_class=1)


def test_counts_at_128_pixels_follow_from_the_facts(digits: Pack, tmp_path: Path) -> None:
    with writing(tmp_path / "large", classes=["scene"], origin="real", history=[]) as writer:
        writer.add(np.zeros((2, 3, 128, 128), np.uint8), np.zeros(2, np.int64))
    pack = writer.pack()
    wgan = gan_recipe("wgan-gp")
    facts = settle(pack, wgan)
    parent = ParentFacts(run="away", weights="", images_seen=0, recipe=wgan, pack=facts.pack)
    mitlgan = gan_recipe("mitlgan", {"parents": ["away", "away"]})
    known = JoinedFacts(
        **facts.model_dump(exclude={"recipe", "pack"}), recipe=wgan, pack=facts.pack, parents=[parent] * 2
    )
    gan = new_gan(settle(pack, mitlgan, device="cpu", continued=known), kind=KIND)
    assert (parameter_count(gan.generator), total_count(gan.generator)) == (18_461_982, 23_304_090)
    assert parameter_count(gan.discriminator) == 2_448_097
    trained = sum(value.numel() for group in gan.optimizer_g.param_groups for value in group["params"])
    assert trained == 18_461_982


def test_parents_that_were_trained_on_are_other_parents(digits: Pack, tiny: Recipe, tmp_path: Path) -> None:
    paths = [str(tmp_path / name) for name in "ab"]
    for path in paths:
        train(digits, tiny, path, images=32)
    recipe = gan_recipe("mitlgan", {**SHORT, "parents": paths})
    run = train(digits, recipe, tmp_path / "run", images=8)
    old = open_run(paths[1]).checkpoint_hash
    train(digits, tiny, paths[1], images=48, resume=True)
    new = open_run(paths[1]).checkpoint_hash
    with pytest.raises(RunError, match=rf"recipe\.parents\.2 was {old} and is {new};"):
        train(digits, recipe, run.path, images=16, resume=True)
    moved = Path(paths[0]).rename(tmp_path / "elsewhere")  # the same weights in another place are the same parent
    train(digits, recipe, tmp_path / "other", images=8, parents=[str(moved), str(moved)])
    train(digits, recipe, tmp_path / "other", images=16, parents=[str(moved), str(moved)], resume=True)


@pytest.mark.parametrize(
    ("changes", "line"),
    [
        ({"parents": []}, "0 parents for model mitlgan; wanted two trained runs or more; .*parents="),
        ({"parents": ["small"]}, "1 parent for model mitlgan"),
        ({"parents": ["small", "nowhere"]}, "no run at .*nowhere"),
        ({"z_size": 12}, r"z_size 12 for model mitlgan; wanted 13 \(8 \+ 5\).* leave z_size out"),
        ({"noise": "uniform"}, "noise uniform for model mitlgan; wanted normal"),
        ({"model": "dense", "options": {}}, "unknown key parents"),
        ({"options": {"output": "sigmoid"}}, "options.output.* in model mitlgan"),
    ],
)
def test_what_does_not_fit_is_refused_and_leaves_nothing(
    changes: dict[str, Any], line: str, digits: Pack, recipe: Recipe, parents: list[str], tmp_path: Path
) -> None:
    if "parents" in changes:
        changes = {"parents": [str(Path(parents[0]).parent / name) for name in changes["parents"]]}
    with pytest.raises((RecipeError, RunError), match=line):
        train(digits, recipe, tmp_path / "run", **changes)
    assert not (tmp_path / "run").exists()


def test_parents_of_other_sizes_or_classes_are_refused(
    digits: Pack, tiny: Recipe, recipe: Recipe, parents: list[str], tmp_path: Path
) -> None:
    with writing(tmp_path / "large", classes=digits.classes, origin="real", history=[]) as writer:
        writer.add(digits.pixels[:20].repeat(2, 2).repeat(2, 3), digits.labels[:20])
    train(writer.pack(), tiny, tmp_path / "large-run", images=16)
    with pytest.raises(RecipeError, match="parent 2 makes 16x16x1 images and the pack holds 8x8x1"):
        train(digits, recipe, tmp_path / "run", parents=[parents[0], str(tmp_path / "large-run")])
    other = rename(digits, tmp_path / "other", {"9": "nine"})
    with pytest.raises(RecipeError, match=r"small knows the classes 0, .* 9 and the pack holds .* nine"):
        train(other, recipe, tmp_path / "run")
    train(other, recipe, tmp_path / "run", images=8, parents=[parents[1]] * 2)  # it never saw a label


def test_a_parent_without_a_checkpoint_is_refused(
    digits: Pack, recipe: Recipe, parents: list[str], tmp_path: Path
) -> None:
    shutil.copytree(parents[1], tmp_path / "begun")
    shutil.rmtree(tmp_path / "begun" / "checkpoints")
    with pytest.raises(RunError, match="has no checkpoint yet"):
        train(digits, recipe, tmp_path / "run", parents=[parents[0], str(tmp_path / "begun")])
