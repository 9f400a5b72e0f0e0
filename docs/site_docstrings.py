"""The API pages' reading of our docstrings: an example that doctest runs is shown as code. Loaded by mkdocstrings."""

from __future__ import annotations

from typing import Any

import griffe


def fenced(text: str) -> str:
    r"""Put each block of `>>>` lines, with what it prints, into a fence: in Markdown it would be a quotation.

    >>> fenced("Adds.\n\n>>> 1 + 1\n2\n\nThat is all.")
    'Adds.\n\n```pycon\n>>> 1 + 1\n2\n```\n\nThat is all.'
    """
    blocks = text.split("\n\n")
    return "\n\n".join(f"```pycon\n{each}\n```" if each.lstrip().startswith(">>>") else each for each in blocks)


class Examples(griffe.Extension):
    """Fences the examples of everything that is documented."""

    def on_object(self, *, obj: griffe.Object, **_: Any) -> None:
        """Change the docstring of one object, once it is read."""
        if obj.docstring:
            obj.docstring.value = fenced(obj.docstring.value)
