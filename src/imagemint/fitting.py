"""pack + recipe -> run, by whatever method the recipe is for. What the folder of a run holds: imagemint.runfolder."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import IO, Any

from imagemint import files
from imagemint.arguments import whole
from imagemint.config import load_recipe
from imagemint.data.pack import Pack, open_pack
from imagemint.data.remote import on_this_machine
from imagemint.errors import RunError
from imagemint.methods import method_of, settle
from imagemint.recipe import DESCRIBES, AnyRecipe
from imagemint.runfolder import Run, RunFacts
from imagemint.runs import open_run
from imagemint.settings import flat
from imagemint.training.ranks import Ranks, joined


def train(
    pack: Pack | Path | str,
    recipe: AnyRecipe | Path | str,
    run: Path | str,
    *,
    seed: int = 0,
    epochs: float | None = None,
    images: int | None = None,
    resume: bool = False,
    device: str | None = None,
    **overrides: Any,
) -> Run:
    """Train, or fit, what a recipe is for and write the run folder; the newest checkpoint is what `mint` uses.

    `epochs` or `images` replaces the recipe's duration; `overrides` replaces other fields, dotted keys as
    `**{"optimizer_g.lr": 1e-4}`. Where the recipe names parents (mitlgan), their folders are needed until the first
    checkpoint is written. With `resume`, a run that is there is continued, bit for bit as if it had never stopped (on
    the CPU), or returned at once when it is finished; another recipe, seed or pack is refused.

    Raises RecipeError, PackError, RunError before anything is written; TrainingError when a loss is no longer finite.

    >>> from imagemint import pack
    >>> run = train(pack("digits", "digits.pack"), "demo", "run", images=128)  # a real training sees 60,000 and more
    >>> run.images_seen, run.findings()
    (128, [])
    """
    duration = {"epochs": epochs, "images": images}
    overrides |= {key: value for key, value in duration.items() if value is not None}
    path = on_this_machine(run, "a run")
    with joined(device) as ranks:
        with ranks.together():
            pack = open_pack(pack)
            continued = open_run(path) if resume and (path / "run.json").is_file() else None
            chosen = load_recipe(recipe, overrides)
            known = continued.facts if continued else None
            facts = settle(pack, chosen, seed=whole(seed, "seed"), device=device, continued=known)
            facts = facts.model_copy(update={"processes": ranks.world})
            begins = continued is None or not continued.checkpoints()
            fill = method_of(chosen.model).prepare(pack, facts, ranks, begins)
        with _opened(path, facts, ranks, resume=resume) as opened:
            fill(opened)
            return opened


def check_fits(pack: Pack, recipe: AnyRecipe, *, seed: int = 0, device: str | None = None) -> RunFacts:
    """Raise whatever `train` would raise about pack and recipe before it writes anything; else the run's facts."""
    facts = settle(pack, recipe, seed=seed, device=device)
    method_of(recipe.model).prepare(pack, facts, Ranks(), True)
    return facts


@contextmanager
def _opened(path: Path, facts: RunFacts, ranks: Ranks, *, resume: bool) -> Iterator[Run]:
    """The run folder, new or continued, held by rank 0."""
    with ExitStack() as held:
        with ranks.writing() as first:
            if first:
                held.enter_context(only_one(checked_folder(path, facts, resume)))
                drop_half_written(write_facts(path, facts))
        with ranks.together():
            run = open_run(path)
        yield run


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
    try:
        path.mkdir(parents=True, exist_ok=True)
    except (FileExistsError, NotADirectoryError):
        raise RunError(f"a part of the path {path} is a file", "a new folder", "choose another --run") from None
    return path


def _left_by_a_kill(path: Path) -> bool:
    """What lies in a run folder before run.json does."""
    return path.name == "lock" or path.match(".run.json.*.partial")


def write_facts(path: Path, facts: RunFacts) -> Run:
    """Write run.json, for one who holds the folder; of a run that is continued, the stopping point may have moved."""
    files.write_json(path / "run.json", facts.model_dump(mode="json"))
    return open_run(path)


_STOPS = {"recipe.epochs", "recipe.images", "recipe.keep"}
_MAY_CHANGE = {
    "imagemint",
    "git",
    "git.commit",
    "git.dirty",
    "processes",
    "pack.path",
    *_STOPS,
    *(f"recipe.{key}" for key in DESCRIBES),
}


def refuse_changes(run: Run, facts: RunFacts) -> None:
    """Raise RunError where a run cannot go on as `facts` say, naming every difference that matters."""
    old, new = _decisive(run.facts), _decisive(facts)
    changed = [key for key in sorted(old | new) if old.get(key) != new.get(key) and key not in _MAY_CHANGE]
    if changed:
        differences = ", ".join(f"{key} was {old.get(key)} and is {new.get(key)}" for key in changed)
        remedy = "resume with what it was, or train into a new folder"
        raise RunError(f"run {run.path} was trained differently: {differences}", "the same recipe and pack", remedy)


def _decisive(facts: RunFacts) -> dict[str, Any]:
    """What must not change, by dotted keys."""
    return flat(facts.decisive())


def drop_half_written(run: Run) -> None:
    """Remove what a kill left half-written, for one who holds the folder."""
    for aside in sorted(run.path.rglob(".*.partial"), reverse=True):
        shutil.rmtree(aside) if aside.is_dir() else aside.unlink()


@contextmanager
def only_one(path: Path, doing: str = "training", option: str = "--run") -> Iterator[None]:
    """Refuse a second process in the same folder. The system drops the lock when the process dies."""
    with (path / "lock").open("w") as file:
        try:
            _lock(file)
        except OSError:
            remedy = f"wait for it, or choose another {option}"
            raise RunError(f"another process is {doing} into {path}", "the folder to itself", remedy) from None
        yield


def _lock(file: IO[str]) -> None:
    if os.name == "nt":
        import msvcrt

        msvcrt.locking(file.fileno(), msvcrt.LK_NBLCK, 1)  # type: ignore[attr-defined]
    else:
        import fcntl

        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
