"""What there is to post of a run: its files, read from where the last post stopped."""

from __future__ import annotations

import os
import socket
import uuid
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict

from imagemint import files
from imagemint.errors import RunError
from imagemint.runs import Finding, Run
from imagemint.settings import flat
from imagemint.words import shown

FOLDER = "tracking"  # of a run or study: its identity, its state, and a position per target


class State(BaseModel):
    """`tracking/state.json`: what the process that trains says of itself."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    state: Literal["running", "finished", "stopped", "failed"]
    reason: str = ""


class Position(BaseModel):
    """`tracking/TARGET.json`: how much was posted; written after the post, so that a kill in between repeats it."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    target: str
    remote: str = ""  # what the target calls the run
    begun: int = 0  # milliseconds since 1970 at which the target says that it began
    log: int = 0  # lines
    watch: int = 0
    findings: int = 0
    samples: tuple[str, ...] = ()
    state: State | None = None


Value = tuple[str, int, float]  # name, images seen, value


@dataclass(frozen=True)
class News:
    """What a target does not have yet."""

    values: list[Value]
    looks: list[dict[str, Any]]  # lines of watch.jsonl
    findings: list[Finding]
    samples: list[Path]
    then: Position  # once all of it is posted

    @property
    def state(self) -> State:
        """What the run is now."""
        assert self.then.state is not None
        return self.then.state

    def __bool__(self) -> bool:
        return bool(self.values or self.looks or self.findings or self.samples)


def news_of(run: Run, position: Position) -> News:
    """What is there beyond `position`. Raises RunError where the folder is damaged or has gone."""
    log, logged = _new_lines(run, "log.jsonl", position.log)
    looks, looked = _new_lines(run, "watch.jsonl", position.watch)
    findings = run.findings()
    values = [each for line in log for each in _numbers(line, "")]
    values += [each for line in looks for each in _numbers(line, "watch.")]
    samples = [path for path in run.samples() if path.name not in position.samples]
    then = position.model_copy(
        update={
            "log": max(logged, position.log),
            "watch": max(looked, position.watch),
            "findings": max(len(findings), position.findings),
            "samples": (*position.samples, *(path.name for path in samples)),
            "state": state_of(run),
        }
    )
    return News(values, looks, findings[position.findings :], samples, then)


_FILES: dict[Path, files.Growing] = {}  # that this process has read lines of


def _new_lines(run: Run, name: str, known: int) -> tuple[list[dict[str, Any]], int]:
    """The lines after the first `known`, and how many there are in all."""
    path = (run.path / name).absolute()
    file = _FILES.setdefault(path, files.Growing(path))
    try:
        return file.after(known), file.lines
    except files.Damaged as error:
        raise run.damaged_lines(name, error) from None


def _numbers(line: dict[str, Any], prefix: str) -> list[Value]:
    seen = int(line.get("images_seen", 0))
    found = flat({key: value for key, value in line.items() if key != "images_seen"})
    numbers = {key: value for key, value in found.items() if isinstance(value, (int, float)) and value == value}
    return [(prefix + key, seen, float(value)) for key, value in numbers.items() if not isinstance(value, bool)]


def parameters(run: Run) -> dict[str, str]:
    """The resolved recipe and what else decides the training, by dotted key."""
    return {key: shown(str(value))[:500] for key, value in flat(run.facts.decisive()).items() if value is not None}


def tags(run: Run) -> dict[str, str]:
    """What a run is found by: version, commit, pack, machine."""
    facts = run.facts
    found = {
        "imagemint.version": facts.imagemint,
        "imagemint.recipe": facts.recipe.name,
        "imagemint.pack": facts.pack.fingerprint,
        "imagemint.folder": str(run.path.absolute()),
        "imagemint.host": socket.gethostname(),
        "imagemint.user": os.environ.get("USER", ""),
    }
    if facts.git is not None:
        found["mlflow.source.git.commit"] = found["imagemint.commit"] = facts.git.commit
        found["imagemint.dirty"] = str(facts.git.dirty).lower()
    return {key: shown(value)[:500] for key, value in found.items()}


# --- the folder ---


def identity(path: Path) -> str:
    """A name that this folder alone has; made at the first call, and kept."""
    file = path / FOLDER / "id"
    file.parent.mkdir(exist_ok=True)
    try:
        with file.open("x", encoding="ascii") as new:
            new.write(uuid.uuid4().hex)
    except FileExistsError:
        pass
    return file.read_text(encoding="ascii").strip()[:64] or path.name


def read_position(path: Path, target: str, key: str) -> Position:
    """Where the last post to a target stopped; the beginning where nothing was, or nobody knows."""
    try:
        position = files.read_model(path / FOLDER / f"{key}.json", Position)
    except (FileNotFoundError, files.Damaged):
        return Position(target=target)
    return position if position.target == target else Position(target=target)


def write_position(path: Path, key: str, position: Position) -> None:
    """After a post."""
    files.write_json(path / FOLDER / f"{key}.json", position.model_dump(mode="json"))


def write_state(path: Path, state: State) -> None:
    """What the process that trains says; nothing where there is no run or study yet."""
    if any((path / name).exists() for name in ("run.json", "study.json")):
        (path / FOLDER).mkdir(exist_ok=True)
        files.write_json(path / FOLDER / "state.json", state.model_dump())


def read_state(path: Path) -> State | None:
    """What the process that trained said last."""
    try:
        return files.read_model(path / FOLDER / "state.json", State)
    except (FileNotFoundError, files.Damaged):
        return None


def state_of(run: Run) -> State:
    """What its process said last; a run that nobody said anything of is finished or stopped by how far it came."""
    said = read_state(run.path)
    try:
        complete = run.images_seen >= run.target
    except RunError:
        complete = False
    if said is None or (said.state == "running" and complete):
        return State(state="finished" if complete else "stopped")
    return said
