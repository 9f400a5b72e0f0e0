"""Posting once (`track`), and beside a training that goes on (`following`)."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import Any, Protocol

from imagemint.errors import RunError, TrackingError
from imagemint.progress import say
from imagemint.runs import Run, open_run
from imagemint.studies.results import open_study
from imagemint.tracking.news import (
    News,
    Position,
    State,
    Value,
    news_of,
    read_position,
    read_state,
    write_position,
    write_state,
)
from imagemint.tracking.targets import Target, Unreachable, check, target_of
from imagemint.words import shown

PAUSE, LONGEST = 2.0, 30.0  # seconds between two posts; and at most, while the server does not answer
GRACE = 20.0  # seconds that a training waits at its end for the rest to be posted
_NOT_POSTED = 3  # exit status of a poster that could not post everything


class Poster(Protocol):
    """What posts news: Mlflow or Board."""

    def post(self, run: Run, news: News, *, checkpoints: bool = False) -> Position:
        """Send all of it; what the position is then. Raises Unreachable."""


def track(path: Path | str, to: str | Target, *, checkpoints: bool = False) -> int:
    """Post a run or study of any age, finished or not; how many values were new to the target.

    Everything is there once, however often it is posted. `checkpoints`: the newest weights too (MLflow only). Raises
    TrackingError where the target cannot be posted to, RunError or StudyError where there is neither run nor study.
    """
    path, target = Path(path), to if isinstance(to, Target) else target_of(to)
    kind = _kind(path)
    try:
        check(target)
        return (
            _post_study(path, target, checkpoints)
            if kind == "study"
            else _post_run(path, _poster(target), target, checkpoints)
        )
    except Unreachable as error:
        remedy = "check the address, or post later with the same command"
        raise TrackingError(f"{target.where} {error}", "a server that answers", remedy) from None


@contextmanager
def following(path: Path, to: str | Sequence[str]) -> Iterator[None]:
    """Post the run or study at `path` to each target while the block goes on, from processes of their own.

    Of the processes that torchrun started the first alone posts.

    A target that does not answer is said once and costs nothing else: the training goes on, and at its end one line
    says what was not posted and with which command to do so. Raises TrackingError before the block for a target that
    can never be posted to.
    """
    first = os.environ.get("RANK", "0") == "0"
    targets = [target_of(text) for text in dict.fromkeys([to] if isinstance(to, str) else to) if first]
    for target in targets:
        try:
            check(target)
        except Unreachable as error:
            say(f"not posting to {target.where} for now: it {error}; training goes on and posts when it is back")
    if not targets:
        yield
        return
    _note_state(path, State(state="running"))
    with ExitStack() as stack:
        children = [(target, stack.enter_context(_child(path, target))) for target in targets]
        state = State(state="finished")
        try:
            yield
        except KeyboardInterrupt:
            state = State(state="stopped", reason="Ctrl-C")
            raise
        except SystemExit:
            state = State(state="stopped", reason="a signal")
            raise
        except BaseException as error:
            state = State(state="failed", reason=shown(str(error) or type(error).__name__)[:300])
            raise
        finally:
            _note_state(path, state)
            ends = time.monotonic() + GRACE
            for target, child in children:
                _finish(path, target, child, max(ends - time.monotonic(), 0.5))


def _note_state(path: Path, state: State) -> None:
    """What the training says of itself to its posters; a disk that has no room for it does not stop the training."""
    try:
        write_state(path, state)
    except OSError as error:
        say(f"{path}: no note that it is {state.state} ({error.strerror or error}); the training is not affected")


def _finish(path: Path, target: Target, child: subprocess.Popen[bytes], seconds: float) -> None:
    assert child.stdin is not None
    with suppress(OSError):
        child.stdin.close()  # the sign that the training has ended
    try:
        status = child.wait(seconds)
    except subprocess.TimeoutExpired:
        child.kill()
        status = child.wait()
    if status:
        say(f"not everything was posted to {target.where}; post it with: imagemint track {path} --to {target}")


@contextmanager
def _child(path: Path, target: Target) -> Iterator[subprocess.Popen[bytes]]:
    command = [sys.executable, "-m", "imagemint.tracking.child", str(path.absolute()), str(target)]
    child = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, start_new_session=True)
    try:
        yield child
    finally:
        if child.poll() is None:
            child.kill()
            child.wait()


def follow(path: Path, target: Target, ended: threading.Event) -> int:
    """What a child does: post until the training has ended and everything is posted. The exit status."""
    with suppress(AttributeError, OSError):
        os.nice(5)  # the training comes first
    pause, poster = PAUSE, None
    while True:
        last = ended.is_set()
        try:
            kind = _kind(path) if (path / "run.json").exists() or (path / "study.json").exists() else None
            if kind:
                check(target)
                poster = poster or _poster(target)
                _post_study(path, target, False) if kind == "study" else _post_run(path, poster, target, False)
            if last:
                return 0
            pause = PAUSE
        except Unreachable:
            if last:
                return _NOT_POSTED
            pause = min(2 * pause, LONGEST)
        except RunError:  # the folder is being written, or has gone
            if last or not path.exists():
                return _NOT_POSTED
        except OSError:  # no room for the note of what was posted, or a file has gone: tried again
            if last:
                return _NOT_POSTED
            pause = min(2 * pause, LONGEST)
        ended.wait(pause)


def _post_run(path: Path, poster: Poster, target: Target, checkpoints: bool) -> int:
    run = open_run(path)
    here = path.absolute(), target.key
    position = _UNNOTED.get(here) or read_position(path, str(target), target.key)
    if target.kind == "tensorboard" and path.absolute() not in _WRITTEN:
        position = Position(target=str(target))  # events are written from the beginning by each session
        _WRITTEN.add(path.absolute())
    news = news_of(run, position)
    if not news and news.state == position.state and not checkpoints and here not in _UNNOTED:
        return 0
    _UNNOTED[here] = poster.post(run, news, checkpoints=checkpoints)
    write_position(path, target.key, _UNNOTED[here])
    del _UNNOTED[here]
    return len(news.values)


_UNNOTED: dict[tuple[Path, str], Position] = {}  # posted, and not on the disk: it had no room
_WRITTEN: set[Path] = set()  # runs whose events this process has begun to write


def _post_study(path: Path, target: Target, checkpoints: bool) -> int:
    """The runs of a study as one experiment, and a run of the study's own with its rows, verdicts and page."""
    study = open_study(path)
    name = f"study {path.absolute().name}"
    poster = _poster(target, name)
    runs = sorted(file.parent for file in (path / "runs").glob("*/run.json"))
    sent = sum(_post_run(folder, poster, target, checkpoints) for folder in runs)
    if target.kind == "tensorboard":
        return sent
    from imagemint.tracking.to_mlflow import Mlflow, in_words

    assert isinstance(poster, Mlflow)
    position = read_position(path, str(target), target.key)
    state = read_state(path) or State(state="finished" if study.progress[0] == study.progress[1] else "stopped")
    if position.log == len(study.rows) and position.state == state:
        return sent
    with in_words():
        settings = {
            key: str(value) for key, value in study.facts.settings.model_dump(mode="json").items() if key != "recipe"
        }
        about = {"imagemint.folder": str(path.absolute()), "imagemint.kind": "study"}
        remote, begun = poster.begin(path, position, about, settings)
        values: list[Value] = [
            (f"{row.arm}.{row.budget}", row.repeat, row.accuracy) for row in study.rows[position.log :]
        ]
        poster.values(remote, values, begun)
        poster.text(remote, study.summary() + "\n", "summary.txt")
        for file in (study.report, path / "rows.jsonl"):
            if file.exists():
                poster.file(remote, file)
        done, of = study.progress
        poster.end(remote, state.state, state.reason, done, of)
    then = position.model_copy(update={"remote": remote, "begun": begun, "log": len(study.rows), "state": state})
    write_position(path, target.key, then)
    return sent + len(values)


_POSTERS: dict[tuple[Target, str], Any] = {}


def _poster(target: Target, experiment: str = "") -> Any:
    """One client per target and experiment in this process."""
    key = (target, experiment)
    if key not in _POSTERS:
        if target.kind == "mlflow":
            from imagemint.tracking.to_mlflow import Mlflow

            _POSTERS[key] = Mlflow(target.where, experiment)
        else:
            from imagemint.tracking.to_tensorboard import Board

            _POSTERS[key] = Board(target.where)
    return _POSTERS[key]


def _kind(path: Path) -> str:
    if (path / "study.json").is_file():
        return "study"
    if (path / "run.json").is_file():
        return "run"
    found = f"{path} has neither run.json nor study.json" if path.exists() else f"nothing at {path}"
    raise RunError(found, "a folder that imagemint train or study wrote", "check the path")
