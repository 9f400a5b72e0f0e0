"""A run: the folder that one training writes, its file names, and how it is opened.

RUN/
  run.json               written first: recipe as resolved, seed, precision, the pack's fingerprint and classes
  log.jsonl              one line every `log_every` images: losses; no clock, so that runs can be compared
                         (of a baseline one line: components and explained variance of each class)
  choice.jsonl           one line every `choose_every` images where the best weights are wanted (training.choice)
  judge.safetensors      the classifier whose features that choice is made on
  watch.jsonl            one line every `watch_every` images: measures of samples and of D's logits (training.watch)
  findings.jsonl         what is wrong with the training, one line each, as soon as it is known
  clock.jsonl            seconds spent, for the curious
  samples/000025000.png  sample grids, by images seen
  checkpoints/000025000/ weights.safetensors, optimizers.safetensors, state.json (written last)
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, ValidationError

from imagemint.config import AnyRecipe, Baseline, Recipe
from imagemint.errors import RunError
from imagemint.files import read_lines


class PackFacts(BaseModel):
    """What a run must know of the pack that it was trained on."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    fingerprint: str
    images: int
    classes: list[str]
    channels: int
    size: tuple[int, int]


class ParentFacts(BaseModel):
    """A trained run whose generator became a part of another's: enough to build it; its weights are in that other."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    run: str  # where it was; nothing is read from there once the first checkpoint is written
    weights: str  # sha256 of its checkpoint's weights
    images_seen: int
    recipe: Recipe
    pack: PackFacts
    parents: list[ParentFacts] = []


class RunFacts(BaseModel):
    """`run.json`: everything that decides what a training computes."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    imagemint: str
    recipe: AnyRecipe
    seed: int
    precision: str
    device: str
    processes: int = 1
    pack: PackFacts
    parents: list[ParentFacts] = []

    @property
    def z_size(self) -> int:
        """Random numbers that each image is made from."""
        h, w = self.pack.size
        recipe = self.recipe
        return recipe.z_size if isinstance(recipe, Recipe) else recipe.numbers(self.pack.channels * h * w)


def seen_packs(facts: RunFacts | ParentFacts) -> list[str]:
    """Fingerprints of all packs that the generator learned from: its own first, then those of its parents."""
    found = [facts.pack.fingerprint, *(each for parent in facts.parents for each in seen_packs(parent))]
    return list(dict.fromkeys(found))


class Finding(BaseModel):
    """Something that is wrong with a training, in words."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    images_seen: int  # when it was known
    name: str
    began: int  # images seen when it began
    evidence: str
    remedy: str

    def __str__(self) -> str:
        return f"{self.name} since {self.began:,} images: {self.evidence}; {self.remedy}"


@dataclass(frozen=True)
class Run:
    """An open run folder."""

    path: Path
    facts: RunFacts

    @property
    def recipe(self) -> Recipe | Baseline:
        """The recipe as resolved, overrides included."""
        return self.facts.recipe

    @property
    def target(self) -> int:
        """Images seen at which the training ends."""
        return self.recipe.target(self.facts.pack.images)

    def log(self) -> list[dict[str, Any]]:
        """The lines of log.jsonl: images_seen, loss_d, loss_g, ..."""
        return read_lines(self.path / "log.jsonl")

    def choices(self) -> list[dict[str, Any]]:
        """The lines of choice.jsonl: images_seen, fd_lenet by class (or of "all"), what was chosen."""
        return read_lines(self.path / "choice.jsonl")

    def findings(self) -> list[Finding]:
        """What is wrong with the training, in the order in which it became known; empty is what one wants."""
        return [Finding.model_validate(line) for line in read_lines(self.path / "findings.jsonl")]

    def samples(self) -> list[Path]:
        """Sample grids in order of images seen."""
        return sorted((self.path / "samples").glob("*.png"))

    def checkpoints(self) -> list[Path]:
        """Checkpoint folders, oldest first."""
        return sorted(path for path in (self.path / "checkpoints").glob("[0-9]*") if (path / "state.json").is_file())

    @property
    def checkpoint_hash(self) -> str:
        """sha256 of the newest weights."""
        return str(checkpoint_state(self.newest())["weights"])

    @property
    def images_seen(self) -> int:
        """How far the newest checkpoint has come."""
        checkpoints = self.checkpoints()
        return int(checkpoints[-1].name) if checkpoints else 0

    def newest(self) -> Path:
        """The newest checkpoint; RunError where there is none yet."""
        checkpoints = self.checkpoints()
        if not checkpoints:
            remedy = "continue the training with --resume"
            raise RunError(f"run {self.path} has no checkpoint yet", "a run that was trained for a while", remedy)
        return checkpoints[-1]

    def checkpoint(self, images_seen: int) -> Path:
        """The kept checkpoint at so many images seen; RunError, which names those that are kept, for another."""
        newest = self.newest()
        found = {int(path.name): path for path in self.checkpoints()}
        if images_seen not in found:
            kept = ", ".join(map(str, found))
            remedy = "take one of these; a recipe keeps more with --set keep=N"
            raise RunError(
                f"{newest.parent} has no checkpoint at {images_seen} images seen", f"one of {kept}", remedy
            )
        return found[images_seen]


def open_run(path: Path | str | Run) -> Run:
    """Open a run folder. Raises RunError where it is missing or damaged."""
    if isinstance(path, Run):
        return path
    path = Path(path)
    file = path / "run.json"
    if not file.is_file():
        found = f"no run at {path}" if not path.exists() else f"{path} has no run.json"
        raise RunError(found, "a folder that imagemint train wrote", "check the path or train first")
    try:
        return Run(path, RunFacts.model_validate_json(file.read_bytes()))
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        where = ".".join(map(str, first["loc"]))
        problem = f"{file} is damaged ({where}: {first['msg']})"
        raise RunError(problem, "a whole run.json", "train into a new folder") from None


def list_runs(folder: Path | str = ".") -> list[Run]:
    """Every run in a folder, at any depth, in order of path."""
    return [open_run(file.parent) for file in sorted(Path(folder).rglob("run.json"))]


def checkpoint_state(checkpoint: Path) -> dict[str, Any]:
    """`state.json` of a checkpoint. Raises RunError where it is damaged."""
    try:
        state = json.loads((checkpoint / "state.json").read_text())
        state["weights"], state["images_seen"]
    except (ValueError, KeyError, TypeError):
        remedy = f"remove {checkpoint}: the one before it is used then"
        raise RunError(f"{checkpoint / 'state.json'} is damaged", "a whole state.json", remedy) from None
    return state
