"""Packs, runs and a study that version 0.1 wrote: they open, mint the same images and go on as they would have.

tests/fixtures/v0.1 was made with commit 34c940c. `expected.json` says on which machine; on another one sums are
rounded differently, so there a level of difference is allowed.
"""

from __future__ import annotations

import hashlib
import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch

from imagemint.config import load_recipe
from imagemint.data.pack import open_pack
from imagemint.errors import RunError
from imagemint.fitting import refuse_changes, train
from imagemint.methods.joined import JoinedFacts
from imagemint.minting import mint
from imagemint.runs import Run, list_runs, open_run
from imagemint.studies.results import open_study

HERE = Path(__file__).parent / "fixtures" / "v0.1"
EXPECTED = json.loads((HERE / "expected.json").read_text())
SAME_MACHINE = (torch.__version__, torch.backends.cpu.get_cpu_capability()) == (EXPECTED["torch"], EXPECTED["cpu"])


@pytest.fixture
def old(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy to work on; the joined run names its parents from there."""
    shutil.copytree(HERE, tmp_path / "old")
    monkeypatch.chdir(tmp_path / "old")
    return tmp_path / "old"


@pytest.mark.parametrize("name", EXPECTED["sha256"])
def test_an_old_run_mints_the_same_images(name: str, tmp_path: Path) -> None:
    run, _, at = name.partition("@")
    pack = mint(HERE / run, tmp_path / "minted", per_class=4, seed=1, at=int(at) if at else None, device="cpu")
    with np.load(HERE / "minted.npz") as wanted:
        difference = np.abs(pack.pixels[:].astype(int) - wanted[name])
    assert difference.max() <= 1
    if SAME_MACHINE:
        assert hashlib.sha256(np.asarray(pack.pixels).tobytes()).hexdigest() == EXPECTED["sha256"][name]


@pytest.mark.parametrize("name", EXPECTED["resumed"])
def test_an_old_run_goes_on_as_it_would_have(name: str, old: Path) -> None:
    run, wanted = open_run(old / name), EXPECTED["resumed"][name]
    pack = {"gan": "digits.pack", "per-class": "two.pack"}[name]
    target = wanted["images_seen"]
    longer = train(pack, run.recipe, run.path, seed=run.facts.seed, images=target, resume=True, device="cpu")
    assert longer.images_seen == target
    if SAME_MACHINE:
        assert longer.checkpoint_hash == wanted["weights"]


@pytest.mark.parametrize("name", ["ppca", "pca"])
def test_an_old_finished_fit_is_returned_untouched(name: str, old: Path) -> None:
    run = open_run(old / name)
    before = run.checkpoint_hash
    assert train("digits.pack", run.recipe, run.path, seed=run.facts.seed, resume=True).checkpoint_hash == before


def test_an_old_joined_run_knows_its_parents(old: Path) -> None:
    run = open_run(old / "mitlgan")
    assert run.facts.learned_from == [open_pack("digits.pack").fingerprint]
    assert isinstance(run.facts, JoinedFacts)
    assert [(parent.run, parent.recipe.z_size) for parent in run.facts.parents] == [("gan", 8), ("dense", 4)]


def test_everything_old_opens() -> None:
    names = {run.path.name for run in list_runs(HERE)}
    assert names == {"4-0", "best", "gan", "mitlgan", "pca", "per-class", "ppca"}
    assert {len(open_pack(HERE / name)) for name in ("digits.pack", "two.pack", "test.pack")} == {60, 40, 15}
    assert len(open_study(HERE / "study").rows) == len((HERE / "study" / "rows.jsonl").read_text().splitlines())


def test_a_gray_run_of_before_goes_on_with_the_recipe_of_today_and_a_colour_one_says_what_is_new(old: Path) -> None:
    """Upsampling was always `transposed`; today it is `auto`, which is the same for gray images."""
    facts = open_run(old / "gan").facts
    auto = load_recipe(facts.recipe, {"options.upsampling": "auto"})
    facts_today = facts.model_copy(update={"recipe": auto})
    refuse_changes(open_run(old / "gan"), facts_today)
    colour = facts.pack.model_copy(update={"channels": 3})
    before, today = (each.model_copy(update={"pack": colour}) for each in (facts, facts_today))
    with pytest.raises(RunError, match=r"recipe\.options\.upsampling was transposed and is resize"):
        refuse_changes(Run(old / "gan", before), today)
