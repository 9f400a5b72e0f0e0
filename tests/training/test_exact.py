"""Killed at any point and resumed = never stopped, bit for bit."""

from __future__ import annotations

import errno
import os
import shutil
import signal
from itertools import count
from pathlib import Path

import pytest
from benchmarks.crash import contents as contents
from benchmarks.crash import kill_and_resume, tiny_pack, tiny_recipe
from torch import Tensor

from imagemint import checkpoints
from imagemint.config import Recipe
from imagemint.data.pack import Pack
from imagemint.fitting import train
from imagemint.runs import Run, open_run
from imagemint.training import diary, loop, state
from imagemint.training.state import Gan, save_checkpoint
from imagemint.training.step import generator_step


@pytest.fixture(scope="module")
def three_classes(tmp_path_factory: pytest.TempPathFactory) -> Pack:
    return tiny_pack(tmp_path_factory.mktemp("three") / "pack")


@pytest.mark.skipif(os.name == "nt", reason="SIGKILL is a POSIX signal")
@pytest.mark.parametrize(("name", "kills"), [("demo", 20), ("cdcgan", 2), ("per-class", 2)])
def test_killed_and_resumed_is_never_stopped(name: str, kills: int, three_classes: Pack, tmp_path: Path) -> None:
    """Every file, with averaged and best weights, augmentation and findings; the long form: benchmarks/crash.py."""
    outcome = kill_and_resume(three_classes.path, tiny_recipe(name), tmp_path, kills)
    assert outcome.kills == kills
    assert outcome.runs >= 1
    assert outcome.different == set()


def test_killed_before_the_first_file_was_whole(digits: Pack, tiny: Recipe, tmp_path: Path) -> None:
    run = tmp_path / "run"
    run.mkdir()
    (run / "lock").touch()
    (run / ".run.json.x1.partial").write_text("{")
    assert train(digits, tiny, run, images=32, resume=True).images_seen == 32
    assert not list(run.rglob("*.partial"))


def test_killed_while_old_checkpoints_were_removed(digits: Pack, tiny: Recipe, tmp_path: Path) -> None:
    """One is left over whole and another in part, after the newest was written."""
    run = train(digits, tiny, tmp_path / "run")
    before = contents(run.path)
    whole, part = (run.path / "checkpoints" / name for name in ("000000000096", "000000000192"))
    shutil.copytree(run.newest(), whole)
    shutil.copytree(run.newest(), part, ignore=shutil.ignore_patterns("state.json"))
    assert contents(train(digits, tiny, run.path, resume=True).path) == before


def test_what_a_checkpoint_stands_for_is_on_the_disk_before_it(
    digits: Pack, tiny: Recipe, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """After a power cut a checkpoint must not find a log that is shorter than it was."""
    on_disk: dict[str, int] = {}

    def noted(path: Path) -> None:
        on_disk[path.name] = path.stat().st_size

    def checked(gan: Gan, run: Run) -> Path:
        for log in run.path.glob("*.jsonl"):
            assert on_disk[log.name] == log.stat().st_size
        return save_checkpoint(gan, run)

    monkeypatch.setattr("imagemint.files.flush", noted)
    monkeypatch.setattr(diary, "save_checkpoint", checked)
    train(digits, tiny, tmp_path / "run", images=256)
    assert {"log.jsonl", "watch.jsonl"} <= on_disk.keys()


def test_a_full_disk_ends_the_run_with_the_last_checkpoint_intact(
    digits: Pack, tiny: Recipe, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is full half-way through the third checkpoint; with room again the run goes on as if nothing had been."""
    written, write = count(1), checkpoints.write_tensors

    def fills_up(path: Path, tensors: dict[str, Tensor]) -> str:
        hash_ = write(path, tensors)
        if next(written) == 6:  # weights and optimisers are two files
            os.truncate(path, path.stat().st_size // 2)
            raise OSError(errno.ENOSPC, "No space left on device", str(path))
        return hash_

    straight = train(digits, tiny, tmp_path / "straight")
    monkeypatch.setattr(state, "write_tensors", fills_up)
    with pytest.raises(OSError, match="No space left"):
        train(digits, tiny, tmp_path / "full")
    monkeypatch.undo()
    assert open_run(tmp_path / "full").images_seen == 2 * 96
    assert not list((tmp_path / "full").rglob("*.partial"))
    assert contents(train(digits, tiny, tmp_path / "full", resume=True).path) == contents(straight.path)


def test_ctrl_c_saves_the_iteration_it_interrupts(
    digits: Pack, tiny: Recipe, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls = iter(range(100))

    def interrupted(*args: object) -> object:
        if next(calls) == 13:
            os.kill(os.getpid(), signal.SIGINT)
        return generator_step(*args)  # type: ignore[arg-type]

    straight = train(digits, tiny, tmp_path / "straight")
    monkeypatch.setattr(loop, "generator_step", interrupted)
    with pytest.raises(KeyboardInterrupt):
        train(digits, tiny, tmp_path / "stopped")
    monkeypatch.undo()
    assert open_run(tmp_path / "stopped").images_seen == 14 * 16  # the fourteenth iteration was finished
    train(digits, tiny, tmp_path / "stopped", resume=True)
    mine, theirs = contents(tmp_path / "stopped"), contents(straight.path)
    kept = [name for name in theirs if not name.startswith("checkpoints") or "000640" in name]
    assert {name: mine[name] for name in kept} == {name: theirs[name] for name in kept}


@pytest.mark.parametrize("options", [{}, {"spectral_norm": True}])  # D remembers its singular vectors then
def test_a_longer_run_is_a_run_that_was_extended(
    options: dict[str, object], digits: Pack, tiny: Recipe, tmp_path: Path
) -> None:
    tiny = tiny.model_copy(update={"options": tiny.options | options})
    straight = train(digits, tiny, tmp_path / "straight")
    train(digits, tiny, tmp_path / "extended", images=320)
    train(digits, tiny, tmp_path / "extended", images=640, resume=True)
    assert open_run(tmp_path / "extended").checkpoint_hash == straight.checkpoint_hash


def test_a_finished_run_is_returned_untouched(digits: Pack, tiny: Recipe, tmp_path: Path) -> None:
    first = train(digits, tiny, tmp_path / "run")
    before = contents(first.path)
    assert contents(train(digits, tiny, tmp_path / "run", resume=True).path) == before


def test_another_seed_is_another_run(digits: Pack, tiny: Recipe, tmp_path: Path) -> None:
    hashes = {
        train(digits, tiny, tmp_path / f"{seed}", seed=seed, images=64).checkpoint_hash for seed in (0, 1, 0)[:2]
    }
    assert len(hashes) == 2
