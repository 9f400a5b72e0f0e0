"""The one honest training loop: read it top to bottom."""

from __future__ import annotations

import math
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

import torch

from imagemint import seeds
from imagemint.errors import TrainingError
from imagemint.progress import progress, say, stop_signals
from imagemint.runfolder import Run
from imagemint.training.diary import Diary, due, go_back_to_checkpoint
from imagemint.training.feed import Feed
from imagemint.training.finite import not_finite, refuse_not_finite, slow_down
from imagemint.training.state import Gan, Kind, load_checkpoint, new_gan
from imagemint.training.step import Values, average_step, discriminator_step, fakes, generator_step
from imagemint.training.watch import write_down

_MOST_UNREAD = 1000  # steps whose values are kept on the device: as long can a training go on after a NaN


def train_gan(gan: Gan, feed: Feed, run: Run) -> None:
    """Iterate until the recipe's images are seen, and write what is due. Ctrl-C and SIGTERM write a checkpoint first.

    Raises TrainingError where a number is not finite.
    """
    target, ranks = run.target, gan.ranks
    with ranks.writing() as first:
        diary = Diary(gan, feed, run) if first else None
    with progress(target, "train", done=gan.images_seen, unit="images") as advance, stop_softly() as stopping:
        while gan.images_seen < target:
            before = gan.images_seen
            iterate(gan, feed)
            stop = ranks.any(bool(stopping))
            what = due(before, gan, last=gan.images_seen >= target) | ({"checkpoint"} if stop else set())
            if what or len(gan.unread) >= _MOST_UNREAD:
                _read(gan)
            line = _means(gan) if "log" in what else {}
            if what:
                with ranks.writing():
                    if diary:
                        diary.write(gan, line, what)
            advance(min(gan.images_seen, target) - min(before, target), note=_note(line, diary))
            if stop:
                say(f"saved at {gan.images_seen} of {target} images seen")
                raise KeyboardInterrupt


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


def _collect(gan: Gan, values: Values) -> None:
    """Keep the values of a step for the next line's means. They stay on the device, which nobody waits for here."""
    gan.unread.append((gan.images_seen, gan.iterations, values))


def _read(gan: Gan) -> None:
    """Fetch all values that were kept, in one transfer, before anything is written: nothing is saved after a NaN.

    Raises TrainingError at the first number that is not finite, as of the step that made it.
    """
    steps, gan.unread = gan.unread, []
    kept = {(k, name): value for k, (_, _, values) in enumerate(steps) for name, value in values.items()}
    for (k, name), number in gan.ranks.mean(kept).items():
        if not math.isfinite(number):
            gan.images_seen, gan.iterations, _ = steps[k]  # what came after it is lost anyway
            refuse_not_finite(name, number, gan)
        total, count = gan.pending.get(name, (0.0, 0))
        gan.pending[name] = (total + number, count + 1)


def _means(gan: Gan) -> dict[str, float]:
    """A line of the log: means since the last line."""
    means = {name: round(total / count, 6) for name, (total, count) in gan.pending.items()}
    gan.pending = {}
    return means


def _note(line: dict[str, float], diary: Diary | None) -> str:
    """What stands beside the bar: the losses, without G's while D trains alone, and what is wrong."""
    if not line:
        return ""
    losses = [f"{side} {line[name]:.2f}" for side, name in (("D", "loss_d"), ("G", "loss_g")) if name in line]
    return ", ".join([f"loss {' '.join(losses)}", *(diary.watch.found if diary else [])])


def train_from_folder(gan: Gan, feed: Feed, run: Run, kind: Kind) -> None:
    """Go on from the newest whole checkpoint, if there is one, to the end; roll back where the recipe says so."""
    _load_newest(gan, run)
    slow_down(gan, run)
    while True:
        try:
            return train_gan(gan, feed, run)
        except TrainingError as error:
            gan = _roll_back(error, gan, run, kind)


def _load_newest(gan: Gan, run: Run) -> None:
    """Rank 0 mends the folder, then all load the same checkpoint."""
    with gan.ranks.writing() as first:
        if first:
            go_back_to_checkpoint(gan, run)
    with gan.ranks.together():
        for checkpoint in [] if gan.ranks.first else run.checkpoints()[-1:]:
            load_checkpoint(gan, checkpoint)


def _roll_back(error: TrainingError, gan: Gan, run: Run, kind: Kind) -> Gan:
    """Note that a number is not finite; then the last checkpoint with lower rates, if the recipe says so, once.

    The rates must change: everything random is addressed by images seen, so the same would happen again. Raises the
    error where nothing is to be rolled back.
    """
    failed, back = gan.images_seen, gan.recipe.rollback and not gan.slowed
    if back:
        gan = new_gan(run.facts, gan.ranks, kind)
        if not run.checkpoints():
            kind.begin(gan, run.facts)
        _load_newest(gan, run)
    with gan.ranks.writing() as first:
        if first:
            finding = write_down(run, not_finite(error, failed, gan.images_seen, rolled_back=back))
    if not back:
        raise error
    if gan.ranks.first:
        say(str(finding))
    slow_down(gan, run)
    return gan


@contextmanager
def stop_softly() -> Iterator[list[int]]:
    """A list that is filled by Ctrl-C or SIGTERM, so that the iteration ends and a checkpoint is written first.

    A second Ctrl-C stops at once; the checkpoint before is intact.
    """
    stopping: list[int] = []
    if threading.current_thread() is not threading.main_thread():  # signals are the main thread's
        yield stopping
        return

    def note(number: int, frame: FrameType | None) -> None:
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
