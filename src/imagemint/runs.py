"""Opening runs: the folders that trainings write. What is in one, file by file: imagemint.runfolder."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from imagemint.errors import RunError
from imagemint.methods import method_of
from imagemint.runfolder import Finding as Finding
from imagemint.runfolder import PackFacts as PackFacts
from imagemint.runfolder import Run as Run
from imagemint.runfolder import RunFacts as RunFacts
from imagemint.runfolder import facts_from, open_folder


def open_run(path: Path | str | Run) -> Run:
    """Open a run folder. Raises RunError where it is missing or damaged."""
    return path if isinstance(path, Run) else open_folder(Path(path), _facts)


def _facts(tree: dict[str, Any]) -> RunFacts:
    method = method_of(tree["recipe"].get("model"))
    return facts_from(tree, method.recipe, method.facts)


def find_runs(folder: Path | str = ".") -> tuple[list[Run], list[RunError]]:
    """Every run in a folder, at any depth, in order of path; and what is wrong with those that cannot be opened.

    Raises RunError where the folder is not there.
    """
    if not Path(folder).is_dir():
        raise RunError(f"no folder {folder}", "a folder with runs in it", "check the path")
    found: list[Run] = []
    damaged: list[RunError] = []
    for path in _folders(Path(folder)):
        try:
            found.append(open_run(path))
        except RunError as error:
            damaged.append(error)
    return found, damaged


def list_runs(folder: Path | str = ".") -> list[Run]:
    """Every run in a folder, at any depth, in order of path. Damaged ones are left out (`find_runs` names them)."""
    return find_runs(folder)[0]


def _folders(folder: Path) -> list[Path]:
    """Folders with a run.json; links are not followed, as they may lead in a ring."""
    found = (Path(where) for where, _, names in os.walk(folder) if "run.json" in names)
    return sorted(found)
