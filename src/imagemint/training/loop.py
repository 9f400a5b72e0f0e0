"""The one honest training loop: read it top to bottom."""

from __future__ import annotations

import math
import signal
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import torch

from imagemint import files, seeds
from imagemint.baselines import fit, members
from imagemint.config import Baseline, Recipe, load_recipe
from imagemint.data.pack import Pack, open_pack
from imagemint.errors import TrainingError
from imagemint.files import append_line, keep_lines
from imagemint.progress import progress, say, stop_signals
from imagemint.runs import Run, RunFacts, open_run
from imagemint.training.choice import Chooser
from imagemint.training.facts import run_facts, set_tf32
from imagemint.training.feed import Feed
from imagemint.training.folder import (
    checked_folder,
    draw_samples,
    drop_half_written,
    go_back_to_checkpoint,
    only_one,
    write_facts,
)
from imagemint.training.parents import load_parents
from imagemint.training.ranks import joined
from imagemint.training.state import Gan, load_checkpoint, new_gan, save_checkpoint, save_fitted
from imagemint.training.step import Values, average_step, discriminator_step, fakes, generator_step
from imagemint.training.watch import NOT_FINITE, ROLLBACK_RATE, Watch, not_finite, refuse_not_finite, write_down

DUE = ("log", "choose", "picture", "watch", "checkpoint")  # what is written; the recipe has an `_every` for each


def train(
    pack: Pack | Path | str,
    recipe: Recipe | Baseline | Path | str,
    run: Path | str,
    *,
    seed: int = 0,
    epochs: float | None = None,
    images: int | None = None,
    resume: bool = False,
    device: str | None = None,
    **overrides: Any,
) -> Run:
    """Train a GAN, or fit a baseline, on a pack and write the run folder; the newest checkpoint is what `mint` uses.

    Where the recipe names parents (mitlgan), their folders are needed until the first checkpoint is written.
    `epochs` or `images` replaces the recipe's duration; `overrides` replaces other fields, dotted keys as
    `**{"optimizer_g.lr": 1e-4}`. With `resume`, a run that is there is continued, bit for bit as if it had never
    stopped (on the CPU), or returned at once when it is finished; another recipe, seed or pack is refused.

    Raises RecipeError, PackError, RunError; TrainingError when a loss is no longer finite.
    """
    duration = {"epochs": epochs, "images": images}
    overrides |= {key: value for key, value in duration.items() if value is not None}
    with joined(device) as ranks:
        with ranks.together():
            pack = open_pack(pack)
            continued = open_run(run) if resume and (Path(run) / "run.json").is_file() else None
            known = continued.facts.parents if continued else []
            facts = run_facts(pack, load_recipe(recipe, overrides), seed, device, known)
            if isinstance(facts.recipe, Baseline):
                ranks.check_alone(f"recipe {facts.recipe.name}")
                return _fit(pack, facts, facts.recipe, Path(run), resume)
            facts = facts.model_copy(update={"processes": ranks.world})
            ranks.take_device(facts.device)
            gan = new_gan(facts, ranks)  # before the folder: a recipe that does not fit leaves nothing behind
            set_tf32(gan.recipe.tf32)
            if continued is None or not continued.checkpoints():
                load_parents(gan, facts)
            feed = Feed(pack, gan)
        if len(pack.classes) > 1 and not gan.sees_labels:
            say(f"model {gan.recipe.model} does not look at labels: what it mints will have none")
        with _opened(gan, Path(run), facts, resume) as opened:
            while True:
                try:
                    _train(gan, feed, opened)
                    return opened
                except TrainingError as error:
                    gan = _roll_back(error, gan, opened)


@contextmanager
def _opened(gan: Gan, path: Path, facts: RunFacts, resume: bool) -> Iterator[Run]:
    """The run folder, new or continued, held by rank 0; all ranks at its newest whole checkpoint."""
    with ExitStack() as held:
        with gan.ranks.writing() as first:
            if first:
                held.enter_context(only_one(checked_folder(path, facts, resume)))
                write_facts(path, facts)
        with gan.ranks.together():
            run = open_run(path)
        _load_newest(gan, run)
        _slow_down(gan, run)
        yield run


def _load_newest(gan: Gan, run: Run) -> None:
    """Rank 0 mends the folder, then all load the same checkpoint."""
    with gan.ranks.writing() as first:
        if first:
            go_back_to_checkpoint(gan, run)
    with gan.ranks.together():
        for checkpoint in [] if gan.ranks.first else run.checkpoints()[-1:]:
            load_checkpoint(gan, checkpoint)


def _roll_back(error: TrainingError, gan: Gan, run: Run) -> Gan:
    """Note that a number is not finite; then the last checkpoint with lower rates, if the recipe says so, once.

    The rates must change: everything random is addressed by images seen, so the same would happen again. Raises the
    error where nothing is to be rolled back.
    """
    failed, back = gan.images_seen, gan.recipe.rollback and not gan.slowed
    if back:
        gan = new_gan(run.facts, gan.ranks)
        if not run.checkpoints():
            load_parents(gan, run.facts)
        _load_newest(gan, run)
    with gan.ranks.writing() as first:
        if first:
            finding = write_down(run, not_finite(error, failed, gan.images_seen, rolled_back=back))
    if not back:
        raise error
    if gan.ranks.first:
        say(str(finding))
    _slow_down(gan, run)
    return gan


def _slow_down(gan: Gan, run: Run) -> None:
    """Lower both learning rates, once, in a run that was rolled back."""
    if gan.recipe.rollback and not gan.slowed and any(finding.name == NOT_FINITE for finding in run.findings()):
        for group in gan.optimizer_g.param_groups + gan.optimizer_d.param_groups:
            group["lr"] *= ROLLBACK_RATE
        gan.slowed = True


def _fit(pack: Pack, facts: RunFacts, recipe: Baseline, path: Path, resume: bool) -> Run:
    """The short way of a baseline. Its checkpoint comes last: a run that has none starts over, with equal result."""
    by_class = members(pack)  # before the folder, as above
    with only_one(checked_folder(path, facts, resume)):
        run = write_facts(path, facts)
        if not run.checkpoints():
            drop_half_written(run)
            generator, found = fit(pack, by_class, recipe)
            keep_lines(run.path / "log.jsonl", [{"images_seen": run.target, **found}])
            draw_samples(generator, run, run.target)
            save_fitted(generator, run)
    return run


def _train(gan: Gan, feed: Feed, run: Run) -> None:
    recipe, target, ranks = gan.recipe, run.target, gan.ranks
    with ranks.writing() as first:
        diary = Diary(gan, feed, run) if first else None
    with progress(target, "train", done=gan.images_seen) as advance, _stop_softly() as stopping:
        while gan.images_seen < target:
            before = gan.images_seen
            iterate(gan, feed)
            last, stop = gan.images_seen >= target, ranks.any(bool(stopping))
            due = {what for what in DUE if last or _passed(before, gan, getattr(recipe, f"{what}_every"))}
            due |= {"checkpoint"} if stop else set()
            line = _means(gan) if "log" in due else {}
            if due:
                with ranks.writing():
                    if diary:
                        diary.write(gan, line, due)
            note = f"loss D {line['loss_d']:.2f} G {line.get('loss_g', math.nan):.2f}" if line else ""
            note = ", ".join([note, *diary.watch.found]) if note and diary else note
            advance(min(gan.images_seen, target) - min(before, target), note=note)
            if stop:
                say(f"saved at {gan.images_seen} of {target} images seen")
                raise KeyboardInterrupt


class Diary:
    """What is written while a training goes on, by rank 0 alone; the checkpoint last, as it stands for all of it."""

    def __init__(self, gan: Gan, feed: Feed, run: Run) -> None:
        self.run, self.started, self.started_at = run, time.monotonic(), gan.images_seen
        self.chooser = Chooser(feed.pack, feed.held_out, gan, run) if feed.held_out is not None else None
        self.watch = Watch(feed.pack, feed.fed(), gan, run)
        if gan.images_seen == 0:
            draw_samples(gan.minting_generator, run, 0)
            self.watch.look(gan)

    def write(self, gan: Gan, line: dict[str, float], due: set[str]) -> None:
        """One line of the log, and of the others whatever is due."""
        if line:
            append_line(self.run.path / "log.jsonl", {"images_seen": gan.images_seen, **line})
        if "choose" in due and self.chooser:
            self.chooser.look(gan)
        if "picture" in due:
            draw_samples(gan.minting_generator, self.run, gan.images_seen)
        if "watch" in due:
            for finding in self.watch.look(gan):
                say(str(finding))
        if "checkpoint" in due:
            for log in self.run.path.glob("*.jsonl"):  # after a power cut too, what stands for them must come later
                files.flush(log)
            files.flush(self.run.path)
            save_checkpoint(gan, self.run)
            seconds = round(time.monotonic() - self.started, 3)
            clock = {"from": self.started_at, "to": gan.images_seen, "seconds": seconds}
            append_line(self.run.path / "clock.jsonl", clock)


def iterate(gan: Gan, feed: Feed) -> None:
    """K discriminator steps on new images, then K generator steps (Baker 2018, algorithm 1, in its general form).

    The fakes of the last discriminator step serve the first generator step too: G has not changed since, so one
    forward pass is saved.
    """
    recipe = gan.recipe
    layers = f"layers of rank {gan.ranks.rank}" if gan.ranks.rank else "layers"
    seeds.seed_layers(gan.seed, layers, gan.images_seen)  # dropout
    g_steps = recipe.g_steps if gan.images_seen >= recipe.pretrain_images else 0  # D alone at first, where asked for
    for k in range(recipe.d_steps):
        real, labels = feed.batch(gan.images_seen)
        with torch.set_grad_enabled(k == recipe.d_steps - 1 and g_steps > 0):
            fake = fakes(gan, labels, "z")
        _collect(gan, discriminator_step(gan, real, fake, labels))
        gan.images_seen += gan.batch
    for k in range(g_steps):
        if k > 0:
            fake = fakes(gan, labels, f"z g{k}")
        _collect(gan, generator_step(gan, real, fake, labels, k))
    average_step(gan)
    gan.iterations += 1


def _passed(before: int, gan: Gan, every: int) -> bool:
    return before // every != gan.images_seen // every


def _collect(gan: Gan, values: Values) -> None:
    for name, number in gan.ranks.mean(values).items():
        refuse_not_finite(name, number, gan)
        gan.pending[name] = gan.pending.get(name, 0.0) + number
        gan.pending[f"n {name}"] = gan.pending.get(f"n {name}", 0) + 1


def _means(gan: Gan) -> dict[str, float]:
    """A line of the log: means since the last line."""
    names = [name for name in gan.pending if not name.startswith("n ")]
    means = {name: round(gan.pending[name] / gan.pending[f"n {name}"], 6) for name in names}
    gan.pending = {}
    return means


@contextmanager
def _stop_softly() -> Iterator[list[int]]:
    """A list that is filled by Ctrl-C or SIGTERM, so that the iteration ends and a checkpoint is written first.

    A second Ctrl-C stops at once; the checkpoint before is intact.
    """
    stopping: list[int] = []
    if threading.current_thread() is not threading.main_thread():  # signals are the main thread's
        yield stopping
        return

    def note(number: int, frame: Any) -> None:
        if stopping:
            raise KeyboardInterrupt
        stopping.append(number)
        stop_signals.append(number)

    old = {number: signal.signal(number, note) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield stopping
    finally:
        for number, handler in old.items():
            signal.signal(number, handler)
