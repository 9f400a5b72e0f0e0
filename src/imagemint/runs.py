"""Opening runs: the folders that trainings write. What is in one, file by file: imagemint.runfolder."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from imagemint.errors import RunError
from imagemint.methods import method_of
from imagemint.progress import say
from imagemint.runfolder import Finding as Finding
from imagemint.runfolder import PackFacts as PackFacts
from imagemint.runfolder import Run as Run
from imagemint.runfolder import RunFacts as RunFacts
from imagemint.runfolder import facts_from, open_folder


def open_run(path: Path | str | Run) -> Run:
    """Open a run folder. Raises RunError where it is missing or damaged.

    >>> from imagemint import pack, train
    >>> made = train(pack("digits", "digits.pack"), "ppca", "run", components=4)
    >>> open_run("run").recipe.name
    'ppca'
    """
    return path if isinstance(path, Run) else open_folder(Path(path), _facts)


def _facts(tree: dict[str, Any]) -> RunFacts:
    method = method_of(tree["recipe"].get("model"))
    return facts_from(tree, method.recipe, method.facts)


def list_runs(folder: Path | str = ".") -> list[Run]:
    """Every run in a folder, at any depth, in order of path. Damaged ones are left out, and that is said.

    Raises RunError where the folder is not there.
    """
    if not Path(folder).is_dir():
        raise RunError(f"no folder {folder}", "a folder with runs in it", "check the path")
    found = []
    for path in _folders(Path(folder)):
        try:
            run = open_run(path)
            run.findings()
        except RunError as error:
            say(f"left out: {error}")
        else:
            found.append(run)
    return found


def _folders(folder: Path) -> list[Path]:
    """Folders with a run.json; links are not followed, as they may lead in a ring."""
    found = (Path(where) for where, _, names in os.walk(folder) if "run.json" in names)
    return sorted(found)
