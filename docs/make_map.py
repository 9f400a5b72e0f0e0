"""Write docs/map.md: every file of the source with the first sentence of its docstring. `python docs/make_map.py`.

`tests/test_map.py` compares the page with the source, so it never goes stale.
"""

import ast
from pathlib import Path

PAGE = Path(__file__).with_name("map.md")
SOURCE = Path(__file__).parents[1] / "src" / "imagemint"

# The rooms in the order in which an image passes through them. A new room is added here.
ROOMS = {
    ".": "the public surface, and the ground floor that every room stands on",
    "recipes": "one YAML file per recipe: what is trained, with its command, source and expected result",
    "data": "from files to packs, and back out",
    "data/sources": "one file per kind of source",
    "data/edit": "a pack in, another pack out",
    "models": "networks, one file per family",
    "methods": "what can be trained and minted from",
    "training": "the training of a GAN",
    "training/watch": "what goes wrong in a training, in words",
    "classifiers": "what judges images and what studies train",
    "metrics": "minted images against real ones",
    "studies": "whether minted images help",
    "sweeps": "many trainings of one plan, and the best of them",
    "pages": "packs, runs and studies as pages to look at",
    "studio": "a web page for every verb",
    "tracking": "runs posted to MLflow and TensorBoard, beside the training",
    "cluster": "tasks on other machines; nothing in the core knows of it",
    "cli": "the command line",
}


def sentence(file: Path) -> str:
    """The first sentence of a file's docstring, without its full stop."""
    text = ast.get_docstring(ast.parse(file.read_text(encoding="utf-8"))) or ""
    return text.split("\n\n")[0].replace("\n", " ").split(". ")[0].rstrip(".").replace("|", "\\|")


def page() -> str:
    """The whole page."""
    files = sorted(SOURCE.rglob("*.py"))
    rooms = sorted({file.parent.relative_to(SOURCE).as_posix() for file in files} - set(ROOMS))
    assert not rooms, f"rooms without a line in ROOMS of {Path(__file__).name}: {rooms}"
    parts = ["# A map of the source\n\nOne line per file of `src/imagemint`, written by `python docs/make_map.py`.\n"]
    for room, about in ROOMS.items():
        rows = [file for file in files if file.parent == SOURCE / room]
        if rows or (SOURCE / room).is_dir():
            parts.append(f"\n## {'imagemint' if room == '.' else room}: {about}\n")
        if rows:
            lines = (f"| `{file.relative_to(SOURCE).as_posix()}` | {sentence(file)} |\n" for file in rows)
            parts.append("\n| file | holds |\n|---|---|\n" + "".join(lines))
    return "".join(parts)


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
