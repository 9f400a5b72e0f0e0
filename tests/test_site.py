"""The pages of the site that are made: nothing of the program is left out."""

from __future__ import annotations

import doctest
import importlib.util
import json
import re
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import pytest
import typer.main
import yaml

import imagemint
from imagemint import cli
from imagemint.recipe_list import read_facts

ROOT = Path(__file__).parent.parent


@pytest.fixture(scope="module")
def site() -> ModuleType:
    spec = importlib.util.spec_from_file_location("make_site", ROOT / "docs" / "make_site.py")
    assert spec and spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_every_command_recipe_and_public_name_has_its_entry(site: ModuleType) -> None:
    commands = typer.main.get_command(cli.app).commands  # type: ignore[attr-defined]
    page = site.commands()
    assert all(f"`imagemint {name}`" in page for name in commands) and "`imagemint edit split`" in page
    recipes = site.recipes()
    assert all(f"| [`{each['name']}`](#{each['name']}) |" in recipes for each in read_facts())
    assert all(f"\n## {each['name']}\n" in recipes for each in read_facts())
    assert all(re.search(rf"^::: imagemint\..*\.{name}$", site.api(), re.MULTILINE) for name in imagemint.__all__)


def test_the_tour_shows_every_cell_and_picture_of_the_notebook(site: ModuleType) -> None:
    cells = json.loads((ROOT / "examples" / "tour.ipynb").read_text(encoding="utf-8"))["cells"]
    page = site.notebook()
    assert all("".join(cell["source"]) in page for cell in cells)
    assert page.count("data:image/png") == sum(json.dumps(cell).count("data:image/png") for cell in cells) > 20


def test_pages_and_what_they_show_are_published_and_nothing_else(site: ModuleType) -> None:
    names = set(site.published())
    assert {"README.md", "docs/studio.png", "docs/limits.md", "examples/does_it_help.py"} <= names
    assert not [name for name in names if name.startswith(("src/", "tests/", "."))] and "Makefile" not in names


def test_the_head_of_a_recipe_is_read_as_its_example_says(site: ModuleType) -> None:
    assert doctest.testmod(site) == (0, 1)


def test_every_public_name_has_a_docstring() -> None:
    assert all((getattr(imagemint, name).__doc__ or "").strip() for name in imagemint.__all__)


@pytest.mark.skipif(
    not all(map(importlib.util.find_spec, ("mkdocs", "material", "mkdocstrings"))),
    reason="extra docs is not installed, which builds the site",
)
def test_the_site_builds_without_a_broken_link() -> None:
    script = ROOT / "docs" / "make_site.py"
    done = subprocess.run([sys.executable, str(script)], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
    hook = [sys.executable, "-m", "doctest", str(ROOT / "docs" / "site_docstrings.py")]
    assert subprocess.run(hook, capture_output=True, check=False).returncode == 0
    api = (ROOT / "build" / "site" / "docs" / "api" / "index.html").read_text(encoding="utf-8")
    assert "<blockquote>" not in api, "an example that is read as a quotation"
    assert all(f'id="imagemint.{imagemint._HOMES[name]}.{name}"' in api for name in imagemint.__all__)
    assert yaml.safe_load((ROOT / "build" / "mkdocs.yml").read_text(encoding="utf-8"))["nav"]
