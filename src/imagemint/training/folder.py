"""The keeping of a run folder: who may write into it, what it must agree with, what a kill leaves behind."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

import torch
from torch import nn

from imagemint import files, images, seeds
from imagemint.config import Shown, flat
from imagemint.errors import RunError
from imagemint.files import keep_lines, read_lines
from imagemint.progress import say
from imagemint.runs import Run, RunFacts, open_run
from imagemint.training.state import Gan, drop_old, load_checkpoint

PICTURE_COLUMNS = 10  # samples of each class in a picture
PICTURE_ROWS = 20  # classes in a picture


def checked_folder(path: Path, facts: RunFacts, resume: bool) -> Path:
    """The folder of a run that may be trained, made if need be; what is in it is not changed. Raises RunError."""
    if (path / "run.json").is_file():
        run = open_run(path)
        if not resume:
            found = f"a run is already at {path} ({run.images_seen} of {run.target} images)"
            raise RunError(found, "a new folder", "add --resume to continue it, or choose another --run")
        refuse_changes(run, facts)
    elif path.exists() and (not path.is_dir() or any(not _left_by_a_kill(each) for each in path.iterdir())):
        raise RunError(f"{path} is there and is not a run", "a new or empty folder", "choose another --run")
    path.mkdir(parents=True, exist_ok=True)
    return path


def _left_by_a_kill(path: Path) -> bool:
    """What lies in a run folder before run.json does."""
    return path.name == "lock" or path.match(".run.json.*.partial")


def write_facts(path: Path, facts: RunFacts) -> Run:
    """Write run.json, for one who holds the folder; of a run that is continued, the stopping point may have moved."""
    files.write_json(path / "run.json", facts.model_dump(mode="json"))
    return open_run(path)


_DESCRIBES = {"recipe.about", "recipe.source", *(f"recipe.shown_at.{key}" for key in Shown.model_fields)}
_MAY_CHANGE = {"recipe.epochs", "recipe.images", "recipe.keep", "imagemint", "processes", *_DESCRIBES}


def refuse_changes(run: Run, facts: RunFacts) -> None:
    """Raise RunError where a run cannot go on as `facts` say, naming every difference that matters."""
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


def go_back_to_checkpoint(gan: Gan, run: Run) -> None:
    """Load the newest whole checkpoint and forget what was logged, drawn or half-written after it."""
    drop_half_written(run)
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


def drop_half_written(run: Run) -> None:
    """Remove what a kill left half-written, for one who holds the folder."""
    for aside in sorted(run.path.rglob(".*.partial"), reverse=True):  # left by a kill; the folder is locked
        shutil.rmtree(aside) if aside.is_dir() else aside.unlink()


@contextmanager
def only_one(path: Path) -> Iterator[None]:
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


@torch.inference_mode()
def draw_samples(generator: nn.Module, run: Run, images_seen: int) -> None:
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
