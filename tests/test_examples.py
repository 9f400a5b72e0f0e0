"""The examples in docstrings run, and give what they say; so do the scripts and the notebook of examples/."""

import doctest
import importlib
import json
import re
import subprocess
import sys
from pathlib import Path

import pytest

import imagemint

ROOT = Path(imagemint.__file__).parent
EXAMPLES = Path(__file__).parents[1] / "examples"
WITH_EXAMPLES = [
    ".".join(["imagemint", *file.relative_to(ROOT).with_suffix("").parts]).removesuffix(".__init__")
    for file in sorted(ROOT.rglob("*.py"))
    if ">>>" in file.read_text(encoding="utf-8")
]


@pytest.mark.parametrize("name", WITH_EXAMPLES)
def test_examples(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    flags = doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE
    result = doctest.testmod(importlib.import_module(name), optionflags=flags)
    assert result.attempted > 0
    assert result.failed == 0


def python(folder: Path, *arguments: object) -> str:
    """What a process in `folder` prints; the package is the one that is tested."""
    command = [sys.executable, *map(str, arguments)]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, encoding="utf-8", check=False)
    assert done.returncode == 0, done.stderr[-2000:]
    return done.stdout


def test_minting_a_folder(tmp_path: Path) -> None:
    said = python(tmp_path, EXAMPLES / "mint_a_folder.py", "digits", "more", "--per-class", 8, "--images", 640)
    assert "fd_lenet" in said and (tmp_path / "more" / "minted.html").is_file()
    assert {len(list(each.glob("*.png"))) for each in (tmp_path / "more" / "minted").iterdir() if each.is_dir()} == {
        8
    }


def test_does_it_help(tmp_path: Path) -> None:
    few = ("--repeats", 2, "--images", 640, "--classifier-images", 640)
    said = python(tmp_path, EXAMPLES / "does_it_help.py", "digits", "out", *few)
    assert re.search(r"^mix\+strong against .*points \(95 % interval", said, re.MULTILINE)
    assert (tmp_path / "out" / "study" / "report.html").is_file()


def test_naming_the_rest(tmp_path: Path) -> None:
    said = python(tmp_path, EXAMPLES / "name_the_rest.py", "out", "--images", 640, "--above", 0)
    assert said.startswith("of 1697 images without a label 1697 got a name")


@pytest.mark.parametrize(("which", "classes"), [("defects", 2), ("kinds", 4), ("unlabelled", 4)])
def test_photos_are_drawn_and_packed(which: str, classes: int, tmp_path: Path) -> None:
    """A twentieth of them: the counts stand in the script, which the pages quote."""
    python(tmp_path, EXAMPLES / "make_photos.py", which, "photos", "--share", 0.05)
    photos = imagemint.pack(tmp_path / "photos", tmp_path / "photos.pack", size=32)
    assert len(photos.classes) == classes and (photos.unlabelled() > 0) == (which == "unlabelled")


# The cells one after the other, as a notebook runs them: what stands at the end of a cell shows itself.
RUN_CELLS = """
import ast, json, sys
sys.modules["ipykernel"] = sys
names = {}
for cell in json.load(sys.stdin):
    *lines, last = ast.parse(cell).body
    exec(compile(ast.Module(lines, []), "cell", "exec"), names)
    if isinstance(last, ast.Expr):
        shown = eval(compile(ast.Expression(last.value), "cell", "eval"), names)
        print(type(shown).__name__, hasattr(shown, "_repr_html_") and shown._repr_html_()[:3])
    else:
        exec(compile(ast.Module([last], []), "cell", "exec"), names)
"""


def test_the_notebook(tmp_path: Path) -> None:
    cells = json.loads((EXAMPLES / "tour.ipynb").read_text(encoding="utf-8"))["cells"]
    code = ["".join(each["source"]) for each in cells if each["cell_type"] == "code"]
    code[0], shortened = re.subn(r"IMAGES = \d\d?_000", "IMAGES = 640", code[0])
    assert shortened == 2
    done = subprocess.run(
        [sys.executable, "-c", RUN_CELLS],
        input=json.dumps(code),
        cwd=tmp_path,
        capture_output=True,
        text=True,
        encoding="utf-8",
        check=False,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    shown = [line.split()[:2] for line in done.stdout.splitlines()]
    assert [kind for kind, html in shown if html != "False"] == ["Pack", "Run", "Pack", "Measures", "Study"]
