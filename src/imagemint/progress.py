"""Progress on stderr: a bar with the time left on a terminal, a plain line now and then elsewhere.

Silent unless the command line turns it on, so that the library prints nothing of its own.
"""

from __future__ import annotations

import importlib.util
import os
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from typing import Protocol

from imagemint.words import shown

_on = False
_tell: Callable[[str, str], None] | None = None
stop_signals: list[int] = []  # the signals that asked this process to stop, in their order
_go_on = "the same command starts again"
_SECONDS_BETWEEN_LINES = 15.0
_SECONDS_BETWEEN_STEPS = 1.0
_BAR = 16  # characters: at 80 columns rate, time left and losses of a training stand beside it


class Advance(Protocol):
    """Says that so much more is done. `note` has a name, so that no number can be taken for it."""

    def __call__(self, amount: int = 1, *, note: str = "") -> None: ...  # noqa: D102 (the class says it)


def unseen(amount: int = 1, *, note: str = "") -> None:
    """An `Advance` of work that is not shown."""


def scaled(advance: Advance, factor: float) -> Advance:
    """Passes on `factor` times what it hears, in whole numbers that are right in all; a note only where one is given.

    >>> done = []
    >>> slower = scaled(lambda amount=1, *, note="": done.append(amount), 0.5)
    >>> [slower(3) for _ in range(4)], sum(done)
    ([None, None, None, None], 6)
    """
    heard = told = 0

    def passed_on(amount: int = 1, *, note: str = "") -> None:
        nonlocal heard, told
        heard += amount
        more = round(factor * heard) - told
        told += more
        advance(more, **({"note": note} if note else {}))  # an empty note would hide one that `advance` brings along

    return passed_on


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
def progress(total: int, what: str, *, done: int = 0, unit: str = "") -> Iterator[Advance]:
    """`with progress(n, "pack") as advance: ... advance(1, note="loss 0.3")`; `done` of the total came earlier.

    `unit`: what is counted ("images"), which stands in the rate. The newest note stays until the next one.
    """
    if _tell:
        yield _steps(total, what, done, _tell)
    elif not _on:
        yield unseen
    elif sys.stderr.isatty() or _notebook_draws():
        from rich.console import Console
        from rich.progress import BarColumn, Progress, ProgressColumn, Task, TextColumn
        from rich.text import Text

        class Words(ProgressColumn):
            """All that is said beside the bar, the most important first: a narrow terminal cuts the end off."""

            def render(self, task: Task) -> Text:
                parts = [f"{task.completed:.0f}/{task.total:.0f}", *_rate(task.speed, task.time_remaining, unit)]
                return Text(" ".join([*parts, task.fields["note"]]), overflow="ellipsis", no_wrap=True)

        columns = (TextColumn("{task.description}"), BarColumn(bar_width=_BAR), Words())
        console = Console(stderr=True) if sys.stderr.isatty() else Console()  # of a notebook: one display
        with Progress(*columns, console=console) as bar:
            task = bar.add_task(what, total=total, completed=done, note="")

            def advance(amount: int = 1, *, note: str = "") -> None:
                if note:
                    bar.update(task, note=note)
                bar.advance(task, amount)

            yield advance
    else:
        yield _lines(total, what, done, unit)


def _notebook_draws() -> bool:
    """Whether a notebook can redraw a bar: without ipywidgets rich warns each time, and draws nothing."""
    return "ipykernel" in sys.modules and importlib.util.find_spec("ipywidgets") is not None


def _rate(speed: float | None, left: float | None, unit: str) -> list[str]:
    """How fast, and how long it still takes: ["940 images/s", "left 1:02:03"]; nothing while it is not known."""
    rate = [f"{speed:,.{0 if speed >= 10 else 1}f}{f' {unit}' if unit else ''}/s"] if speed else []
    return rate if left is None else [*rate, f"left {timedelta(seconds=round(left))}"]


def _lines(total: int, what: str, done: int, unit: str) -> Advance:
    """Plain lines for logs: at most one in `_SECONDS_BETWEEN_LINES`, and one at the end of a step that took long."""
    started = last = time.monotonic()
    at, newest = done, ""

    def advance(amount: int = 1, *, note: str = "") -> None:
        nonlocal last, at, newest
        at, newest = at + amount, note or newest
        now = time.monotonic()
        if now - last < _SECONDS_BETWEEN_LINES and (at < total or now - started < _SECONDS_BETWEEN_LINES):
            return
        last = now
        speed = (at - done) / (now - started)
        parts = _rate(speed, (total - at) / speed if speed else None, unit)
        say(f"{what}: {', '.join([f'{at}/{total}', *parts, *[newest] * bool(newest)])}")

    return advance


def _steps(total: int, what: str, done: int, report: Callable[[str, str], None]) -> Advance:
    """For the parent's display: how far this is, now and then."""
    last, at, newest = 0.0, done, ""

    def advance(amount: int = 1, *, note: str = "") -> None:
        nonlocal last, at, newest
        at, newest = at + amount, note or newest
        if time.monotonic() - last >= _SECONDS_BETWEEN_STEPS:
            last = time.monotonic()
            report("step", f"{what} {at}/{total}{', ' + newest if newest else ''}")

    return advance
