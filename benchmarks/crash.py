"""Killed at any moment and resumed = never stopped: `python benchmarks/crash.py [--kills 200] [--recipe NAME]`.

A child process trains a tiny pack (8x8 digits of three classes) to the end; that run is the standard. Other children
train the same into another folder and are killed (SIGKILL), again and again, each time resumed by the same command,
until the run is through; then every file of the two folders is compared. This is repeated in fresh folders until
`--kills` children have been killed. Exit status 1 where a file differs.

Half of the kills are a SIGKILL at a random moment of a child's life. The others wait for something that is over soon
or happens rarely (a checkpoint is written, a finding, ...) and strike in its first milliseconds: AIMS has them in
turn. For these the child sets a timer, whose signal ends it as SIGKILL does: at once, with nothing run after. A child
notes what it is doing in a byte that it shares with its parent, so the table says where each kill really struck.

The long form of tests/training/test_exact.py, which calls `kill_and_resume` too.
"""

from __future__ import annotations

import argparse
import functools
import math
import multiprocessing
import os
import shutil
import signal
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch

from imagemint import files, fitting
from imagemint.catalogue import networks
from imagemint.config import Recipe, load_recipe, recipe_names
from imagemint.data.pack import Pack, open_pack, writing
from imagemint.data.packing import pack
from imagemint.errors import RecipeError
from imagemint.methods.joined import JOINED
from imagemint.metrics import judge
from imagemint.models import ImageShape
from imagemint.runs import open_run
from imagemint.seeds import rng
from imagemint.training import choice, diary, loop, step, watch
from imagemint.training.watch import rules

# What a child may be doing, and the function that it is doing it in; inner ones count, so a D step is what is left
# of it without augmentation.
STAGES: dict[str, tuple[Any, str]] = {
    "before training": (None, ""),
    "between steps": (loop, "train_gan"),
    "run.json": (fitting, "write_facts"),
    "going back to a checkpoint": (loop, "_load_newest"),
    "D step": (loop, "discriminator_step"),
    "G step": (loop, "generator_step"),
    "augmentation": (step, "_augment"),
    "EMA": (loop, "average_step"),
    "judge": (choice, "_judge"),
    "best weights": (choice.Chooser, "observe"),
    "watch look": (watch.Watch, "observe"),
    "finding": (watch, "write_down"),
    "log line": (diary, "append_line"),
    "picture": (diary, "draw_samples"),
    "checkpoint": (diary, "save_checkpoint"),
    "checkpoint rename": (files, "_flush_all"),
}
NAMES = list(STAGES)
AIMS = ["checkpoint", "EMA", "best weights", "finding", "checkpoint rename", "augmentation", "picture", "watch look"]
AIMS += ["G step", "going back to a checkpoint", "log line", "run.json"]
RARE = ("run.json", "going back to a checkpoint", "finding")  # come at most once in a child
PATIENCE = 60.0  # seconds that a child may take at most
# Torch imports its compiler with the first optimiser, which takes a child a second and a half.
PRELOADED = ["torch._dynamo", "imagemint.fitting", "imagemint.data.packing", "imagemint.catalogue"]

# Settings that make the networks of a family small, or trainings short where that cannot be.
SMALL: dict[str, dict[str, Any]] = {
    "small": {"options": {"width": 4, "embedding": 4}, "z_size": 8},
    "per-class": {"options": {"width": 4}, "batch_size": 4, "images": 288},
    "cdcgan": {"images": 288},
}


@dataclass
class Outcome:
    """What came of it."""

    where: Counter[str] = field(default_factory=Counter)  # kills by stage
    runs: int = 0  # that were killed, resumed and finished
    children: int = 0
    files: int = 0  # compared in each run
    different: set[str] = field(default_factory=set)
    seconds: float = 0.0  # of the run that was never stopped

    @property
    def kills(self) -> int:
        return sum(self.where.values())


def contents(run: Path) -> dict[str, bytes]:
    """Everything that a run computed; the lock and the clock are no results."""
    skipped = {"clock.jsonl", "lock"}
    return {
        p.relative_to(run).as_posix(): p.read_bytes() for p in run.rglob("*") if p.is_file() and p.name not in skipped
    }


def hurry() -> None:
    """What takes long, or comes late, in a real training: here a judge learns from few images and findings abound."""
    judge.AT_LEAST = 320  # type: ignore[attr-defined]
    choice.FEWEST_MINTED = 20
    rules.WARM_UP, rules.LASTS, rules.LOOKS = 64, 64, 2
    rules.UNMOVED, rules.COPIED = 0.0, -1.0


class Aim(NamedTuple):
    """The first time that `stage` begins when `after` seconds are over, and `within` seconds from there."""

    stage: int
    after: float
    within: float


def child(pack: Path, recipe: Recipe, run: Path, seed: int, board: Path, aim: Aim | None) -> None:
    """Train, or resume, and note in the byte `board` what is going on."""
    torch.set_num_threads(1)
    hurry()
    now = np.memmap(board, np.uint8, "r+")
    for number, (home, name) in enumerate(STAGES.values()):
        if home is not None:
            strike = aim if aim and aim.stage == number else None
            setattr(home, name, _noting(getattr(home, name), now, number, strike))
    fitting.train(pack, recipe, run, seed=seed, resume=True, device="cpu")


def _noting(function: Callable[..., Any], now: np.ndarray, number: int, aim: Aim | None) -> Callable[..., Any]:
    from_then = time.monotonic() + aim.after if aim else math.inf

    @functools.wraps(function)
    def noted(*args: Any, **kwargs: Any) -> Any:
        before, now[0] = int(now[0]), number
        if aim and time.monotonic() > from_then:
            signal.setitimer(signal.ITIMER_REAL, max(aim.within, 1e-6))  # SIGALRM, which nobody handles
        try:
            return function(*args, **kwargs)
        finally:
            now[0] = before

    return noted


def kill_and_resume(pack: Path, recipe: Recipe, folder: Path, kills: int, seed: int = 7) -> Outcome:
    """Train once undisturbed and, in new folders, killed `kills` times in all; compare. Raises if a child fails."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(PRELOADED)
    outcome, random, board = Outcome(), rng(seed, "kills"), folder / "board"
    board.write_bytes(b"\0")
    now = np.memmap(board, np.uint8, "r+")

    def start(run: Path, aim: Aim | None = None) -> Any:
        now[0] = 0
        process = context.Process(target=child, args=(pack, recipe, run, seed, board, aim))
        process.start()
        outcome.children += 1
        return process

    def finish(process: Any) -> None:
        process.join(PATIENCE)
        if process.exitcode != 0:
            raise RuntimeError(f"a child ended with {process.exitcode} in: {NAMES[now[0]]}")

    warm = context.Process(target=hurry)  # the first child also starts the server that forks the others
    warm.start()
    warm.join()
    began = time.monotonic()
    finish(start(folder / "straight"))
    outcome.seconds = time.monotonic() - began
    straight = contents(folder / "straight")
    assert open_run(folder / "straight").findings(), "no finding: nothing shows that they survive a kill"
    outcome.files, killed = len(straight), folder / "killed"
    while outcome.kills < kills and not outcome.different:
        process = start(killed, _aim(outcome, random))
        while outcome.kills < kills and _struck(process, outcome, random):
            outcome.where[NAMES[now[0]]] += 1
            process = start(killed, _aim(outcome, random) if outcome.kills < kills else None)
        finish(process)
        found = contents(killed)
        outcome.runs += 1
        outcome.different = {name for name in found | straight if found.get(name) != straight.get(name)}
        shutil.rmtree(killed)
    return outcome


def _aim(outcome: Outcome, random: np.random.Generator) -> Aim | None:
    """What the next kill aims at: every other one at nothing."""
    turn, odd = divmod(outcome.kills, 2)
    if not odd:
        return None
    name = AIMS[turn % len(AIMS)]
    after = 0.0 if name in RARE else float(random.uniform(0, outcome.seconds / 8))
    return Aim(NAMES.index(name), after, float(5e-3 * random.uniform() ** 4))


def _struck(process: Any, outcome: Outcome, random: np.random.Generator) -> bool:
    """Kill a child, unless its own timer does; False if it was through before."""
    if outcome.kills % 2:
        process.join(PATIENCE)
    else:  # over the whole life, early rather than late, so that a run takes several kills
        process.join(outcome.seconds * random.uniform() ** 3)
        if process.is_alive():
            os.kill(process.pid, signal.SIGKILL)
            process.join()
    return process.exitcode in (-signal.SIGKILL, -signal.SIGALRM)


def tiny_pack(dest: Path, size: int = 8, channels: int = 1) -> Pack:
    """Digits 0, 1 and 2, forty of each."""
    whole = pack("digits", dest.with_name(f"{dest.name}.whole"), size=size, channels=3 if channels == 3 else 1)
    chosen = np.concatenate([np.flatnonzero(np.asarray(whole.labels) == k)[:40] for k in range(3)])
    with writing(dest, classes=whole.classes[:3], origin="real", history=[]) as writer:
        writer.add(whole.pixels[chosen], whole.labels[chosen])
    return open_pack(dest)


def tiny_recipe(name: str) -> Recipe:
    """A recipe with its own losses and networks, everything written often, its averaged and its best weights kept."""
    every = {"log_every": 32, "watch_every": 64, "picture_every": 128, "checkpoint_every": 96, "choose_every": 160}
    small = {"batch_size": 16, "images": 480, "precision": "fp32", "weights": "best", "ema_images": 200}
    settings = every | small | {"smallest": 8} | SMALL.get(getattr(load_recipe(name), "model", ""), {})
    recipe = load_recipe(name, settings)
    assert isinstance(recipe, Recipe)
    return recipe


def fitting_size(recipe: Recipe) -> ImageShape:
    """The smallest image that the networks can be built for."""
    for size in (8, 16, 28, 32, 64, 128):
        for channels in (1, 3):
            shape = ImageShape(channels, size, size)
            try:
                networks(recipe, shape, 3)
            except RecipeError:
                continue
            return shape
    raise SystemExit(f"recipe {recipe.name} fits no image")


def main() -> int:
    gans = [name for name in recipe_names() if getattr(load_recipe(name), "model", JOINED) != JOINED]
    gans = [name for name in gans if isinstance(load_recipe(name), Recipe)]  # baselines are fitted, in one go
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--kills", type=int, default=200)
    parser.add_argument("--recipe", choices=gans, default="demo")
    parser.add_argument("--seed", type=int, default=7)
    options = parser.parse_args()
    recipe = tiny_recipe(options.recipe)
    shape = fitting_size(recipe)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        tiny_pack(folder / "pack", shape.height, shape.channels)
        began = time.monotonic()
        outcome = kill_and_resume(folder / "pack", recipe, folder, options.kills, options.seed)
    print(f"{recipe.name}, {shape.height}x{shape.width}x{shape.channels}: a run takes {outcome.seconds:.1f} s")
    print(f"{outcome.kills} kills in {outcome.runs} runs, {outcome.children} children", end="; ")
    print(f"{time.monotonic() - began:.0f} s in all")
    for stage in NAMES:
        if outcome.where[stage]:
            print(f"  {outcome.where[stage]:4} in: {stage}")
    if outcome.different:
        print(f"DIFFERENT: {', '.join(sorted(outcome.different))}")
        return 1
    print(f"all {outcome.files} files of each run are bit-equal to those of the run that never stopped")
    return 0


if __name__ == "__main__":
    sys.exit(main())
