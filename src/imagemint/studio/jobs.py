"""Jobs: the command line's own verbs, each in a process that outlives the page and the studio.

DIR/jobs/0001/
  job.json      what was asked, written first: the words after `imagemint`, and the job that has to be done before
  log.txt       what the command printed, of every attempt
  alive         locked for as long as the process lives: no process number that somebody else got can be mistaken
  started.json  the number of the process, and when it was started
  stop.json     when somebody asked it to stop
  exit.json     how it ended, written by itself (imagemint.studio.child)

The state of a job is read from these files and held nowhere else, so that a studio that was closed and opened again,
or was killed, knows as much as before.
"""

from __future__ import annotations

import fcntl
import os
import shlex
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from pydantic import Field

from imagemint import files
from imagemint.errors import StudioError
from imagemint.settings import Strict

State = Literal["waiting", "running", "stopping", "done", "stopped", "failed"]
OVER: tuple[State, ...] = ("done", "stopped", "failed")
PATIENCE = 60.0  # seconds for a checkpoint after the first signal, before the second
_TAIL = 64 << 10  # bytes of a log that are shown
_STOPPED = (128 + signal.SIGINT, 128 + signal.SIGTERM)
_RESUMED = ("train", "study")  # verbs that go on from what they have written


class Asked(Strict):
    """`job.json`."""

    words: tuple[str, ...] = Field(min_length=1)  # after `imagemint`; paths are relative to the studio's folder
    result: str = ""  # what it makes, relative to the studio's folder
    after: int | None = None  # the job that has to be done before

    @property
    def verb(self) -> str:
        """The first word: pack, train, ..."""
        return self.words[0]

    @property
    def command(self) -> str:
        """The command line that does the same in the studio's folder."""
        return shlex.join(["imagemint", *self.words])


class _Started(Strict):
    process: int = Field(gt=0)
    at: float  # seconds since 1970


class _Ended(Strict):
    status: int


@dataclass(frozen=True)
class Seen:
    """A job as it was at one moment, so that all that a page says about it agrees."""

    number: int
    asked: Asked
    state: State
    sentence: str
    path: Path


class Job:
    """One job, by its folder; its state is read anew each time."""

    def __init__(self, path: Path) -> None:
        self.path, self.number = path, int(path.name)
        self.asked = files.read_model(path / "job.json", Asked)

    @property
    def state(self) -> State:
        """Where it stands."""
        status = self.status
        asked_to_stop = (self.path / "stop.json").exists()
        if status is not None:
            return "done" if status == 0 else "stopped" if status in _STOPPED else "failed"
        if self._lives():
            return "stopping" if asked_to_stop else "running"
        if (self.path / "started.json").exists():
            if self.status is not None:  # it has ended since we looked
                return self.state
            return "stopped" if asked_to_stop else "failed"
        return "stopped" if asked_to_stop else "waiting"

    @property
    def status(self) -> int | None:
        """The exit status; None while there is none, or where the process was killed."""
        with suppress(FileNotFoundError, files.Damaged):
            return files.read_model(self.path / "exit.json", _Ended).status
        return None

    @property
    def said(self) -> str:
        """The end of what it printed, without what a bar overwrote."""
        with suppress(FileNotFoundError), (self.path / "log.txt").open("rb") as file:
            file.seek(max(0, os.fstat(file.fileno()).st_size - _TAIL))
            return file.read().decode("utf-8", "replace")
        return ""

    @property
    def sentence(self) -> str:
        """In one sentence where it stands, and why where it went wrong."""
        return self.seen().sentence

    def seen(self) -> Seen:
        """The job as it is now; the state is read once."""
        state = self.state
        return Seen(self.number, self.asked, state, self._sentence(state), self.path)

    def _sentence(self, state: State) -> str:
        lines = [line for line in self.said.splitlines() if line.strip()]
        last = lines[-1].removeprefix("imagemint: ") if lines else ""
        if state == "failed" and self.status is None:
            how = "resume it" if self.asked.verb in _RESUMED else "start it again"
            return f"Its process was ended from outside (killed, or out of memory): {how}."
        if state == "stopped":
            return "Stopped; nothing is half-written." + (" Resume goes on." if self.asked.verb in _RESUMED else "")
        if last.startswith("{"):  # what `measure` prints is for programs
            last = "Measured. The page Judge shows the measures, and copies beside their neighbours."
        return {"waiting": "Waits for its turn.", "stopping": "Stops as soon as all is saved."}.get(state, last)

    def process(self) -> int | None:
        """The number of the process, while it lives."""
        with suppress(FileNotFoundError, files.Damaged):
            started = files.read_model(self.path / "started.json", _Started)
            return started.process if self._lives() else None
        return None

    def _lives(self) -> bool:
        with suppress(FileNotFoundError), (self.path / "alive").open("rb") as file:
            try:
                fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)  # shared: two who look do not see each other
            except OSError:
                return True
        return False


class Jobs:
    """The jobs of a folder; at most `at_once` of them run, the others wait in line."""

    def __init__(self, folder: Path, at_once: int = 1) -> None:
        self.folder, self.at_once = folder, at_once
        self._turn = threading.RLock()

    def all(self) -> list[Job]:
        """Every job, the newest first; a folder that is no job is left out."""
        found, parent = [], self.folder / "jobs"
        for path in sorted(parent.iterdir(), reverse=True) if parent.is_dir() else []:
            with suppress(FileNotFoundError, NotADirectoryError, files.Damaged, ValueError):
                found.append(Job(path))
        return found

    def get(self, number: int | str | None) -> Job:
        """A job by its number. Raises StudioError where there is none."""
        try:
            return Job(self.folder / "jobs" / f"{int(number or 0):04d}")
        except (FileNotFoundError, NotADirectoryError, files.Damaged, ValueError):
            raise StudioError(f"no job {str(number)[:20]}", "the number of a job", "choose one of the list") from None

    def seen(self) -> tuple[Seen, ...]:
        """Every job as it is now, the newest first."""
        return tuple(each.seen() for each in self.all())

    def newest(self, *verbs: str) -> Job | None:
        """The newest job of these verbs."""
        return next((each for each in self.all() if each.asked.verb in verbs), None)

    def add(self, words: Sequence[str], *, result: Path | str = "", after: Job | None = None) -> Job:
        """Put a command in line. It starts at once where there is room."""
        asked = Asked(words=tuple(words), result=str(result), after=after.number if after else None)
        with self._turn:
            (self.folder / "jobs").mkdir(exist_ok=True)
            for each in self.all():
                if each.asked.result and each.asked.result == asked.result and each.state not in OVER:
                    wanted, how = "one at a time", f"wait for job {each.number} or stop it"
                    raise StudioError(f"job {each.number} makes {asked.result} already", wanted, how)
            number = max((each.number for each in self.all()), default=0) + 1
            path = self.folder / "jobs" / f"{number:04d}"
            with files.whole_folder(path) as aside:
                files.write_json(aside / "job.json", asked.model_dump(mode="json"))
            self.start_waiting()
            return Job(path)

    def start_waiting(self) -> None:
        """Start whoever waits, in order, while there is room; signal again whom the first signal did not stop."""
        with self._turn:
            jobs = list(reversed(self.all()))
            states = {each.number: each.state for each in jobs}
            room = self.at_once - sum(state in ("running", "stopping") for state in states.values())
            for job in jobs:
                state, before = states[job.number], states.get(job.asked.after or 0, "done")
                if state == "waiting" and before in ("stopped", "failed"):
                    self._refuse(job)
                elif state == "waiting" and before == "done" and room > 0:
                    self._start(job)
                    room -= 1
                elif state == "stopping" and _age(job.path / "stop.json") > PATIENCE:
                    _signal(job, signal.SIGTERM)

    def stop(self, number: int | str | None) -> Job:
        """Ask a job to stop: what it has computed is saved first. One that waits is taken out of the line."""
        with self._turn:
            job = self.get(number)
            if job.state in OVER:
                raise StudioError(f"job {job.number} is {job.state}", "a job that runs or waits", "choose another")
            files.write_json(job.path / "stop.json", {"at": time.time()})
            _signal(job, signal.SIGINT)
            return job

    def resume(self, number: int | str | None) -> Job:
        """Put a job that has stopped or failed in line again; trainings and studies go on from what is there."""
        with self._turn:
            job = self.get(number)
            if job.state not in ("stopped", "failed"):
                wanted = "a job that has stopped or failed"
                raise StudioError(f"job {job.number} is {job.state}", wanted, "choose another")
            words = job.asked.words
            if job.asked.verb == "train" and "--resume" not in words and (self.folder / job.asked.result).exists():
                words = (*words, "--resume")
            files.write_json(job.path / "job.json", job.asked.model_copy(update={"words": words}).model_dump())
            for name in ("exit.json", "stop.json", "started.json"):
                (job.path / name).unlink(missing_ok=True)
            self.start_waiting()
            return self.get(number)

    def _start(self, job: Job) -> None:
        command = [sys.executable, "-m", "imagemint.studio.child", str((job.path / "exit.json").resolve())]
        with (job.path / "alive").open("wb") as alive, (job.path / "log.txt").open("ab") as log:
            fcntl.flock(alive, fcntl.LOCK_EX)  # the child inherits it, and holds it when we have closed our copy
            log.write(f"$ {job.asked.command}\n".encode())
            log.flush()
            child = subprocess.Popen(
                [*command, *job.asked.words],
                cwd=self.folder,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,  # Ctrl-C in the studio's terminal is not meant for its jobs
                pass_fds=[alive.fileno()],
                env={**os.environ, "PYTHONUNBUFFERED": "1", "PYTHONUTF8": "1"},
            )
            threading.Thread(target=child.wait, daemon=True).start()  # so that no zombie is left
            files.write_json(job.path / "started.json", {"process": child.pid, "at": time.time()})

    def _refuse(self, job: Job) -> None:
        with (job.path / "log.txt").open("a", encoding="utf-8") as log:
            log.write(f"job {job.asked.after}, which has to be done before, was not; resume it, then this one\n")
        files.write_json(job.path / "exit.json", {"status": 2})


@contextmanager
def opened(folder: Path) -> Iterator[None]:
    """Be the one studio of a folder. Raises StudioError where another one is open on it."""
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / "studio.lock").open("ab") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            found = f"another studio is open on {folder}"
            raise StudioError(found, "one studio per folder", "use that one, or say --folder DIR") from None
        yield


def _signal(job: Job, number: signal.Signals) -> None:
    process = job.process()
    if process is not None:
        with suppress(ProcessLookupError):
            os.kill(process, number)


def _age(path: Path) -> float:
    return time.time() - path.stat().st_mtime
