from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from imagemint.config import Recipe, load_recipe
from imagemint.data.pack import Pack, open_pack
from imagemint.errors import ArgumentError, PackError, RunError
from imagemint.fitting import train
from imagemint.labelling import critic_of
from imagemint.methods import load_minter
from imagemint.metrics import screen
from imagemint.minter import NetworkMinter
from imagemint.minting import mint
from imagemint.runs import Run


@pytest.fixture(scope="module")
def run(digits: Pack, tiny: Recipe, tmp_path_factory: pytest.TempPathFactory) -> Run:
    return train(digits, tiny, tmp_path_factory.mktemp("minting") / "run", images=320)


def test_counts_are_exact(run: Run, tmp_path: Path) -> None:
    assert mint(run, tmp_path / "a", per_class=7).counts() == dict.fromkeys("0123456789", 7)
    counts = mint(run, tmp_path / "b", counts={"3": 5, "9": 1}).counts()
    assert {name: n for name, n in counts.items() if n} == {"3": 5, "9": 1}


def test_minting_again_is_bit_equal_and_another_seed_is_not(run: Run, tmp_path: Path) -> None:
    first, again, other = (mint(run, tmp_path / n, per_class=5, seed=s) for n, s in (("a", 1), ("b", 1), ("c", 2)))
    assert first.fingerprint == again.fingerprint != other.fingerprint


def test_an_image_does_not_depend_on_its_batch_or_on_the_others(run: Run, tmp_path: Path) -> None:
    whole = mint(run, tmp_path / "whole", per_class=9)
    small = mint(run, tmp_path / "small", per_class=9, batch_size=4)
    some = mint(run, tmp_path / "some", counts={"4": 3})
    assert np.abs(whole.pixels[:].astype(int) - small.pixels[:]).max() <= 1  # one level: rounding of float sums
    fours = whole.pixels[np.flatnonzero(whole.labels == 4)[:3]]
    assert np.abs(fours.astype(int) - some.pixels[:]).max() <= 1


def test_every_image_can_be_minted_again_from_its_manifest(run: Run, tmp_path: Path) -> None:
    pack = mint(run, tmp_path / "a", per_class=4, seed=3)
    (minting,) = pack.manifest.mintings
    assert (minting.checkpoint, minting.recipe, minting.seed) == (run.checkpoint_hash, "demo", 3)
    assert minting.trained_on == run.facts.pack.fingerprint
    assert pack.manifest.origin == "minted"
    k = 17
    again = load_minter(run).draw([int(pack.columns["seed"][k])], np.array([pack.labels[k]]))
    assert np.abs(again[0].astype(int) - pack.pixels[k]).max() <= 1


def test_an_earlier_checkpoint_mints_what_it_minted_when_it_was_the_newest(
    digits: Pack, tiny: Recipe, tmp_path: Path
) -> None:
    short = train(digits, tiny, tmp_path / "run", images=96)
    then = mint(short, tmp_path / "then", per_class=3)
    longer = train(digits, tiny, tmp_path / "run", images=192, resume=True)
    now, earlier = mint(longer, tmp_path / "now", per_class=3), mint(longer, tmp_path / "earlier", per_class=3, at=96)
    assert earlier.fingerprint == then.fingerprint != now.fingerprint
    assert [pack.manifest.mintings[0].images_seen for pack in (then, earlier, now)] == [96, 96, 192]
    with pytest.raises(RunError, match="no checkpoint at 100 images seen; wanted one of 96, 192;"):
        mint(longer, tmp_path / "none", per_class=3, at=100)


def test_numbers_of_numpy_are_as_good_as_pythons(run: Run, tmp_path: Path) -> None:
    numpys: dict[str, Any] = {"counts": {"3": np.int64(2)}, "seed": np.int32(5), "batch_size": np.uint8(2)}
    theirs = mint(run, tmp_path / "a", **numpys)
    assert theirs.fingerprint == mint(run, tmp_path / "b", counts={"3": 2}, seed=5).fingerprint


def test_no_two_images_share_a_seed(run: Run, tmp_path: Path) -> None:
    pack = mint(run, tmp_path / "a", per_class=50)
    assert len(np.unique(pack.columns["seed"])) == 500


def test_networks_without_labels_never_mint_labelled_images(digits: Pack, tmp_path: Path) -> None:
    settings = {"model": "dense", "options": {"hidden_g": [8], "hidden_d": [8]}, "augment": "none", "images": 64}
    run = train(digits, load_recipe("demo", settings), tmp_path / "run")
    with pytest.raises(RunError, match=r"never saw the labels of their 10 classes.*--unlabelled N"):
        mint(run, tmp_path / "a", per_class=2)
    pack = mint(run, tmp_path / "a", unlabelled=7)
    assert (len(pack), pack.unlabelled()) == (7, 7)


def test_what_cannot_be_minted_is_refused(run: Run, tmp_path: Path) -> None:
    with pytest.raises(RunError, match="no class 'ten' in the run; wanted one of 0, 1"):
        mint(run, tmp_path / "x", counts={"ten": 5})
    with pytest.raises(ArgumentError, match="--per-class 0; wanted at least 1"):
        mint(run, tmp_path / "x", per_class=0)
    with pytest.raises(RunError, match="at least one image"):
        mint(run, tmp_path / "x", counts={"1": 0})
    halves: list[dict[str, Any]] = [{"per_class": 2.5}, {"counts": {"1": 1.5}}, {"unlabelled": True}]
    for half in [*halves, {"per_class": 1, "seed": 0.5}]:
        with pytest.raises(ArgumentError, match="wanted a whole number"):
            mint(run, tmp_path / "x", **half)
    with pytest.raises(RunError, match=r"10,000,000,000,000 images need .* GB .* are free"):
        mint(run, tmp_path / "deep" / "x", per_class=10**12)
    with pytest.raises(RunError, match="one of them"):
        mint(run, tmp_path / "x")
    with pytest.raises(RunError, match="no run at"):
        mint(tmp_path / "absent", tmp_path / "x", per_class=1)
    with pytest.raises(ArgumentError, match="at least 1"):
        mint(run, tmp_path / "x", per_class=1, batch_size=0)
    assert list(tmp_path.iterdir()) == []
    mint(run, tmp_path / "x", per_class=1)
    with pytest.raises(PackError, match="already there"):
        mint(run, tmp_path / "x", per_class=1)


# --- screening ------------------------------------------------------------------------------------------------------


@pytest.fixture
def quick_screen(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(screen, "AT_LEAST", 2_000)
    monkeypatch.setattr(screen, "_EPOCHS", 1)


def test_a_share_is_kept_in_exact_numbers_and_the_kept_are_the_most_probable(
    run: Run, digits: Pack, tmp_path: Path, quick_screen: None
) -> None:
    counts = {"3": 6, "8": 4}
    kept = mint(run, tmp_path / "kept", counts=counts, keep=0.25)
    assert {name: n for name, n in kept.counts().items() if n} == counts
    found = kept.manifest.history[-1].parameters["screen"]
    assert found["drawn"] == {name: 4 * counts.get(name, 0) for name in digits.classes} and found["keep"] == 0.25
    everything = mint(run, tmp_path / "all", counts={"3": 24, "8": 16})
    assert set(kept.columns["seed"].tolist()) < set(everything.columns["seed"].tolist())
    judge = screen.make_screen(screen.Screening(keep=0.25), digits, 0)
    for label, count in ((3, 6), (8, 4)):
        sure = judge.probabilities(everything.pixels[everything.labels == label], label)
        mine = judge.probabilities(kept.pixels[kept.labels == label], label)
        assert sorted(mine) == pytest.approx(sorted(sure)[-count:], abs=0.02)
    again = load_minter(run).draw([int(kept.columns["seed"][2])], np.array([kept.labels[2]]))
    assert np.abs(again[0].astype(int) - kept.pixels[2]).max() <= 1


def test_what_is_not_sure_enough_is_named_and_nothing_is_written(
    run: Run, tmp_path: Path, quick_screen: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(screen, "FEWEST_DRAWS", 64)
    with pytest.raises(RunError, match="class 0: of 100 drawn images only"):
        mint(run, tmp_path / "none", per_class=2, above=1.0)
    assert not (tmp_path / "none").exists()


def test_copies_are_rejected(run: Run, tmp_path: Path) -> None:
    made = mint(run, tmp_path / "a", per_class=3, reject_copies=True)
    assert made.counts() == dict.fromkeys("0123456789", 3)
    found = made.manifest.history[-1].parameters["screen"]
    assert found["copy_limit"] > 0 and found["classifier"] is None
    assert all(n >= 3 for n in found["drawn"].values())
    plain = mint(run, tmp_path / "b", unlabelled=5, reject_copies=True)
    assert plain.unlabelled() == 5


def test_the_discriminator_keeps_more_of_what_it_takes_for_real(run: Run, digits: Pack, tmp_path: Path) -> None:
    counts = {"3": 40, "8": 20}
    kept = mint(run, tmp_path / "kept", counts=counts, density_ratio=0.25)
    assert {name: n for name, n in kept.counts().items() if n} == counts
    found = kept.manifest.history[-1].parameters["screen"]
    assert found["density_ratio"] == 0.25 and found["classifier"] is None and found["copy_limit"] is None
    assert found["rejected"] == {name: n - counts.get(name, 0) for name, n in found["drawn"].items()}
    assert sum(found["drawn"].values()) == pytest.approx(240, rel=0.4)
    everything = mint(run, tmp_path / "all", counts=found["drawn"])
    assert set(kept.columns["seed"].tolist()) < set(everything.columns["seed"].tolist())
    critic = critic_of(run, run.newest())
    for label in (3, 8):
        mine, all_of_them = (critic(each.pixels[each.labels == label], label) for each in (kept, everything))
        assert mine.mean() > all_of_them.mean()
    again = mint(run, tmp_path / "again", counts=counts, density_ratio=0.25, batch_size=17)
    assert again.columns["seed"].tolist() == kept.columns["seed"].tolist()
    unlabelled = mint(run, tmp_path / "unlabelled", unlabelled=5, density_ratio=0.5)
    assert unlabelled.unlabelled() == 5


def test_a_discriminator_without_a_density_ratio_is_refused(digits: Pack, tiny: Recipe, tmp_path: Path) -> None:
    hinge = train(digits, load_recipe(tiny, {"loss": "hinge"}), tmp_path / "hinge", images=64)
    fitted = train(digits, "ppca", tmp_path / "ppca", components=4)
    for run in (hinge, fitted):
        with pytest.raises(RunError, match="tells no density ratio; wanted a run of one GAN with loss minimax"):
            mint(run, tmp_path / "a", per_class=1, density_ratio=0.5)
    assert not (tmp_path / "a").exists()


def test_the_training_pack_is_asked_for_where_it_is_gone(
    digits: Pack, tiny: Recipe, tmp_path: Path, quick_screen: None
) -> None:
    moved = tmp_path / "moved"
    shutil.copytree(digits.path, tmp_path / "pack")
    run = train(open_pack(tmp_path / "pack"), tiny, tmp_path / "run", images=64)
    (tmp_path / "pack").rename(moved)
    with pytest.raises(RunError, match="--pack PACK"):
        mint(run, tmp_path / "a", per_class=1, keep=0.5)
    assert len(mint(run, tmp_path / "b", per_class=1, keep=0.5, pack=moved)) == 10
    with pytest.raises(RunError, match="is not the pack"):
        mint(run, tmp_path / "c", per_class=1, keep=0.5, pack=tmp_path / "b")
    train(open_pack(moved), tiny, tmp_path / "run", images=128, resume=True)  # a run goes on wherever its pack is


def test_screening_that_makes_no_sense_is_refused(run: Run, tmp_path: Path) -> None:
    for options in ({"above": 0.9, "keep": 0.5}, {"above": 2.0}, {"keep": 0.0}, {"density_ratio": 0.0}):
        with pytest.raises(ArgumentError):
            mint(run, tmp_path / "a", per_class=1, **options)  # type: ignore[arg-type]
    with pytest.raises(ArgumentError, match="--unlabelled"):
        mint(run, tmp_path / "a", unlabelled=1, screen=True)


@pytest.fixture(scope="module")
def kept(digits: Pack, tiny: Recipe, tmp_path_factory: pytest.TempPathFactory) -> Run:
    """A run that keeps three checkpoints."""
    recipe = load_recipe(tiny, {"checkpoint_every": 96, "keep": 3})
    return train(digits, recipe, tmp_path_factory.mktemp("kept") / "run", images=320)


def test_a_spread_multiplies_the_noise_and_one_changes_nothing(run: Run, tmp_path: Path) -> None:
    usual = mint(run, tmp_path / "usual", per_class=3)
    same = mint(run, tmp_path / "same", per_class=3, spread=1, snapshots=1)
    assert same.fingerprint == usual.fingerprint
    assert same.manifest.history[-1].parameters.keys() == {"run", "counts", "seed"}
    wide = mint(run, tmp_path / "wide", per_class=3, spread=1.5)
    minter = load_minter(run)
    assert isinstance(minter, NetworkMinter)
    image_seeds = [int(seed) for seed in wide.columns["seed"]]
    wanted = minter.draw_z(1.5 * minter.z(image_seeds), np.array(wide.labels))
    assert np.array_equal(wide.pixels[:], wanted) and not np.array_equal(wide.pixels[:], usual.pixels[:])
    assert wide.manifest.mintings[0].spread == wide.manifest.history[-1].parameters["spread"] == 1.5
    assert usual.manifest.mintings[0].spread is None
    none = mint(run, tmp_path / "none", counts={"4": 3}, spread=0)
    assert (none.pixels[:] == none.pixels[0]).all()  # every image from the middle of the noise


def test_snapshots_take_turns_and_every_image_can_be_minted_again(kept: Run, tmp_path: Path) -> None:
    pack = mint(kept, tmp_path / "a", per_class=30, snapshots=3)
    assert pack.counts() == dict.fromkeys("0123456789", 30)
    assert len({each.checkpoint for each in pack.manifest.mintings}) == 3
    turns = np.asarray(pack.columns["minting"])
    assert np.bincount(turns).min() > 60  # about 100 each of 300
    for k, checkpoint in enumerate(kept.checkpoints()[-3:]):
        rows = np.flatnonzero(turns == k)
        assert pack.manifest.mintings[k].images_seen == int(checkpoint.name)
        again = load_minter(kept, checkpoint).draw(pack.columns["seed"][rows].tolist(), np.asarray(pack.labels)[rows])
        assert np.abs(again.astype(int) - pack.pixels[rows]).max() <= 1
    some = mint(kept, tmp_path / "some", counts={"4": 3}, snapshots=3, batch_size=2)
    fours = pack.pixels[np.flatnonzero(pack.labels == 4)[:3]]
    assert np.abs(fours.astype(int) - some.pixels[:]).max() <= 1
    newest = mint(kept, tmp_path / "newest", per_class=30)
    assert np.array_equal(newest.pixels[turns == 2], pack.pixels[turns == 2])  # the newest draws what it draws alone
    at = int(kept.checkpoints()[-2].name)
    assert [
        each.images_seen for each in mint(kept, tmp_path / "b", per_class=1, snapshots=2, at=at).manifest.mintings
    ][1] == at
    with pytest.raises(RunError, match="--snapshots 4 and 3 checkpoints"):
        mint(kept, tmp_path / "no", per_class=1, snapshots=4)
    with pytest.raises(ArgumentError, match="--spread"):
        mint(kept, tmp_path / "no", per_class=1, spread=float("nan"))
    assert not (tmp_path / "no").exists()


def test_only_normal_noise_has_a_spread(digits: Pack, tmp_path: Path) -> None:
    fitted = train(digits, "pca", tmp_path / "run")
    with pytest.raises(RunError, match="that is uniform"):
        mint(fitted, tmp_path / "no", per_class=1, spread=2)
