"""The best weights by a measure on held-out training images: chosen as said, never seen, and minted from."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from imagemint.config import Recipe, load_recipe
from imagemint.data.pack import Pack, Step, open_pack, writing
from imagemint.errors import PackError, RunError
from imagemint.fitting import train
from imagemint.images import to_images
from imagemint.methods import load_minter
from imagemint.methods.per_class import KIND
from imagemint.metrics.judge import JudgeSplit, train_judge
from imagemint.minter import NetworkMinter
from imagemint.minting import mint
from imagemint.runs import Run
from imagemint.training import choice
from imagemint.training.choice import Chooser
from imagemint.training.feed import Feed
from imagemint.training.state import Gan, new_gan

NAMES = ["2", "0", "1"]  # names that are not their labels


@pytest.fixture(scope="module")
def few(digits: Pack, tmp_path_factory: pytest.TempPathFactory) -> Pack:
    """30 images of three classes; one held-out candidate lies there twice, and once without a label."""
    labels = np.asarray(digits.labels)
    picks = np.concatenate([np.flatnonzero(labels == k)[:10] for k in range(3)])
    dest = tmp_path_factory.mktemp("few") / "few.pack"
    with writing(dest, classes=NAMES, origin="real", history=[Step(command="x")]) as writer:
        writer.add(digits.pixels[picks], labels[picks])
        writer.add(digits.pixels[picks], np.full(30, -1))
    return open_pack(dest)


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """A judge that has learned a little will do."""
    monkeypatch.setattr("imagemint.metrics.judge.AT_LEAST", 640)


def bank(**settings: object) -> Recipe:
    small = {"options": {"width": 2}, "z_size": 4, "batch_size": 2, "images": 60, "choose_every": 12}
    many = {"log_every": 1000, "picture_every": 1000, "checkpoint_every": 24, "precision": "fp32"}
    recipe = load_recipe("per-class", {**small, **many, **settings})
    assert isinstance(recipe, Recipe)
    return recipe


def whole(**settings: object) -> Recipe:
    base = load_recipe("demo").model_dump() | {
        "options": {"width": 4, "embedding": 2},
        "z_size": 4,
        "weights": "best",
    }
    times = {"batch_size": 6, "images": 60, "choose_every": 12, "log_every": 100, "precision": "fp32"}
    recipe = load_recipe(Recipe.model_validate(base), {**times, **settings})
    assert isinstance(recipe, Recipe)
    return recipe


def minting_weights(run: Run) -> dict[str, Tensor]:
    minter = load_minter(run)
    assert isinstance(minter, NetworkMinter)
    return dict(minter.generator.state_dict())


class Scripted:
    """Looks find these distances, one dict a look; the weights that were looked at are kept."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, looks: list[dict[str, float]]) -> None:
        self.left: Iterator[dict[str, float]] = iter(looks)
        self.seen: dict[int, dict[str, Tensor]] = {}
        self.last: dict[str, Tensor] = {}
        monkeypatch.setattr(Chooser, "measure", lambda chooser, gan: self.measure(gan))

    def measure(self, gan: Gan) -> dict[str, float]:
        self.seen[gan.images_seen] = {key: value.clone() for key, value in gan.last_generator.state_dict().items()}
        return next(self.left)


def test_each_class_keeps_the_weights_of_its_best_look(
    few: Pack, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    looks = [{"2": 5, "0": 4, "1": 3}, {"2": 6, "0": 3, "1": 3}, {"2": 4, "0": 4, "1": 2}]
    looks += [{"2": 7, "0": 1, "1": 2}, {"2": 5, "0": 2, "1": 9}]
    best_at = {"2": 36, "0": 48, "1": 36}  # of equal ones the first
    script = Scripted(monkeypatch, [{name: float(value) for name, value in look.items()} for look in looks])
    run = train(few, bank(), tmp_path / "run")
    assert sorted(script.seen) == [12, 24, 36, 48, 60]
    weights = minting_weights(run)
    for label, name in enumerate(NAMES):
        for key, value in weights.items():
            if key.startswith(f"members.{label}."):
                assert torch.equal(value, script.seen[best_at[name]][key]), (name, key)
    assert [line["chosen"] for line in run.choices()] == [["2", "0", "1"], ["0"], ["2", "1"], ["0"], []]
    state = json.loads((run.newest() / "state.json").read_text())
    assert {name: best["images_seen"] for name, best in state["chosen"].items()} == best_at
    pack = mint(run, tmp_path / "minted", counts={"2": 3, "1": 5})
    assert pack.counts() == {"2": 3, "0": 0, "1": 5}
    assert pack.manifest.mintings[0].chosen == best_at


def test_other_families_choose_as_a_whole(few: Pack, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """With averaged weights it is they that are measured and kept."""
    script = Scripted(monkeypatch, [{"all": each} for each in (3.0, 2.0, 5.0, 2.0, 4.0)])
    run = train(few, whole(), tmp_path / "run")
    weights = minting_weights(run)
    assert all(torch.equal(value, script.seen[24][key]) for key, value in weights.items())
    assert mint(run, tmp_path / "minted", per_class=1).manifest.mintings[0].chosen == {"all": 24}


def test_the_last_weights_are_minted_unless_the_recipe_says_best(few: Pack, tmp_path: Path) -> None:
    run = train(few, bank(weights="last"), tmp_path / "run")
    assert not run.choices() and not (run.path / "judge.safetensors").exists()
    assert mint(run, tmp_path / "minted", per_class=1).manifest.mintings[0].chosen is None


@pytest.mark.parametrize("recipe", [bank(), whole(), whole(model="wgan-gp", options={}, penalty=None)])
def test_held_out_images_never_reach_the_networks_or_the_judge(
    recipe: Recipe, few: Pack, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fed: set[bytes] = set()
    learned: list[np.ndarray] = []
    batch, judge = Feed.batch, train_judge

    def spy(feed: Feed, images_seen: int) -> tuple[Tensor, Tensor]:
        images, labels = batch(feed, images_seen)
        fed.update(each.numpy().tobytes() for each in images)
        return images, labels

    def judge_spy(pack: Pack, reference: np.ndarray, seed: int) -> object:
        learned.append(reference)
        return judge(pack, reference, seed)

    monkeypatch.setattr(Feed, "batch", spy)
    monkeypatch.setattr(choice, "train_judge", judge_spy)
    run = train(
        few, load_recipe(recipe, {"images": 240, "choose_every": 240, "picture_every": 240}), tmp_path / "run"
    )
    split = choice.hold_out(few, recipe, 0)
    assert isinstance(split, JudgeSplit)
    assert np.bincount(few.labels[split.held_out]).tolist() == [2, 2, 2]
    held = {each.numpy().tobytes() for each in to_images(torch.from_numpy(few.pixels[split.held_out]))}
    assert len(held) == 6 and len(fed) == 24  # all others were fed: 10 less 2 of each class
    assert not held & fed
    assert not np.isin(learned[0], split.held_out).any() and len(learned[0]) == 24
    (line,) = run.choices()
    assert sum(line["n_real"].values()) == 6 and set(line["n_real"]) == set(line["fd_lenet"])
    assert min(line["n_minted"].values()) >= 50 and all(value > 0 for value in line["fd_lenet"].values())


def test_real_images_measure_better_than_noise(
    few: Pack, digits: Pack, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The measure tells good from bad class by class, even with two held-out images of each."""
    run = train(few, bank(images=12), tmp_path / "run")
    gan = new_gan(run.facts, kind=KIND)
    feed = Feed(few, gan)
    assert feed.held_out is not None
    chooser = Chooser(few, feed.held_out, gan, run)
    bad = chooser.measure(gan)
    of_class = [np.flatnonzero(np.asarray(digits.labels) == k)[10:] for k in range(3)]
    good_one = np.concatenate([np.resize(of_class[k], (chooser.asked == k).sum()) for k in range(3)])
    pixels = np.array(digits.pixels[good_one])
    pixels[chooser.asked == 1] = np.random.default_rng(0).integers(0, 256, pixels[chooser.asked == 1].shape)
    monkeypatch.setattr(choice, "_samples", lambda gan, labels: pixels)
    found = chooser.measure(gan)
    assert found["2"] < bad["2"] / 2 and found["1"] < bad["1"] / 2  # labels 0 and 2
    assert found["0"] > 2 * max(found["2"], found["1"])


def test_stopped_and_resumed_is_never_stopped(few: Pack, tmp_path: Path) -> None:
    straight = train(few, bank(images=48), tmp_path / "straight")
    train(few, bank(), tmp_path / "stopped", images=24)
    ahead = [{**straight.choices()[-1], "images_seen": 36}]  # a look after the checkpoint, as a kill leaves it
    with (tmp_path / "stopped" / "choice.jsonl").open("a") as file:
        file.write(json.dumps(ahead[0]) + "\n")
    stopped = train(few, bank(), tmp_path / "stopped", images=48, resume=True)
    assert stopped.checkpoint_hash == straight.checkpoint_hash
    assert stopped.choices() == straight.choices()


def test_a_damaged_or_foreign_judge_is_named(few: Pack, tmp_path: Path) -> None:
    run = train(few, bank(), tmp_path / "run", images=24)
    file = run.path / "judge.safetensors"
    file.write_bytes(file.read_bytes()[:-10])
    with pytest.raises(RunError, match=r"judge\.safetensors is damaged.*remove it"):
        train(few, bank(), run.path, images=48, resume=True)
    other = train(few, bank(), tmp_path / "other", images=24, seed=1)
    file.write_bytes((other.path / "judge.safetensors").read_bytes())
    with pytest.raises(RunError, match="is not the judge"):
        train(few, bank(), run.path, images=48, resume=True)


def test_a_class_with_too_few_images_is_refused_and_leaves_nothing(few: Pack, tmp_path: Path) -> None:
    picks = np.concatenate([np.arange(10), np.arange(10, 13)])
    with writing(tmp_path / "p", classes=["a", "b"], origin="real", history=[Step(command="x")]) as writer:
        writer.add(few.pixels[picks], few.labels[picks])
    with pytest.raises(PackError, match=r"class 'b' of .* has 3 images; wanted 4 different .*weights=last"):
        train(tmp_path / "p", bank(), tmp_path / "run")
    assert not (tmp_path / "run").exists()
    train(tmp_path / "p", bank(weights="last"), tmp_path / "run")
    with writing(tmp_path / "q", classes=[], origin="real", history=[Step(command="x")]) as writer:
        writer.add(few.pixels[:9], np.full(9, -1))
    with pytest.raises(PackError, match=r"no image of .* has a label"):
        train(tmp_path / "q", whole(model="wgan-gp", options={}, penalty=None), tmp_path / "run2")


@pytest.mark.parametrize(("each", "share"), [(30, 0.5), (12, 0.2), (40, 0.1)])
def test_classes_that_leave_enough_on_either_side_are_not_refused(tmp_path: Path, each: int, share: float) -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (2 * each, 1, 8, 8), np.uint8)
    labels = np.repeat([0, 1], each)
    with writing(tmp_path / "pack", classes=["a", "b"], origin="real", history=[Step(command="x")]) as writer:
        writer.add(pixels, labels)
    split = choice.hold_out(writer.pack(), whole(held_out=share), 0)
    assert split is not None and np.bincount(labels[split.held_out]).tolist() == [round(each * share)] * 2
