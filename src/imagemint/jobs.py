"""Independent tasks side by side, each in a process of its own with one thread, and one display of progress for all.

The processes are programs of our own, as those of `data/workers.py` are and for the same reasons: the ways that
`multiprocessing` has run the caller's script again, or copy a process in which torch has started threads. A process
that stops for another reason than its task (killed, out of memory) is started again, and its task goes on from what
it has written. Where a task fails the others are stopped too, since most failures would come to all of them. To stop
a process is to close its input: its training writes a checkpoint first, and the same happens when the parent is
killed, so that no process is left behind.
"""

from __future__ import annotations

import _thread
import os
import pickle
import queue
import signal
import subprocess
import sys
import threading
import time
import traceback
from collections import Counter, deque
from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from types import FrameType
from typing import Any, BinaryIO, NoReturn, Protocol

from imagemint import progress
from imagemint.arguments import whole
from imagemint.errors import ArgumentError, ImagemintError
from imagemint.words import counted

MOST = 1024
TRIES = 3  # times that a task is started before its process is taken to end whatever we do
PATIENCE = 60.0  # seconds for a checkpoint, when a process is asked to stop
PROCESS = 512 << 20  # bytes that a process with torch takes before it has read an image
ONE_THREAD = dict.fromkeys(("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"), "1")  # environment


@dataclass(frozen=True)
class Task:
    """`work(*arguments)`, a generator of `results` results that can be pickled.

    `work` stands at the top of a module of the package. It is started again where its process was killed: it then
    has to go on from what it has written, and to give the same results again, of which no one is handed on twice.
    """

    name: str
    work: Callable[..., Iterator[Any]]
    arguments: tuple[Any, ...]
    results: int = 1


class FanOut(Protocol):
    """Whatever runs tasks side by side as `side_by_side` does: processes here, or those of a cluster."""

    def __call__(
        self, tasks: Sequence[Task], count: int, what: str, *, go_on: bool = False
    ) -> Generator[tuple[Task, Any]]:
        """Run all tasks, `count` at a time: see `side_by_side`."""


def available() -> int:
    """Processors that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def how_many(wanted: int | None, need: int = 0) -> int:
    """Processes to start, each of which needs `need` bytes beside its libraries.

    `wanted` of them, or by default one per GPU, one per processor where there is none, and no more than memory holds.
    Raises ArgumentError where memory does not hold those that were asked for.
    """
    memory = _free_memory()
    held = MOST if memory is None else memory // (PROCESS + need)
    if wanted is None:
        return max(min(len(_gpus()) or available(), held), 1)
    count = whole(wanted, "--jobs", 1, MOST)
    if count > max(held, 1):
        raise ArgumentError(
            f"--jobs {count:,}, for which {memory or 0:,} bytes of memory are free",
            f"{PROCESS + need:,} bytes per job",
            f"say --jobs {max(held, 1)} or fewer",
        )
    return count


def places(wanted: int | None, need: int, fan_out: FanOut) -> int:
    """Tasks to run at a time: of processes here as `how_many` says; a cluster knows itself how many it holds."""
    if fan_out is side_by_side:
        return how_many(wanted, need)
    return whole(MOST if wanted is None else wanted, "--jobs", 1, MOST)


@contextmanager
def one_thread() -> Iterator[None]:
    """torch and numpy compute with one thread in the block, as in every process here: threads decide rounding."""
    import torch
    from threadpoolctl import threadpool_limits  # of scikit-learn; numpy's BLAS has threads of its own

    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        with threadpool_limits(1):
            yield
    finally:
        torch.set_num_threads(before)


def side_by_side(tasks: Sequence[Task], count: int, what: str, *, go_on: bool = False) -> Generator[tuple[Task, Any]]:
    """Run all tasks, `count` at a time; their results as they come, those of one task in their order.

    The first error of a task ends all: the others stop, then it is raised. With `go_on` a task that fails is started
    again from what it wrote, as one whose process was killed is; when all `TRIES` have failed, the last error comes
    in place of its results, and the others go on. Ctrl-C ends all; a second one kills the processes. Use it with
    `contextlib.closing` where the loop over it may end early.
    """
    waiting, tries, given = deque(enumerate(tasks)), Counter[int](), Counter[int]()
    reports: queue.SimpleQueue[tuple[_Process, str, Any]] = queue.SimpleQueue()
    gpus: list[str | None] = [*_gpus()] or [None]
    processes: list[_Process] = []

    def start(gpu: str | None, first: tuple[int, Task] | None = None) -> None:
        processes.append(process := _Process(gpu, reports))
        process.give(first or waiting.popleft())

    try:
        for number in range(min(count, len(tasks))):
            start(gpus[number % len(gpus)])
        with progress.progress(sum(task.results for task in tasks), what) as advance:
            while any(process.at for process in processes):
                process, kind, value = reports.get()
                if process.at is None:
                    continue
                key, task = process.at
                if kind == "result":
                    process.sent += 1
                    if process.sent > given[key]:
                        given[key] += 1
                        advance(1, note=task.name)
                        yield task, value
                elif kind == "say":
                    progress.say(f"{task.name}: {value}")
                elif kind == "step":
                    advance(0, note=f"{task.name}: {value}")
                elif kind == "done":
                    process.at = None
                    if waiting:
                        process.give(waiting.popleft())
                else:
                    process.at = None
                    tries[key] += 1
                    error = _failure(task, kind, value, process)
                    if tries[key] < TRIES and (go_on or kind == "gone"):
                        progress.say(f"{task.name}: {_why(kind, error)}; the task starts again from what it wrote")
                        start(process.gpu, (key, task))
                    elif go_on:
                        progress.say(f"{task.name}: failed in {counted(TRIES, 'try', 'tries')}; the others go on")
                        advance(task.results - given[key], note=task.name)
                        yield task, error
                        if waiting:
                            start(process.gpu)
                    else:
                        if kind == "error":
                            progress.say(f"{task.name}: failed; the others stop and keep what they have")
                        raise error
    finally:
        _stop(processes)


# --- the parent's side -------------------------------------------------------------------------------------------


class _Process:
    """One child process: what it is at, and how many results it has sent of that."""

    def __init__(self, gpu: str | None, reports: queue.SimpleQueue[tuple[_Process, str, Any]]) -> None:
        # It gets our search path before it imports anything, so that a file in the current folder (random.py) does
        # not take a module's place.
        program = f"import sys; sys.path[:] = {sys.path!r}; from imagemint.jobs import serve; serve()"
        self.gpu, self.sent = gpu, 0
        self.at: tuple[int, Task] | None = None
        self._process = subprocess.Popen(
            [sys.executable, "-c", program],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env={**os.environ, **ONE_THREAD, **({"CUDA_VISIBLE_DEVICES": gpu} if gpu else {})},
            start_new_session=True,  # Ctrl-C on a terminal goes to the whole session
            creationflags=getattr(subprocess, "CREATE_NEW_PROCESS_GROUP", 0),
        )
        self._listener = threading.Thread(target=self._listen, args=(reports,), daemon=True)
        self._listener.start()

    def give(self, task: tuple[int, Task]) -> None:
        """Start a task; a process that is gone is found out by its output."""
        self.at, self.sent = task, 0
        assert self._process.stdin is not None
        with suppress(OSError):
            pickle.dump((task[1].work, task[1].arguments), self._process.stdin, pickle.HIGHEST_PROTOCOL)
            self._process.stdin.flush()

    def ask_to_stop(self) -> None:
        assert self._process.stdin is not None
        with suppress(OSError):
            self._process.stdin.close()

    def ended(self, patience: float | None = PATIENCE) -> int:
        """Wait for the end, and kill it when that takes too long; the exit status."""
        try:
            status = self._process.wait(patience)
        except subprocess.TimeoutExpired:
            self.kill()
            status = self._process.wait()
        self._listener.join()
        assert self._process.stdout is not None
        self._process.stdout.close()
        return status

    def kill(self) -> None:
        self._process.kill()

    def _listen(self, reports: queue.SimpleQueue[tuple[_Process, str, Any]]) -> None:
        assert self._process.stdout is not None
        try:
            while True:
                reports.put((self, *pickle.load(self._process.stdout)))
        except (EOFError, OSError, pickle.UnpicklingError):
            reports.put((self, "gone", None))


def _stop(processes: list[_Process]) -> None:
    try:
        for process in processes:
            process.ask_to_stop()
        for process in processes:
            process.ended()
    except KeyboardInterrupt:
        for process in processes:
            process.kill()
        for process in processes:
            process.ended()
        raise


def _failure(task: Task, kind: str, value: Any, process: _Process) -> Exception:
    """What a task ended by: its error, its bug, or the end of its process (killed, or out of memory)."""
    status = process.ended()
    if kind == "gone":
        return _killed(task, status)
    return value if kind == "error" else bug(task, value)


def _why(kind: str, error: Exception) -> str:
    return "the process was killed" if kind == "gone" else str(error).splitlines()[-1]


def bug(task: Task, traceback: str) -> RuntimeError:
    """The error of a task that ended by a mistake in the program, with its traceback."""
    return RuntimeError(f"{task.name}: a process failed:\n{traceback}")


def _killed(task: Task, status: int) -> ImagemintError:
    return ImagemintError(
        f"{task.name}: its process ended {counted(TRIES, 'time')}, the last time with exit status {status}",
        "enough memory for every job",
        "close other programs or say fewer --jobs; the same command goes on",
    )


def _gpus() -> list[str]:
    """The GPUs that this process may use, as CUDA_VISIBLE_DEVICES names them."""
    import torch

    count = torch.cuda.device_count()
    named = [name for name in os.environ.get("CUDA_VISIBLE_DEVICES", "").split(",") if name.strip()]
    return (named or [str(number) for number in range(count)])[:count]


def _free_memory() -> int | None:
    """Bytes that new processes may take, or None where the system does not say."""
    try:
        lines = Path("/proc/meminfo").read_text(encoding="ascii").splitlines()
        free = next(int(line.split()[1]) << 10 for line in lines if line.startswith("MemAvailable:"))
    except (OSError, ValueError, StopIteration):
        return None
    try:
        limit = Path("/sys/fs/cgroup/memory.max").read_text(encoding="ascii").strip()
    except OSError:
        return free
    return min(free, int(limit)) if limit.isdigit() else free


# --- the child's side --------------------------------------------------------------------------------------------


def serve() -> None:
    """What a child process runs: tasks from stdin until it is closed, reports to what was stdout."""
    reports, given = os.fdopen(os.dup(1), "wb"), os.fdopen(os.dup(0), "rb")
    os.dup2(2, 1)  # what a library prints is no report
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, _interrupt)
    tasks: queue.SimpleQueue[Any] = queue.SimpleQueue()
    threading.Thread(target=_listen_for_the_end, args=(given, tasks), daemon=True).start()

    def report(kind: str, value: Any = None) -> None:
        try:
            pickle.dump((kind, value), reports, pickle.HIGHEST_PROTOCOL)
            reports.flush()
        except OSError:  # the parent is gone: the end of our input stops us
            pass

    progress.tell(report)
    status = 0
    try:
        while (task := tasks.get()) is not None:
            work, arguments = task
            for result in work(*arguments):
                report("result", result)
            report("done")
    except KeyboardInterrupt:
        status = 128 + signal.SIGTERM
    except (ImagemintError, OSError) as error:
        report("error", error)
    except Exception:
        report("bug", traceback.format_exc())  # raised again by the parent
    os._exit(status)  # no thread and no library is waited for


def _listen_for_the_end(given: BinaryIO, tasks: queue.SimpleQueue[Any]) -> None:
    while True:
        try:
            tasks.put(pickle.load(given))
        except (EOFError, OSError, pickle.UnpicklingError):
            break
    tasks.put(None)
    if hasattr(signal, "pthread_kill"):  # wakes a main thread that waits, too
        signal.pthread_kill(threading.main_thread().ident or 0, signal.SIGTERM)
    else:
        _thread.interrupt_main(signal.SIGTERM)
    time.sleep(PATIENCE)
    os._exit(128 + signal.SIGTERM)


def _interrupt(number: int, frame: FrameType | None) -> NoReturn:
    raise KeyboardInterrupt
