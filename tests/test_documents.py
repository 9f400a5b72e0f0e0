"""Every command that a document or a recipe shows is one that the command line has, with the options that it has."""

import re
import shlex
from pathlib import Path
from typing import Any

import pytest
import typer
import yaml

import imagemint
from imagemint.cli import app
from imagemint.config import load_recipe
from imagemint.studies.arms import ARMS, FORMS
from imagemint.studies.plan import make_plan

ROOT = Path(__file__).parents[1]
PLANS = sorted((ROOT / "experiments").rglob("*.yaml"))
RECIPES = sorted((ROOT / "src" / "imagemint" / "recipes").glob("*.yaml"))
PAGES = sorted(
    [
        *ROOT.glob("*.md"),
        *(ROOT / "docs").glob("*.md"),
        *(ROOT / "experiments").rglob("*.md"),
        *(ROOT / "experiments").rglob("*.py"),
        *RECIPES,
    ]
)


def commands(text: str) -> list[list[str]]:
    """The words of each `imagemint ...` that stands at the start of a line or after &&, comments left out."""
    text = re.sub(r"\\\n#?", " ", text)
    lines = re.findall(r"^(?:#  )? *(?:torchrun [^\n]*?-m )?(imagemint .*)$", text, re.MULTILINE)
    found = [shlex.split(part, comments=True) for line in lines for part in re.split(r"&&|\| ", line)]
    return [words for words in found if words and words[0] == "imagemint"]


def options_of(words: list[str]) -> tuple[str, set[str]]:
    """The name of the command that the words call, and its options."""
    command: Any = typer.main.get_command(app)
    name = "imagemint"
    for word in words[1:]:
        if not hasattr(command, "commands"):
            break
        assert word in command.commands, f"{name} has no command {word}"
        command, name = command.commands[word], f"{name} {word}"
    return name, {option for each in command.params for option in (*each.opts, *each.secondary_opts)}


def test_a_command_is_found_and_split() -> None:
    text = "```\nimagemint pack a b --size 64    # colour\ntorchrun -m imagemint -- train p --run r\n```\n"
    assert commands(text) == [
        ["imagemint", "pack", "a", "b", "--size", "64"],
        ["imagemint", "--", "train", "p", "--run", "r"],
    ]
    assert options_of(["imagemint", "edit", "slice"])[0] == "imagemint edit slice"
    with pytest.raises(AssertionError, match="no command frobnicate"):
        options_of(["imagemint", "frobnicate"])


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.relative_to(ROOT).as_posix())
def test_commands_exist(page: Path) -> None:
    for words in commands(page.read_text(encoding="utf-8")):
        words = [word for word in words if word not in ("--", "...")]
        name, options = options_of(words)
        used = {word.split("=")[0] for word in words if word.startswith("--")}
        assert used <= options, f"{name} has no {used - options}: {' '.join(words)}"
        if "--recipe" in words:
            recipe = words[words.index("--recipe") + 1]
            assert recipe in {"R", *(file.stem for file in RECIPES)} or recipe.endswith(".yaml"), recipe


@pytest.mark.parametrize("file", PLANS, ids=lambda file: file.relative_to(ROOT).as_posix())
def test_a_plan_of_an_experiment_can_be_read(file: Path) -> None:
    """As a study or a recipe, whichever it is; its packs need not be there. Sweeps: test_sweep."""
    settings = yaml.safe_load(file.read_text(encoding="utf-8"))
    if "pack" in settings:
        recipe = settings.pop("recipe", None)
        plan = {key: value for key, value in settings.items() if key not in ("pack", "test")}
        assert make_plan(recipe, **plan).budgets
    elif "packs" not in settings:
        assert load_recipe(str(file)).name


def test_the_page_on_reports_names_every_arm() -> None:
    page = (ROOT / "docs" / "report.md").read_text(encoding="utf-8")
    assert [arm for arm in [*ARMS, *FORMS.values()] if f"`{arm}`" not in page] == []


def test_changelog_and_citation_name_the_version_of_the_package() -> None:
    changes = (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")
    released = re.findall(r"^## \[(\d[^\]]*)\] - (\d{4}-\d\d-\d\d)$", changes, re.MULTILINE)
    cited = yaml.safe_load((ROOT / "CITATION.cff").read_text(encoding="utf-8"))
    assert released[0] == (imagemint.__version__, str(cited["date-released"]))
    assert cited["version"] == imagemint.__version__
