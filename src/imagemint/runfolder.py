"""What a run says of itself: the files of the folder that one training writes, as types. `runs.open_run` reads them.

RUN/
  run.json               written first: recipe as resolved, seed, precision, the pack's fingerprint and classes
  log.jsonl              one line every `log_every` images: losses; no clock, so that runs can be compared
                         (of a baseline one line: components and explained variance of each class)
  choice.jsonl           one line every `choose_every` images where the best weights are wanted (training.choice)
  judge.safetensors      the classifier whose features that choice is made on
  watch.jsonl            one line every `watch_every` images: measures of samples and of D's logits (training.watch)
  findings.jsonl         what is wrong with the training, one line each, as soon as it is known
  clock.jsonl            seconds spent since the beginning of the session, one line per checkpoint
  samples/000025000.png  sample grids, by images seen
  tracking/              how much was posted where, with --track (imagemint.tracking)
  checkpoints/000025000/ weights.safetensors, optimizers.safetensors, state.json (written last)
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, TypeVar

from pydantic import BaseModel, ConfigDict, Field, SerializeAsAny, ValidationError

from imagemint.checkpoints import State, read_state
from imagemint.errors import RecipeError, RunError
from imagemint.files import Damaged, read_json, read_lines
from imagemint.recipe import AnyRecipe
from imagemint.settings import Strict

Side = Annotated[int, Field(ge=1, le=65_536)]


class PackFacts(Strict):
    """What a run must know of the pack that it was trained on."""

    fingerprint: str
    images: int = Field(ge=1)
    classes: list[str]
    channels: int = Field(ge=1, le=3)
    size: tuple[Side, Side]
    path: str | None = Field(default=None, description="where the pack was when the training began")


class Commit(Strict):
    """The state of the git working folder that a training was started in."""

    commit: str
    dirty: bool = Field(description="tracked files differ from the commit")


class RunFacts(Strict):
    """`run.json`: everything that decides what a training computes. A method may add its own facts."""

    imagemint: str
    git: Commit | None = None
    recipe: SerializeAsAny[AnyRecipe]
    seed: int
    precision: str
    device: str
    processes: int = 1
    pack: PackFacts

    @property
    def learned_from(self) -> list[str]:
        """Fingerprints of all packs that the run learned from, its own first."""
        return [self.pack.fingerprint]

    def decisive(self) -> dict[str, Any]:
        """Plain values of everything that must be the same when the run is continued."""
        return {**self.model_dump(mode="json"), "recipe": self.recipe.decided(self.pack.channels)}


Facts = TypeVar("Facts", bound=RunFacts)


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
    def recipe(self) -> AnyRecipe:
        """The recipe as resolved, overrides included."""
        return self.facts.recipe

    @property
    def target(self) -> int:
        """Images seen at which the training ends."""
        return self.recipe.target(self.facts.pack.images)

    def lines(self, name: str) -> list[dict[str, Any]]:
        """The lines of a JSON-lines file of the folder; none where it is not there. Raises RunError."""
        try:
            return read_lines(self.path / name)
        except Damaged as error:
            raise self.damaged_lines(name, error) from None

    def damaged_lines(self, name: str, error: Damaged) -> RunError:
        """What to raise where a JSON-lines file of the folder is damaged."""
        wanted = "JSON lines as training writes them"
        return RunError(f"{self.path / name} {error}", wanted, "train into a new folder")

    def log(self) -> list[dict[str, Any]]:
        """The lines of log.jsonl: images_seen, loss_d, loss_g, ..."""
        return self.lines("log.jsonl")

    def choices(self) -> list[dict[str, Any]]:
        """The lines of choice.jsonl: images_seen, fd_lenet by class (or of "all"), what was chosen."""
        return self.lines("choice.jsonl")

    def findings(self) -> list[Finding]:
        """What is wrong with the training, in the order in which it became known; best if there is none."""
        try:
            return [Finding.model_validate(line) for line in self.lines("findings.jsonl")]
        except ValidationError:
            file = self.path / "findings.jsonl"
            raise RunError(
                f"{file} is damaged", "findings as training writes them", "train into a new folder"
            ) from None

    def samples(self) -> list[Path]:
        """Sample grids in order of images seen."""
        return sorted((self.path / "samples").glob("*.png"))

    def checkpoints(self) -> list[Path]:
        """Checkpoint folders, oldest first."""
        found = (self.path / "checkpoints").glob("[0-9]*")
        return sorted(path for path in found if path.name.isascii() and path.name.isdigit() and _is_whole(path))

    @property
    def checkpoint_hash(self) -> str:
        """sha256 of the newest weights."""
        return self.state().weights

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

    def state(self, checkpoint: Path | None = None) -> State:
        """What a checkpoint, by default the newest, says of itself. Raises RunError where it is damaged."""
        return read_state(checkpoint or self.newest())


def seconds_spent(clock: Sequence[dict[str, Any]]) -> float:
    """Seconds of all sessions in the lines of clock.jsonl: the last line of each session counts.

    >>> first = [{"from": 0, "to": 500, "seconds": 2.0}, {"from": 0, "to": 1000, "seconds": 4.5}]
    >>> seconds_spent([*first, {"from": 1000, "to": 1500, "seconds": 2.5}])
    7.0
    """
    nexts = [*clock[1:], None]
    ends = (
        line
        for line, after in zip(clock, nexts, strict=False)
        if after is None or after["from"] != line["from"] or after["to"] <= line["to"]
    )
    return float(sum(line["seconds"] for line in ends))


def _is_whole(checkpoint: Path) -> bool:
    return (checkpoint / "state.json").is_file()


def open_folder(path: Path, facts_of: Callable[[dict[str, Any]], RunFacts]) -> Run:
    """Open a run folder; `facts_of` makes the facts from what run.json holds. Raises RunError."""
    file = path / "run.json"
    if not file.is_file():
        found = f"no run at {path}" if not path.exists() else f"{path} has no run.json"
        raise RunError(found, "a folder that imagemint train wrote", "check the path or train first")
    try:
        tree = read_json(file)
        if not isinstance(tree, dict) or not isinstance(tree.get("recipe"), dict):
            raise Damaged("is damaged (it holds no recipe)")
        facts = facts_of(tree)
        facts.recipe.check_fits(facts.pack.channels, facts.pack.size)
        return Run(path, facts)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        problem = f"is damaged ({'.'.join(map(str, first['loc']))}: {first['msg']})"
    except RecipeError as error:
        problem = f"is damaged ({error.found})"
    except Damaged as error:
        problem = str(error)
    raise RunError(f"{file} {problem}", "a whole run.json", "train into a new folder")


def facts_from(tree: dict[str, Any], recipe: type[AnyRecipe], facts: type[Facts]) -> Facts:
    """The facts in what a run.json holds. Raises pydantic's ValidationError, or RecipeError."""
    known = still_known(tree, facts)
    return facts.model_validate({**known, "recipe": recipe.model_validate(still_known(tree["recipe"], recipe))})


def still_known(tree: dict[str, Any], model: type[BaseModel]) -> dict[str, Any]:
    """What was saved, without what a later version no longer has, where it was off (false, empty or null)."""
    return {key: value for key, value in tree.items() if key in model.model_fields or value not in (False, None, [])}
