"""Tasks side by side: every result once, whatever is killed; errors end as they are; nothing is left running."""

from __future__ import annotations

import json
import os
import signal
import sys
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from imagemint.errors import ArgumentError, ImagemintError, StudyError
from imagemint.jobs import MOST, PATIENCE, Task, how_many, side_by_side
from imagemint.pages.study_page import study
from tests.digits import digits, write


def squares(first: int) -> Iterator[tuple[int, str | None]]:
    """Three squares, and how many threads the process was told to use."""
    for number in range(first, first + 3):
        yield number**2, os.environ.get("OMP_NUM_THREADS")


def killed_once(file: Path) -> Iterator[int]:
    yield 1
    if not file.exists():
        file.touch()
        os.kill(os.getpid(), signal.SIGKILL)
    yield 2


def killed_always() -> Iterator[int]:
    os.kill(os.getpid(), signal.SIGKILL)
    yield 1


def refused() -> Iterator[int]:
    raise StudyError("two", "three", "add one")


def wrong() -> Iterator[int]:
    yield 1 // 0


def saved_when_stopped(folder: Path) -> Iterator[int]:
    """What a training does: it writes what it has when it is asked to stop."""
    try:
        yield os.getpid()
        time.sleep(10 * PATIENCE)
    except KeyboardInterrupt:
        (folder / "saved").touch()
        raise


def run(tasks: list[Task], count: int = 2) -> list[tuple[str, Any]]:
    with closing(side_by_side(tasks, count, "test")) as found:
        return [(task.name, value) for task, value in found]


@pytest.mark.parametrize("count", [1, 2, 9])
def test_every_result_once_and_in_the_order_of_its_task(count: int) -> None:
    found = run([Task(f"from {first}", squares, (first,), 3) for first in (0, 10, 20)], count)
    assert len(found) == 9
    for first in (0, 10, 20):
        assert [value for name, value in found if name == f"from {first}"] == [
            (number**2, "1") for number in range(first, first + 3)
        ]


@pytest.mark.skipif(sys.platform == "win32", reason="there is no SIGKILL")
def test_a_killed_process_is_started_again_and_no_result_comes_twice(tmp_path: Path) -> None:
    assert run([Task("a", killed_once, (tmp_path / "was",), 2)]) == [("a", 1), ("a", 2)]
    with pytest.raises(ImagemintError, match=r"hopeless: its process ended 3 times.*fewer --jobs"):
        run([Task("hopeless", killed_always, ())])


def test_an_error_ends_as_it_is_and_a_bug_keeps_its_traceback() -> None:
    with pytest.raises(StudyError, match=r"^two; wanted three; add one$"):
        run([Task("a", refused, ()), Task("b", squares, (0,), 3)])
    with pytest.raises(RuntimeError, match=r"(?s)a: a process failed:.*in wrong.*ZeroDivisionError"):
        run([Task("a", wrong, ())])


def failed_once(file: Path) -> Iterator[int]:
    if not file.exists():
        file.touch()
        raise StudyError("two", "three", "add one")
    yield 7


@pytest.mark.skipif(sys.platform == "win32", reason="there is no SIGKILL")
def test_where_the_others_go_on_a_failure_comes_after_every_try_and_in_place_of_results(tmp_path: Path) -> None:
    tasks = [Task("mends", failed_once, (tmp_path / "was",)), Task("bug", wrong, ()), Task("good", squares, (0,), 3)]
    tasks += [Task("killed", killed_always, ())]
    with closing(side_by_side(tasks, 1, "test", go_on=True)) as found:
        given = [(task.name, value) for task, value in found]
    results = {name: value for name, value in given if not isinstance(value, Exception)}
    errors = {name: str(value) for name, value in given if isinstance(value, Exception)}
    assert results == {"mends": 7, "good": (4, "1")} and len(given) == 6
    assert "ZeroDivisionError" in errors["bug"] and "ended 3 times" in errors["killed"] and len(errors) == 2


@pytest.mark.skipif(sys.platform == "win32", reason="os.kill asks nobody there")
def test_who_is_stopped_saves_first_and_is_gone(tmp_path: Path) -> None:
    with closing(side_by_side([Task("a", saved_when_stopped, (tmp_path,))], 1, "test")) as found:
        _, process = next(found)
        time.sleep(0.2)  # so that it is past the result
    assert (tmp_path / "saved").exists()
    with pytest.raises(ProcessLookupError):
        os.kill(process, 0)


def test_more_jobs_than_memory_holds_are_refused(tmp_path: Path) -> None:
    assert how_many(1, 1 << 60) == 1 == how_many(None, 1 << 60)
    for wanted in (0, -1, MOST + 1, True, 1.5):
        with pytest.raises(ArgumentError, match="--jobs"):
            how_many(wanted)  # type: ignore[arg-type]
    if sys.platform == "linux":
        with pytest.raises(ArgumentError, match="say --jobs 1 or fewer"):
            how_many(2, 1 << 60)


def test_a_study_has_the_same_rows_for_one_job_and_two(tmp_path: Path) -> None:
    pixels, labels = digits(400)
    packs = write(tmp_path / "real", pixels[:300], labels[:300]), write(tmp_path / "test", pixels[300:], labels[300:])
    quick: dict[str, Any] = {"classifier_epochs": 1, "classifier_images": 256, "images": 64, "repeats": 1}

    def rows(name: str, **options: Any) -> list[dict[str, Any]]:
        study(*packs, "demo", tmp_path / name, **{**quick, "budgets": [5, 10], **options})
        lines = (tmp_path / name / "rows.jsonl").read_text(encoding="utf-8").splitlines()
        return [{**json.loads(line), "seconds": 0} for line in lines]

    one = rows("one", arms=["classic", "mix"], jobs=1)
    rows("two", arms=["mix"], jobs=1)
    assert rows("two", arms=["classic", "mix"], jobs=2) == one  # in the same order too
    for file in (tmp_path / "one" / "predictions").rglob("*.npy"):
        assert file.read_bytes() == (tmp_path / "two" / file.relative_to(tmp_path / "one")).read_bytes()
