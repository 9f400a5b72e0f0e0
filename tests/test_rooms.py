"""Imports go one way through the package, and the surface is what it says."""

from __future__ import annotations

import ast
import os
import subprocess
import sys
from pathlib import Path

import pytest

import imagemint

SOURCE = Path(imagemint.__file__).parent
FILES = [file for file in SOURCE.rglob("*.py") if file != SOURCE / "__init__.py"]
# Each room may import from rooms that stand before it.
ORDER = [
    {"words", "errors", "arguments", "seeds", "files", "progress", "jobs", "images", "augment"},
    {"settings", "devices", "recipe", "recipe_list", "minter"},
    {"data"},
    {"checkpoints", "runfolder", "samples", "losses", "models"},
    {"classifiers"},
    {"metrics"},
    {"training"},  # after metrics: it chooses the best weights by one of them
    {"methods"},
    {"config", "runs"},  # they read the recipes and runs of every method
    {"fitting", "minting", "labelling", "catalogue"},
    {"studies", "sweeps"},
    {"pages", "cards", "publishing", "tracking"},
    {"demo"},
    {"cluster"},
    {"cli_edit", "cli_hub", "cli_look", "cli_track", "cli_options", "cli_sweep"},
    {"cli", "cli_studio", "__main__", "studio"},  # a job of the studio is a command line
]
RANK = {room: rank for rank, rooms in enumerate(ORDER) for room in rooms}


def imports(file: Path) -> set[str]:
    """Rooms of the package that a file imports, at the top or inside a function."""
    found = set()
    for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
        if isinstance(node, ast.ImportFrom) and (node.module or "").split(".")[0] == "imagemint":
            inside = (node.module or "").split(".")[1:]
            found |= {inside[0]} if inside else {alias.name for alias in node.names}
        elif isinstance(node, ast.Import):
            found |= {alias.name.split(".")[1] for alias in node.names if alias.name.startswith("imagemint.")}
    return found & RANK.keys()


def test_imports_go_one_way() -> None:
    for file in SOURCE.rglob("*.py"):
        room = file.relative_to(SOURCE).parts[0].removesuffix(".py")
        if room == "__init__":
            continue
        for other in imports(file) - {room}:
            assert RANK[other] <= RANK[room], f"{file.relative_to(SOURCE)} imports {other}"


MODULES = {".".join(file.relative_to(SOURCE).with_suffix("").parts).removesuffix(".__init__"): file for file in FILES}


def imported(file: Path) -> set[str]:
    """The files of the package that a file imports, at the top or inside a function, as dotted names."""
    found = set()
    for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
        if isinstance(node, ast.ImportFrom) and (node.module or "").split(".")[0] == "imagemint":
            inside = ".".join((node.module or "").split(".")[1:])
            names = {f"{inside}.{alias.name}".removeprefix(".") for alias in node.names}
            found |= {name if name in MODULES else inside for name in names}  # a file of the room, or a name in it
        elif isinstance(node, ast.Import):
            found |= {alias.name.removeprefix("imagemint.") for alias in node.names}
    return found & MODULES.keys()


def graph() -> dict[str, set[str]]:
    """What each file imports of the others; the lazy surface of the package aside."""
    return {name: imported(file) - {name} for name, file in MODULES.items()}


def test_no_files_import_each_other_in_a_circle() -> None:
    left = graph()
    while free := [name for name, others in left.items() if not others & left.keys()]:
        left = {name: others for name, others in left.items() if name not in free}
    while tips := [name for name in left if not any(name in others for others in left.values())]:
        left = {name: others for name, others in left.items() if name not in tips}
    assert not left, f"these files import each other in a circle: {sorted(left)}"


def test_nothing_but_the_rim_imports_pages() -> None:
    users = {name for name, others in graph().items() if any(f"{other}.".startswith("pages.") for other in others)}
    assert {name for name in users if not name.startswith(("pages", "studio", "tracking"))} <= {
        "demo",
        "cli",
        "cli_look",
    }


def test_metrics_never_import_models_or_training() -> None:
    for file in (SOURCE / "metrics").rglob("*.py"):
        assert not imports(file) & {"models", "training", "minting", "studies"}, file


def test_every_public_name_is_there() -> None:
    assert {"pack", "open_pack", "train", "mint", "measure", "study", "load_recipe"} <= set(imagemint.__all__)
    for name in imagemint.__all__:
        assert callable(getattr(imagemint, name))


def test_looking_at_a_pack_does_not_wait_for_torch() -> None:
    code = "import sys; from imagemint.data import pack, packing, split; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


@pytest.mark.parametrize(("given", "expected"), [(None, "PASSIVE"), ("ACTIVE", "ACTIVE")])
def test_on_the_command_line_waiting_threads_sleep_unless_the_user_chose_otherwise(
    given: str | None, expected: str
) -> None:
    code = "from imagemint import __main__; __main__._prepare(); import os; print(os.environ['OMP_WAIT_POLICY'])"
    env = {key: value for key, value in os.environ.items() if key != "OMP_WAIT_POLICY"}
    env |= {"OMP_WAIT_POLICY": given} if given else {}
    out = subprocess.run([sys.executable, "-c", code], env=env, capture_output=True, text=True, check=True)
    assert out.stdout.strip() == expected


def test_importing_the_library_changes_nothing_for_its_host() -> None:
    code = (
        "import os, signal; before = dict(os.environ), signal.getsignal(signal.SIGINT);"
        "import imagemint, imagemint.cli;"
        "assert before == (dict(os.environ), signal.getsignal(signal.SIGINT))"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
