"""The documentation as a site: this repository's pages as they stand, the command line, the recipes and the API.

    pip install -e '.[docs]' && python docs/make_site.py            # writes build/site; a broken link is an error

Pages keep their places, so that links between them work here as on a code host. Four pages are made: the command
line from the program, the recipes from the catalogue, the API from the docstrings of every public name, the tour from
the notebook of examples/.
"""

from __future__ import annotations

import itertools
import json
import posixpath
import re
import shutil
import subprocess
import sys
import textwrap
from pathlib import Path

import typer.cli
import typer.main
import yaml

import imagemint
from imagemint import cli
from imagemint.config import load_recipe
from imagemint.recipe import AnyRecipe
from imagemint.recipe_list import read_facts

ROOT = Path(__file__).resolve().parent.parent
# A table that is wider than a phone scrolls; the theme would break names such as mix+strong+classmix within a word.
STYLE = ".md-typeset table code { word-break: normal; overflow-wrap: normal; }\n"
STAGE, SITE = ROOT / "build" / "site-pages", ROOT / "build" / "site"
NAVIGATION = [
    {"Start": ["README.md", "docs/start.md"]},
    {"Your own images": ["docs/your-images.md", "examples/README.md", "examples/tour.md"]},
    {"Reading the report": "docs/report.md"},
    {"Results and limits": ["docs/results.md", "docs/limits.md", "EXPERIMENTS.md"]},
    {"Recipes": "docs/recipes.md"},
    {"Watching": "docs/watching.md"},
    {"Scaling": ["docs/scaling.md", "docs/deploying.md"]},
    {"Pack and run formats": ["docs/pack.md", "docs/run.md", "docs/sources.md"]},
    {"Measures": ["docs/measures.md", "docs/findings.md"]},
    {"Reference": ["docs/commands.md", "docs/api.md", "docs/map.md", "REFERENCES.md"]},
    {"Project": ["CHANGELOG.md", "CONTRIBUTING.md", "SECURITY.md"]},
]


def commands() -> str:
    """The help of every command, from the program itself."""
    command = typer.main.get_command(cli.app)
    context = command.make_context("imagemint", [], resilient_parsing=True)
    return typer.cli.get_docs_for_click(obj=command, ctx=context, name="imagemint", title="Command line")


def recipes() -> str:
    """A table of the recipes, from the catalogue, and what the file of each says at its head."""
    lines = [
        "# Recipes",
        "",
        "Which one to begin with: [the README's table](../README.md#which-recipe). `imagemint recipes NAME`",
        "prints every setting and the networks layer by layer; `--set key=value` changes any of them. Pixels are",
        "the sides of the images that a recipe takes; others are refused. Trained for: real images shown, where",
        "neither `--images` nor `--epochs` says otherwise. Parameters: the trainable ones of generator and",
        "discriminator, for images of the size in brackets.",
        "",
        "| recipe | what, and for whom | pixels | trained for | parameters | source |",
        "|---|---|---|---|---|---|",
    ]
    for each in read_facts():
        name, (channels, height, width) = each["name"], each["shape"]
        counts = " + ".join(f"{network['trainable']:,}" for network in each["parameters"].values())
        size = f"{counts} ({height}x{width}x{channels})" if counts else "none"
        pixels = " to ".join(dict.fromkeys((str(each["smallest"]), str(each["largest"]))))
        cells = [f"[`{name}`](#{name})", each["about"], pixels, length(load_recipe(name)), size, each["source"]]
        lines.append(f"| {' | '.join(cells)} |")
    for each in read_facts():
        file = ROOT / "src" / "imagemint" / "recipes" / f"{each['name']}.yaml"
        lines += ["", f"## {each['name']}", "", head(file.read_text(encoding="utf-8"))]
    return "\n".join(lines) + "\n"


def length(recipe: AnyRecipe) -> str:
    """How long a recipe trains."""
    settings = recipe.model_dump()
    if images := settings.get("images"):
        return f"{images:,} images"
    return f"{settings['epochs']:g} epochs" if settings.get("epochs") else "one pass: it is fitted"


def head(recipe: str) -> str:
    """The comment at the head of a recipe's file as Markdown: commands are fenced, experiments are links.

    >>> print(head("# For digits (experiments/pca):\\n#   imagemint recipes\\n# That is all.\\nversion: 1"))
    For digits ([experiments/pca](../experiments/pca/README.md)):
    <BLANKLINE>
    ```
    imagemint recipes
    ```
    <BLANKLINE>
    That is all.
    """
    comment = [
        line.removeprefix("#") for line in itertools.takewhile(lambda line: line.startswith("#"), recipe.splitlines())
    ]
    blocks = []
    for command, lines in itertools.groupby(comment, lambda line: line.startswith("   ")):
        text = textwrap.dedent("\n".join(lines))
        linked = re.sub(
            r"\bexperiments/([a-z0-9-]+)(?![\w/.-])", r"[experiments/\1](../experiments/\1/README.md)", text
        )
        blocks.append(f"```\n{text}\n```" if command else linked)
    return "\n\n".join(blocks)


def api() -> str:
    """A section for every public name, by its home: mkdocstrings reads the docstrings."""
    lines = ["# API", "", "From Python, one function per verb: `import imagemint`.", ""]
    for name in imagemint.__all__:
        lines += [f"::: imagemint.{imagemint._HOMES[name]}.{name}", ""]
        if name == "study":  # which takes the options of this one, and its docstring when it is loaded
            lines += ["::: imagemint.studies.study.study", ""]
    return "\n".join(lines)


def notebook() -> str:
    """The tour of examples/ as a page: its text, its code, and what its cells showed when it was last run."""
    cells = json.loads((ROOT / "examples" / "tour.ipynb").read_text(encoding="utf-8"))["cells"]
    parts = []
    for cell in cells:
        source = "".join(cell["source"])
        parts.append(source if cell["cell_type"] == "markdown" else f"```python\n{source}\n```")
        for output in cell.get("outputs", []):
            shown = output["data"].get("text/html") or ["<pre>", *output["data"]["text/plain"], "</pre>"]
            parts.append(f'<div style="overflow-x: auto">{"".join(shown)}</div>')
    return "\n\n".join(parts) + "\n"


def published() -> list[str]:
    """The files of the site, by their path in the repository: every page, and the files that a page links to."""
    found = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, check=True, capture_output=True, text=True).stdout
    tracked = [name for name in found.split("\0") if name and not name.startswith((".", "tests/", "src/"))]
    pages = [name for name in tracked if name.endswith(".md")]
    linked = {
        posixpath.normpath(posixpath.join(posixpath.dirname(page), target))
        for page in pages
        for target in re.findall(r"\]\(([^)#\s]+)", (ROOT / page).read_text(encoding="utf-8"))
    }
    return [name for name in tracked if name in linked or name in pages]


def stage() -> Path:
    """Copy what the pages are made of, write those that are made, and the settings; gives their file."""
    shutil.rmtree(STAGE, ignore_errors=True)
    for name in published():
        (STAGE / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(ROOT / name, STAGE / name)
    made = {"docs/commands": commands(), "docs/recipes": recipes(), "docs/api": api(), "examples/tour": notebook()}
    for name, text in made.items():
        (STAGE / f"{name}.md").write_text(text, encoding="utf-8")
    (STAGE / "docs" / "site.css").write_text(STYLE, encoding="utf-8")
    options = {
        "extensions": [f"{ROOT / 'docs' / 'site_docstrings.py'}:Examples"],
        "heading_level": 2,
        "separate_signature": True,
        "show_root_full_path": False,
        "show_root_heading": True,
        "show_signature_annotations": True,
        "show_source": False,
    }
    python = {"paths": [str(ROOT / "src")], "options": options}
    settings = {
        "site_name": "imagemint",
        "site_description": "Mint labelled images from a small data set, and learn honestly whether they help.",
        "docs_dir": str(STAGE),
        "site_dir": str(SITE),
        "theme": {"name": "material", "font": False, "features": ["navigation.tabs", "content.code.copy"]},
        "extra_css": ["docs/site.css"],
        "plugins": ["search", {"mkdocstrings": {"handlers": {"python": python}}}],
        "markdown_extensions": ["admonition", "tables", "toc", "fenced_code"],
        "validation": {"links": {"unrecognized_links": "warn", "anchors": "warn"}},  # strict: it stops the build
        "not_in_nav": "experiments/\nbenchmarks/\ndocs/attack.md\n",
        "nav": NAVIGATION,
    }
    file = STAGE.parent / "mkdocs.yml"
    file.write_text(yaml.safe_dump(settings, sort_keys=False), encoding="utf-8")
    return file


def main() -> int:
    """Build the site; the status of MkDocs, which is not 0 for a broken link."""
    return subprocess.run(
        [sys.executable, "-m", "mkdocs", "build", "--strict", "-f", str(stage())], check=False
    ).returncode


if __name__ == "__main__":
    raise SystemExit(main())
