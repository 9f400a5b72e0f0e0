"""Progress on stderr: a bar with the time left on a terminal, a plain line now and then elsewhere.

Silent unless the command line turns it on, so that the library prints nothing of its own.
"""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from imagemint.words import shown

_on = False
_tell: Callable[[str, str], None] | None = None
stop_signals: list[int] = []  # the signals that asked this process to stop, in their order
_go_on = "the same command starts again"
_SECONDS_BETWEEN_LINES = 15.0
_SECONDS_BETWEEN_STEPS = 1.0

Advance = Callable[..., None]  # advance(amount, note="...")


def first_process() -> bool:
    """Whether this process speaks: always, but for those that torchrun starts beside the first."""
    return os.environ.get("RANK", "0") == "0"


def turn_on(on: bool = True) -> None:
    """Show progress from now on (the command line does)."""
    global _on
    _on = on


def tell(report: Callable[[str, str], None]) -> None:
    """From now on `report("say", line)` and `report("step", how far)` instead of showing anything (a child does)."""
    global _tell
    _tell = report


def say(text: str) -> None:
    """One line on stderr, where progress is shown."""
    if _tell:
        _tell("say", text)
    elif _on:
        print(shown(text), file=sys.stderr, flush=True)


def if_stopped(advice: str) -> None:
    """How to go on if the process is stopped from now on ("the same command with --resume goes on")."""
    global _go_on
    _go_on = advice


def how_to_go_on() -> str:
    """What was last said to `if_stopped`."""
    return _go_on


@contextmanager
def progress(total: int, what: str, *, done: int = 0) -> Iterator[Advance]:
    """`with progress(n, "pack") as advance: ... advance(1, note="loss 0.3")`; `done` of the total came earlier."""
    if _tell:
        yield _steps(total, what, done, _tell)
    elif not _on:
        yield lambda amount=1, note="": None
    elif sys.stderr.isatty() or "ipykernel" in sys.modules:
        from rich.console import Console
        from rich.progress import BarColumn, MofNCompleteColumn, Progress, ProgressColumn, Task, TextColumn
        from rich.progress import TimeElapsedColumn as Elapsed
        from rich.progress import TimeRemainingColumn as Remaining
        from rich.text import Text

        class Rate(ProgressColumn):
            def render(self, task: Task) -> Text:
                return Text(f"{task.speed:,.0f}/s" if task.speed else "")

        columns = (
            TextColumn("{task.description:<12}"),
            BarColumn(bar_width=28),
            MofNCompleteColumn(),
            Rate(),
            Elapsed(),
            TextColumn("left"),
            Remaining(compact=True),
            TextColumn("{task.fields[note]}"),
        )
        console = Console(stderr=True) if sys.stderr.isatty() else Console()  # of a notebook: one display
        with Progress(*columns, console=console) as bar:
            task = bar.add_task(what, total=total, completed=done, note="")

            def advance(amount: int = 1, note: str = "") -> None:
                if note:
                    bar.update(task, note=note)
                bar.advance(task, amount)

            yield advance
    else:
        yield _lines(total, what, done)


def _lines(total: int, what: str, done: int) -> Advance:
    """Plain lines for logs: at most one in `_SECONDS_BETWEEN_LINES`, and one at the end of a step that took long."""
    started = last = time.monotonic()
    at = done

    def advance(amount: int = 1, note: str = "") -> None:
        nonlocal last, at
        at += amount
        now = time.monotonic()
        if now - last < _SECONDS_BETWEEN_LINES and (at < total or now - started < _SECONDS_BETWEEN_LINES):
            return
        last = now
        left = f", {(now - started) / (at - done) * (total - at):.0f} s left" if at > done else ""
        say(f"{what}: {at}/{total}{left}{', ' + note if note else ''}")

    return advance


def _steps(total: int, what: str, done: int, report: Callable[[str, str], None]) -> Advance:
    """For the parent's display: how far this is, now and then."""
    last, at = 0.0, done

    def advance(amount: int = 1, note: str = "") -> None:
        nonlocal last, at
        at += amount
        if time.monotonic() - last >= _SECONDS_BETWEEN_STEPS:
            last = time.monotonic()
            report("step", f"{what} {at}/{total}{', ' + note if note else ''}")

    return advance
