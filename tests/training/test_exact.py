"""Killed at any point and resumed = never stopped, bit for bit."""

from __future__ import annotations

import multiprocessing
import os
import signal
import time
from pathlib import Path

import pytest

from imagemint.config import Recipe, load_recipe
from imagemint.data.pack import Pack
from imagemint.runs import open_run
from imagemint.seeds import rng
from imagemint.training import loop
from imagemint.training.loop import train
from imagemint.training.step import generator_step


def quick_judge(monkeypatch: pytest.MonkeyPatch) -> None:
    """The judge of `weights: best` learns from a few images only, here and in a child process."""
    monkeypatch.setattr("imagemint.metrics.features.AT_LEAST", 640)


def contents(run: Path) -> dict[str, bytes]:
    """Everything that a run computed; run.json tells the same settings, the lock and the clock are no results."""
    skipped = {"clock.jsonl", "lock"}
    return {
        p.relative_to(run).as_posix(): p.read_bytes() for p in run.rglob("*") if p.is_file() and p.name not in skipped
    }


def child(pack: Path, recipe: Recipe, run: Path) -> None:
    import torch

    torch.set_num_threads(1)
    quick_judge(pytest.MonkeyPatch())
    train(pack, recipe, run, seed=7, resume=True, device="cpu")


@pytest.mark.skipif(os.name == "nt", reason="SIGKILL is a POSIX signal")
@pytest.mark.parametrize("name", ["demo", "cdcgan", "per-class"])
def test_killed_and_resumed_is_never_stopped(
    name: str, digits: Pack, tiny: Recipe, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    quick_judge(monkeypatch)
    small = {"batch_size": 16, "images": 640, "log_every": 64, "picture_every": 128, "checkpoint_every": 96}
    more = {"batch_size": 2, "options": {"width": 4}, "choose_every": 320} if name == "per-class" else {}
    recipe = tiny if name == "demo" else load_recipe(name, {**small, "precision": "fp32", **more})
    straight = train(digits, recipe, tmp_path / "straight", seed=7, device="cpu")
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["imagemint.training.loop"])
    kills, random = 0, rng(0, "kills")
    for _ in range(60):
        process = context.Process(target=child, args=(digits.path, recipe, tmp_path / "killed"))
        process.start()
        while kills < 5 and process.is_alive() and not (tmp_path / "killed" / "log.jsonl").is_file():
            time.sleep(0.005)
        process.join(float(random.uniform(0.01, 0.4)) if kills < 5 else None)
        if process.is_alive():
            assert process.pid is not None
            os.kill(process.pid, signal.SIGKILL)
            process.join()
            kills += 1
        elif process.exitcode == 0:
            break
    assert kills >= 1
    assert process.exitcode == 0
    assert contents(tmp_path / "killed") == contents(straight.path)


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


def test_a_longer_run_is_a_run_that_was_extended(digits: Pack, tiny: Recipe, tmp_path: Path) -> None:
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
