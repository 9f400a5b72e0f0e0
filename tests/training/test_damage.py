"""Run folders that are not what they should be: one line with true advice, and --resume goes back one checkpoint."""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file

from imagemint.config import Recipe
from imagemint.data.pack import Pack
from imagemint.errors import ImagemintError, PackError, RunError
from imagemint.fitting import train
from imagemint.minting import mint
from imagemint.runs import Run, list_runs, open_run
from tests.digits import write

Tree = dict[str, Any]


@pytest.fixture(scope="module")
def whole(digits: Pack, tiny: Recipe, tmp_path_factory: pytest.TempPathFactory) -> Run:
    return train(digits, tiny, tmp_path_factory.mktemp("damage") / "run", images=192)


@pytest.fixture
def run(whole: Run, tmp_path: Path) -> Run:
    return open_run(shutil.copytree(whole.path, tmp_path / "run"))


def change(file: Path, how: Callable[[Tree], object]) -> None:
    tree = json.loads(file.read_text())
    how(tree)
    file.write_text(json.dumps(tree))


STATES: dict[str, Callable[[Tree], object]] = {
    "iterations null": lambda tree: tree.update(iterations=None),
    "iterations below zero": lambda tree: tree.update(iterations=-1),
    "no pending": lambda tree: tree.pop("pending"),
    "pending a list": lambda tree: tree.update(pending=[1]),
    "images text": lambda tree: tree.update(images_seen="x"),
    "images below zero": lambda tree: tree.update(images_seen=-1),
    "images of another checkpoint": lambda tree: tree.update(images_seen=96),
    "another hash": lambda tree: tree.update(weights="0"),
    "no optimisers": lambda tree: tree.pop("optimizers"),
    "a key too many": lambda tree: tree.update(more=1),
}


@pytest.mark.parametrize("damage", STATES)
def test_resuming_goes_back_one_checkpoint(damage: str, run: Run, whole: Run, digits: Pack, tiny: Recipe) -> None:
    change(run.newest() / "state.json", STATES[damage])
    train(digits, tiny, run.path, images=192, resume=True)
    assert run.checkpoint_hash == whole.checkpoint_hash


@pytest.mark.parametrize("name", ["abc", "generator.x.exp_avg", "generator.99.exp_avg", "generator.0.exp_avg"])
def test_tensors_of_another_optimiser_go_back_one_checkpoint(
    name: str, run: Run, whole: Run, digits: Pack, tiny: Recipe
) -> None:
    file = run.newest() / "optimizers.safetensors"
    save_file({name: torch.zeros(1)}, file)
    digest = hashlib.sha256(file.read_bytes()).hexdigest()
    change(run.newest() / "state.json", lambda tree: tree.update(optimizers=digest))
    train(digits, tiny, run.path, images=192, resume=True)
    assert run.checkpoint_hash == whole.checkpoint_hash


def test_the_advice_on_a_damaged_checkpoint_is_true(run: Run, digits: Pack, tiny: Recipe, tmp_path: Path) -> None:
    for checkpoint in run.checkpoints():
        (checkpoint / "weights.safetensors").write_bytes(b"")
    with pytest.raises(RunError, match=r"000192/weights\.safetensors is damaged .* the one before it is used then"):
        mint(run, tmp_path / "a", per_class=1)
    shutil.rmtree(run.newest())
    with pytest.raises(RunError, match=r"000096/weights\.safetensors is damaged .* the training begins anew then"):
        mint(run, tmp_path / "a", per_class=1)
    shutil.rmtree(run.newest())
    assert train(digits, tiny, run.path, images=192, resume=True).images_seen == 192


FACTS: dict[str, Callable[[Tree], object]] = {
    "no recipe": lambda tree: tree.pop("recipe"),
    "recipe a text": lambda tree: tree.update(recipe="demo"),
    "an unknown model": lambda tree: tree["recipe"].update(model="zz"),
    "a model that is a list": lambda tree: tree["recipe"].update(model=["small"]),
    "an option": lambda tree: tree["recipe"]["options"].update(width=10**9),
    "channels below zero": lambda tree: tree["pack"].update(channels=-1),
    "no pixels": lambda tree: tree["pack"].update(size=[0, 0]),
    "sides that the recipe refuses": lambda tree: tree["pack"].update(size=[10**4, 10**4]),
    "a key too many": lambda tree: tree.update(more=1),
}


@pytest.mark.parametrize("damage", FACTS)
def test_damaged_facts_are_named_and_hide_no_other_run(
    damage: str, run: Run, whole: Run, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    shutil.copytree(whole.path, run.path.parent / "other")
    change(run.path / "run.json", FACTS[damage])
    with pytest.raises(RunError, match=r"run\.json .*damaged"):
        open_run(run.path)
    monkeypatch.setattr("imagemint.progress._on", True)
    assert [each.path.name for each in list_runs(run.path.parent)] == ["other"]
    assert "left out: " in capsys.readouterr().err
    with pytest.raises(RunError, match="no folder"):
        list_runs(run.path.parent / "nope")


@pytest.mark.parametrize("recipe", ["demo", "per-class", "ppca"])
def test_a_class_that_nobody_has_seen_is_never_trained(recipe: str, digits: Pack, tmp_path: Path) -> None:
    pack = write(tmp_path / "p", digits.pixels[1:10], digits.labels[1:10], list("0123456789"))
    with pytest.raises(PackError, match=r"class '0' of .* has no image; .* imagemint edit drop"):
        train(pack, recipe, tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_recipes_that_could_stand_for_anything(tmp_path: Path, digits: Pack) -> None:
    """Aliases and merge keys, which grow without bound, another encoding, bottomless nesting."""
    lines = {
        "alias": "a: &a [x]\nname: *a\n",
        "merge": "a: &a {b: 1}\nc: {<<: *a}\n",
        "nested": "[" * 5000,
    }
    for name, text in lines.items():
        (tmp_path / f"{name}.yaml").write_text(text)
    (tmp_path / "latin.yaml").write_bytes("name: Fréchet\n".encode("latin-1"))
    for name in (*lines, "latin"):
        with pytest.raises(ImagemintError, match=f"{name}.yaml (has an alias|is not)"):
            train(digits, tmp_path / f"{name}.yaml", tmp_path / "run")
