"""The one honest training loop: read it top to bottom."""

from __future__ import annotations

import math
import os
import shutil
import signal
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import IO, Any

import numpy as np
import torch
from torch import Tensor, nn

import imagemint
from imagemint import files, images, seeds
from imagemint.baselines import fit, members
from imagemint.config import Baseline, Recipe, Shown, flat, load_recipe
from imagemint.data.batches import Batches
from imagemint.data.pack import Pack, open_pack
from imagemint.errors import PackError, RunError, TrainingError
from imagemint.losses import LOSSES
from imagemint.metrics.features import Halves
from imagemint.progress import progress, say
from imagemint.runs import PackFacts, ParentFacts, Run, RunFacts, append_line, keep_lines, open_run, read_lines
from imagemint.training.choice import Chooser, hold_out
from imagemint.training.parents import load_parents, with_parents
from imagemint.training.ranks import joined
from imagemint.training.state import (
    Gan,
    check_parts,
    drop_old,
    load_checkpoint,
    new_gan,
    save_checkpoint,
    save_fitted,
    sees_labels,
)
from imagemint.training.step import Values, average_step, discriminator_step, fakes, generator_step
from imagemint.training.watch import NOT_FINITE, ROLLBACK_RATE, Watch, not_finite, refuse_not_finite, write_down

PICTURE_COLUMNS = 10  # samples of each class in a picture
PICTURE_ROWS = 20  # classes in a picture
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
                held.enter_context(_only_one(_checked(path, facts, resume)))
                _write_facts(path, facts)
        with gan.ranks.together():
            run = open_run(path)
        _load_newest(gan, run)
        _slow_down(gan, run)
        yield run


def _load_newest(gan: Gan, run: Run) -> None:
    """Rank 0 mends the folder, then all load the same checkpoint."""
    with gan.ranks.writing() as first:
        if first:
            _go_back_to_checkpoint(gan, run)
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
    with _only_one(_checked(path, facts, resume)):
        run = _write_facts(path, facts)
        if not run.checkpoints():
            _drop_half_written(run)
            generator, found = fit(pack, by_class, recipe)
            keep_lines(run.path / "log.jsonl", [{"images_seen": run.target, **found}])
            _picture(generator, run, run.target)
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
                say(f"stopped at {gan.images_seen} of {target} images; the same command with --resume goes on")
                raise KeyboardInterrupt


class Diary:
    """What is written while a training goes on, by rank 0 alone; the checkpoint last, as it stands for all of it."""

    def __init__(self, gan: Gan, feed: Feed, run: Run) -> None:
        self.run, self.started, self.started_at = run, time.monotonic(), gan.images_seen
        self.chooser = Chooser(feed.pack, feed.held_out, gan, run) if feed.held_out is not None else None
        self.watch = Watch(feed.pack, feed.fed(), gan, run)
        if gan.images_seen == 0:
            _picture(gan.minting_generator, run, 0)
            self.watch.look(gan)

    def write(self, gan: Gan, line: dict[str, float], due: set[str]) -> None:
        """One line of the log, and of the others whatever is due."""
        if line:
            append_line(self.run.path / "log.jsonl", {"images_seen": gan.images_seen, **line})
        if "choose" in due and self.chooser:
            self.chooser.look(gan)
        if "picture" in due:
            _picture(gan.minting_generator, self.run, gan.images_seen)
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


class Feed:
    """The images of a pack that a recipe can use, batch by batch, addressed by images seen.

    They stay uint8 on the disk till then. A batch is drawn from the whole pack; or, where the recipe is `balanced`,
    as much from every class, class by class; or, where it is semi-supervised and some images have no label, from both
    kinds in `labelled_share`. Where the best weights are wanted, images are held out to choose them by, and neither
    they nor exact copies of them are ever fed.
    """

    def __init__(self, pack: Pack, gan: Gan) -> None:
        self.pack, self.device, self.batch_size, self.ranks = pack, gan.device, gan.batch, gan.ranks
        self.held_out = hold_out(pack, gan.recipe, gan.seed)
        parts = _parts(pack, gan, self.held_out)
        gan.ranks.check_shares([count for _, count in parts])
        seeds_of = [gan.seed] if len(parts) == 1 else [seeds.derive(gan.seed, "part", k) for k in range(len(parts))]
        self.parts = [
            (indices, Batches(len(indices), seed), count)
            for (indices, count), seed in zip(parts, seeds_of, strict=True)
        ]

    def fed(self) -> np.ndarray:
        """Indices of the images that the networks ever see, int64, ascending."""
        return np.sort(np.concatenate([indices for indices, _, _ in self.parts]))

    def batch(self, images_seen: int) -> tuple[Tensor, Tensor]:
        """Images float `[n, c, h, w]` in [-1, 1] and labels int64 `[n]`, -1 where there is none: this rank's rows."""
        batches = images_seen // self.batch_size
        chosen = [indices[order.take(batches * count, count)] for indices, order, count in self.parts]
        picks = self.ranks.mine(np.concatenate(chosen))
        pixels, labels = torch.from_numpy(self.pack.pixels[picks]), torch.from_numpy(self.pack.labels[picks])
        return images.to_images(pixels.to(self.device)), labels.to(self.device)


def _parts(pack: Pack, gan: Gan, held_out: Halves | None) -> list[tuple[np.ndarray, int]]:
    """Which images make up a batch, and how many of each kind."""
    recipe, batch = gan.recipe, gan.batch
    labels, usable = np.asarray(pack.labels), _usable(pack, recipe, gan.sees_labels)
    if held_out is not None:
        usable = np.setdiff1d(usable, np.union1d(held_out.held_out, held_out.twins))
    if recipe.balanced:
        return [(usable[labels[usable] == k], recipe.batch_size) for k in range(len(pack.classes))]
    without = usable[labels[usable] < 0]
    if LOSSES[recipe.loss].outputs == "k+1" and len(without):
        count = min(max(round(batch * recipe.labelled_share), 1), batch - 1)
        return [(usable[labels[usable] >= 0], count), (without, batch - count)]
    return [(usable, batch)]


def _usable(pack: Pack, recipe: Recipe | Baseline, labels_matter: bool) -> np.ndarray:
    """The images that a recipe can learn from: all of them where its networks do not look at labels."""
    needs_labels = labels_matter or (isinstance(recipe, Recipe) and recipe.balanced)
    return np.flatnonzero(np.asarray(pack.labels) >= 0) if needs_labels else np.arange(len(pack))


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


@torch.inference_mode()
def _picture(generator: nn.Module, run: Run, images_seen: int) -> None:
    """Samples with the same noise every time, one class a row, as G looks now."""
    facts = run.facts
    rows = min(max(len(facts.pack.classes), 1), PICTURE_ROWS)
    count = rows * PICTURE_COLUMNS
    z = seeds.noise([seeds.derive(facts.seed, "picture", k) for k in range(count)], facts.z_size, facts.recipe.noise)
    labels = torch.arange(rows, device=facts.device).repeat_interleave(PICTURE_COLUMNS)
    training = generator.training
    made = images.to_pixels(generator.eval()(z.to(facts.device), labels)).cpu().numpy()
    generator.train(training)
    (run.path / "samples").mkdir(exist_ok=True)
    scale = max(1, 32 // max(facts.pack.size))
    made = made.repeat(scale, axis=2).repeat(scale, axis=3)
    images.save_png(images.grid(made, PICTURE_COLUMNS), run.path / "samples" / f"{images_seen:012d}.png")


def run_facts(
    pack: Pack,
    recipe: Recipe | Baseline,
    seed: int = 0,
    device: str | None = None,
    known: Sequence[ParentFacts] = (),
) -> RunFacts:
    """Everything that decides what a training computes. Raises where recipe, parents and pack do not fit.

    `known`: the parents of a run that is continued, in case their folders are gone.
    """
    parents: list[ParentFacts] = []
    recipe.check_fits(pack.channels, pack.size)
    if isinstance(recipe, Recipe):
        check_parts(recipe)
        recipe, parents = with_parents(recipe, pack, known)
    usable = _usable(pack, recipe, sees_labels(recipe, parents))
    _check_labels(pack, recipe, usable)
    chosen = usable_device(device)
    if isinstance(recipe, Baseline):
        if chosen != "cpu" and device:
            say(f"recipe {recipe.name} is fitted on the CPU, not on {device}")
        chosen = "cpu"
    return RunFacts(
        imagemint=imagemint.__version__,
        recipe=recipe,
        seed=seed,
        precision=_precision(recipe, chosen),
        device=chosen,
        pack=PackFacts(
            fingerprint=pack.fingerprint,
            images=len(usable),
            classes=pack.classes,
            channels=pack.channels,
            size=pack.size,
        ),
        parents=parents,
    )


def _check_labels(pack: Pack, recipe: Recipe | Baseline, usable: np.ndarray) -> None:
    counts = np.bincount(np.asarray(pack.labels) + 1, minlength=len(pack.classes) + 1)[1:]
    semi = isinstance(recipe, Recipe) and LOSSES[recipe.loss].outputs == "k+1"
    if not len(usable) or (semi and not counts.any()):
        raise PackError(f"no image of {pack.path} has a label", "labelled images", "pack a folder with classes")
    if isinstance(recipe, Recipe) and recipe.balanced and not counts.all():
        name = pack.classes[int(np.flatnonzero(counts == 0)[0])]
        raise PackError(
            f"class {name!r} of {pack.path} has no image and recipe {recipe.name} takes as many of every class",
            "images of every class",
            f"drop the class first (imagemint edit drop --classes {name})",
        )


def usable_device(device: str | None = None) -> str:
    """`device` if it is there, by default the fastest that is: cuda, mps or cpu. Raises RunError."""
    there = {"cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available(), "cpu": True}
    found = [name for name, is_there in there.items() if is_there]
    if device is not None and device not in found:
        problem = f"device {device} is not on this machine" if device in there else f"device {device!r}"
        raise RunError(problem, f"one of {', '.join(found)}", "leave --device out to take the fastest")
    return device or found[0]


def set_tf32(on: bool) -> None:
    """Whether CUDA may multiply fp32 as TF32, for the whole process; other devices take no notice."""
    if hasattr(torch.backends.cuda.matmul, "fp32_precision"):  # torch 2.9 on; it refuses a mixture of both ways
        torch.backends.cuda.matmul.fp32_precision = "tf32" if on else "ieee"
        torch.backends.cudnn.conv.fp32_precision = "tf32" if on else "ieee"  # type: ignore[attr-defined]
    else:
        torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = on


def _precision(recipe: Recipe | Baseline, device: str) -> str:
    """bf16 where the hardware multiplies it natively; elsewhere it is emulated and slower than fp32."""
    if isinstance(recipe, Baseline):
        return "fp64"
    if recipe.precision != "auto":
        return recipe.precision
    if device == "cuda":
        return "bf16" if torch.cuda.is_bf16_supported(including_emulation=False) else "fp32"
    native = device == "cpu" and (torch.cpu._is_avx512_bf16_supported() or torch.cpu._is_amx_tile_supported())
    return "bf16" if native else "fp32"


def _checked(path: Path, facts: RunFacts, resume: bool) -> Path:
    """The folder of a run that may be trained, made if need be; what is in it is not changed. Raises RunError."""
    if (path / "run.json").is_file():
        run = open_run(path)
        if not resume:
            found = f"a run is already at {path} ({run.images_seen} of {run.target} images)"
            raise RunError(found, "a new folder", "add --resume to continue it, or choose another --run")
        _refuse_changes(run, facts)
    elif path.exists() and (not path.is_dir() or any(not _left_by_a_kill(each) for each in path.iterdir())):
        raise RunError(f"{path} is there and is not a run", "a new or empty folder", "choose another --run")
    path.mkdir(parents=True, exist_ok=True)
    return path


def _left_by_a_kill(path: Path) -> bool:
    """What lies in a run folder before run.json does."""
    return path.name == "lock" or path.match(".run.json.*.partial")


def _write_facts(path: Path, facts: RunFacts) -> Run:
    """run.json, for one who holds the folder; of a run that is continued, the stopping point may have moved."""
    files.write_json(path / "run.json", facts.model_dump(mode="json"))
    return open_run(path)


_DESCRIBES = {"recipe.about", "recipe.source", *(f"recipe.shown_at.{key}" for key in Shown.model_fields)}
_MAY_CHANGE = {"recipe.epochs", "recipe.images", "recipe.keep", "imagemint", "processes", *_DESCRIBES}


def _refuse_changes(run: Run, facts: RunFacts) -> None:
    old, new = _settings(run.facts), _settings(facts)
    changed = [key for key in sorted(old | new) if old.get(key) != new.get(key) and key not in _MAY_CHANGE]
    if changed:
        differences = ", ".join(f"{key} was {old.get(key)} and is {new.get(key)}" for key in changed)
        remedy = "resume with what it was, or train into a new folder"
        raise RunError(f"run {run.path} was trained differently: {differences}", "the same recipe and pack", remedy)


def _settings(facts: RunFacts) -> dict[str, Any]:
    """What must not change, by dotted keys; parents are what their weights are, wherever they lie."""
    tree = facts.model_dump(mode="json")
    tree["recipe"]["parents"] = {str(k): parent.weights for k, parent in enumerate(facts.parents, 1)}
    return flat({key: value for key, value in tree.items() if key != "parents"})


def _go_back_to_checkpoint(gan: Gan, run: Run) -> None:
    """Load the newest whole checkpoint and forget what was logged, drawn or half-written after it."""
    _drop_half_written(run)
    drop_old(run)  # a kill may have come between the newest checkpoint and this
    checkpoints = run.checkpoints()
    while checkpoints:
        try:
            load_checkpoint(gan, checkpoints[-1])
            break
        except RunError as error:
            if len(checkpoints) == 1:
                raise
            say(f"{error.found}: going back to the checkpoint before it")
            shutil.rmtree(checkpoints.pop())
    for log in (run.path / f"{name}.jsonl" for name in ("log", "choice", "watch", "findings")):
        if log.is_file():
            keep_lines(log, [line for line in read_lines(log) if line["images_seen"] <= gan.images_seen])
    for picture in run.samples():
        if int(picture.stem) > gan.images_seen:
            picture.unlink()


def _drop_half_written(run: Run) -> None:
    for aside in sorted(run.path.rglob(".*.partial"), reverse=True):  # left by a kill; the folder is locked
        shutil.rmtree(aside) if aside.is_dir() else aside.unlink()


@contextmanager
def _only_one(path: Path) -> Iterator[None]:
    """Refuse a second process in the same run folder. The system drops the lock when the process dies."""
    with (path / "lock").open("w") as file:
        try:
            _lock(file)
        except OSError:
            remedy = "wait for it, or choose another --run"
            raise RunError(f"another process is training into {path}", "the folder to itself", remedy) from None
        yield


def _lock(file: IO[str]) -> None:
    if os.name == "nt":
        import msvcrt

        msvcrt.locking(file.fileno(), msvcrt.LK_NBLCK, 1)  # type: ignore[attr-defined]
    else:
        import fcntl

        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)


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

    old = {number: signal.signal(number, note) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield stopping
    finally:
        for number, handler in old.items():
            signal.signal(number, handler)
