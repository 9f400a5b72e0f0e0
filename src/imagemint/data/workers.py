"""Decoding spread over processes, with the results in order.

The workers are programs of our own, started with `python -c` and spoken to through pipes. `multiprocessing` would
do, but each of its ways of starting has a catch here: `spawn` and `forkserver` run the caller's script again (a
script without `if __name__ == "__main__"` would pack for ever), and `fork` is unsafe once torch has started threads.
Ours load Pillow only, never see Ctrl-C (the parent ends them), and end by themselves when the parent is gone.
"""

from __future__ import annotations

import os
import pickle
import queue
import subprocess
import sys
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any, TypeVar

from imagemint.data.decode import Item
from imagemint.errors import SourceError

Result = TypeVar("Result")
Work = Callable[[Sequence[Item], Any], Result]
Spread = Callable[[Work[Any], Iterable[Sequence[Item]], Any], Iterator[Any]]


@contextmanager
def spread(count: int) -> Iterator[Spread]:
    """`with spread(4) as over: for result in over(decode, chunks, wanted): ...`, results in the order of the chunks.

    At most three chunks a worker are under way, so memory stays bounded. With one worker everything runs here.
    """
    if count <= 1 or not sys.executable:
        yield lambda work, chunks, wanted: (work(chunk, wanted) for chunk in chunks)
        return
    processes: list[subprocess.Popen[bytes]] = []
    idle: queue.SimpleQueue[subprocess.Popen[bytes]] = queue.SimpleQueue()
    threads = ThreadPoolExecutor(count, "imagemint-decode")

    def ask(work: Work[Result], chunk: Sequence[Item], wanted: Any) -> Result:
        process = idle.get()
        try:
            return _ask(process, work, chunk, wanted)
        finally:
            idle.put(process)

    def over(work: Work[Result], chunks: Iterable[Sequence[Item]], wanted: Any) -> Iterator[Result]:
        pending: deque[Future[Result]] = deque()
        for chunk in chunks:
            pending.append(threads.submit(ask, work, chunk, wanted))
            if len(pending) >= 3 * count:
                yield pending.popleft().result()
        while pending:
            yield pending.popleft().result()

    try:
        for _ in range(count):
            processes.append(_start())
            idle.put(processes[-1])
        yield over
    finally:
        for process in processes:
            process.kill()  # they hold nothing that is worth saving
        threads.shutdown(cancel_futures=True)
        for process in processes:
            process.communicate()


def _start() -> subprocess.Popen[bytes]:
    # The worker gets our search path before it imports anything, so that a file in the current folder (random.py)
    # does not take a module's place.
    program = f"import sys; sys.path[:] = {sys.path!r}; from imagemint.data.decode import serve; serve()"
    return subprocess.Popen(
        [sys.executable, "-c", program],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        env={**os.environ, "OPENBLAS_NUM_THREADS": "1", "OMP_NUM_THREADS": "1"},
        start_new_session=True,  # Ctrl-C on a terminal goes to the whole session
        creationflags=getattr(subprocess, "CREATE_NEW_PROCESS_GROUP", 0),
    )


def _ask(process: subprocess.Popen[bytes], work: Work[Result], chunk: Sequence[Item], wanted: Any) -> Result:
    assert process.stdin is not None and process.stdout is not None
    try:
        pickle.dump((work, chunk, wanted), process.stdin, pickle.HIGHEST_PROTOCOL)
        process.stdin.flush()
        done, result = pickle.load(process.stdout)
    except (EOFError, OSError, pickle.UnpicklingError):
        raise SourceError(
            f"a worker process ended while it decoded images (exit status {process.wait()})",
            "enough memory for the largest image in each worker",
            "close other programs, or remove very large images, and pack again",
        ) from None
    if not done:
        raise RuntimeError(f"a worker process failed:\n{result}")
    return result
