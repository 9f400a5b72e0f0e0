"""The list of recipes, from a file: whoever only looks at the list does not wait for torch.

The file is made by `python -m imagemint.catalogue`; a test compares it with the recipes and their networks.
"""

from __future__ import annotations

import json
from importlib import resources
from pathlib import Path
from typing import Any, Literal, NamedTuple

from rich import box
from rich.table import Table
from rich.text import Text

_FILE = "list.json"


class Page(NamedTuple):
    """One answer in two forms."""

    facts: dict[str, Any]  # JSON
    shown: list[Any]  # what rich prints


def recipe_list() -> Page:
    """Name, one line, source, image size and trainable parameters of each recipe that ships."""
    facts = read_facts()
    table = table_of("recipe", "about, source", "images", "G", "D", numbers=3)
    for row in facts:
        c, h, w = row["shape"]
        numbers = [f"{network['trainable']:,}" for network in row["parameters"].values()]
        numbers += [""] * (2 - len(numbers))
        about = Text.assemble(row["about"], "\n", (row["source"], "dim"))
        table.add_row(Text(row["name"]), about, f"{h}x{w}x{c}", *numbers)
    note = "G, D: trainable parameters of both networks for such images (height x width x channels)"
    return Page({"recipes": facts}, [table, Text(note, "dim")])


def read_facts() -> list[dict[str, Any]]:
    """What the file says of each recipe."""
    text = (resources.files("imagemint") / "recipes" / _FILE).read_text(encoding="utf-8")
    facts: list[dict[str, Any]] = json.loads(text)
    return facts


def write_facts(facts: list[dict[str, Any]]) -> None:
    """Write the file into the source."""
    text = json.dumps(facts, indent=1, ensure_ascii=False) + "\n"
    (Path(__file__).parent / "recipes" / _FILE).write_text(text, encoding="utf-8")


def table_of(*columns: str, numbers: int) -> Table:
    """The last columns hold numbers or shapes: never broken, to the right."""
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    for k, column in enumerate(columns):
        number = k >= len(columns) - numbers
        wrap = not number and k > 0
        justify: Literal["left", "right"] = "right" if number else "left"
        table.add_column(Text(column), justify=justify, no_wrap=not wrap, max_width=28 if column == "names" else None)
    return table
