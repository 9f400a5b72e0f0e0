"""The documents, recipes and source speak one language: the field's terms, sources by their key, plain English."""

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
SOURCE = sorted((ROOT / "src" / "imagemint").rglob("*.py"))
RECIPES = sorted((ROOT / "src" / "imagemint" / "recipes").glob("*.yaml"))
DOCUMENTS = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").glob("*.md"), *(ROOT / "benchmarks").glob("*.md")])
EXPERIMENTS = sorted([*(ROOT / "experiments").rglob("*.md"), *(ROOT / "experiments").rglob("*.yaml")])
SCRIPTS = sorted([*(ROOT / "experiments").rglob("*.py"), *(ROOT / "benchmarks").glob("*.py")])

NEVER = {
    "name the source by its key in REFERENCES.md": r"\b[Tt]he document\b|\b[Ss]ystem [A-E]\b",
    "say per": r"\b(images?|values?|labels?|steps?|GANs?|seeds?|points?|files?|rows?|one|two|three) an? "
    r"(class|sample|second|step|batch|run|cell|core|pack|image|line|file|row|record)\b",
    "say the shapes": r"Shapes (and ranges )?as above",
}


def name(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


@pytest.mark.parametrize("path", [*SOURCE, *RECIPES, *DOCUMENTS, *EXPERIMENTS, *SCRIPTS], ids=name)
def test_plain_english(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    found = [
        f"line {text.count(chr(10), 0, match.start()) + 1}: {match.group()!r}, {instead}"
        for instead, pattern in NEVER.items()
        for match in re.finditer(pattern, text)
    ]
    assert not found


@pytest.mark.parametrize("path", RECIPES, ids=name)
def test_lines_of_a_recipe_fit_the_screen(path: Path) -> None:
    assert max(map(len, path.read_text(encoding="utf-8").splitlines())) <= 118


# --- citations ----------------------------------------------------------------------------------------------------

AUTHOR = r"[A-ZÉ][\w-]+"
CITATION = re.compile(rf"\b({AUTHOR}(?:, {AUTHOR})*(?: & {AUTHOR}| et al\.)?),? ((?:19|20)\d\d)\b")
NO_AUTHORS = {"JPEG", "January", "November", "Python", "July", "Since", "In"}


def keys() -> set[str]:
    rows = re.findall(r"^\| ([^|]+) \|", (ROOT / "REFERENCES.md").read_text(encoding="utf-8"), re.MULTILINE)
    return set(rows) - {"key"}


def cited(text: str) -> set[str]:
    return {f"{who} {year}" for who, year in CITATION.findall(text) if who not in NO_AUTHORS}


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("as in Tipping & Bishop 1999, eq. 7", {"Tipping & Bishop 1999"}),
        ("(Sterzinger, Stippel & Zogaj 2020)", {"Sterzinger, Stippel & Zogaj 2020"}),
        ("Gulrajani et al. 2017 and Élő 2021", {"Gulrajani et al. 2017", "Élő 2021"}),
        ("2000 images, November 2026", set()),
    ],
)
def test_citations_are_recognised(text: str, expected: set[str]) -> None:
    assert cited(text) == expected


@pytest.mark.parametrize("path", [*SOURCE, *RECIPES, *DOCUMENTS, *EXPERIMENTS], ids=name)
def test_what_is_cited_stands_in_the_references(path: Path) -> None:
    if path.name != "REFERENCES.md":  # where a year also follows the name of a conference
        assert cited(path.read_text(encoding="utf-8")) <= keys()


# --- links --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("path", [*DOCUMENTS, *(p for p in EXPERIMENTS if p.suffix == ".md")], ids=name)
def test_links_lead_somewhere(path: Path) -> None:
    links = re.findall(r"\]\(([^)#]+)(?:#[^)]*)?\)", path.read_text(encoding="utf-8"))
    local = [link for link in links if "://" not in link and not link.startswith("doi")]
    assert [link for link in local if not (path.parent / link).exists()] == []


@pytest.mark.parametrize("path", [*SOURCE, *RECIPES, *SCRIPTS], ids=name)
def test_files_named_in_comments_exist(path: Path) -> None:
    files = re.findall(r"\b(?:experiments|benchmarks|docs|tests)/[\w./-]*\w", path.read_text(encoding="utf-8"))
    assert [file for file in files if not (ROOT / file).exists()] == []
