"""Counts, lists and names as text: one plural, one way to shorten a list, one way to print a name from outside."""

from __future__ import annotations

import csv
import re
import unicodedata
from collections.abc import Sequence

# Characters that command a terminal or reorder a line instead of standing in it: control characters, lone surrogates
# and the marks that format a line (direction, line and paragraph separators). Unicode's general categories.
_MARKUP = re.compile(r"([\\`*_\[\]<>|~#&$])")  # letters that mean something in Markdown
_UNPRINTABLE = {"Cc", "Cs", "Zl", "Zp"}
_DIRECTIONS = frozenset("\u061c\u200e\u200f\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069")


def counted(count: int, noun: str, plural: str | None = None) -> str:
    """A count with its noun.

    >>> counted(1, "image"), counted(1200, "image"), counted(2, "class", "classes")
    ('1 image', '1,200 images', '2 classes')
    """
    return f"{count:,} {noun if count == 1 else plural or noun + 's'}"


def listed(names: Sequence[str], most: int = 5) -> str:
    """The first names of a list, and how many more there are.

    >>> listed(["a", "b", "c"], 2), listed([])
    ('a, b and 1 more', '')
    """
    shown_names = ", ".join(names[:most])
    return shown_names if len(names) <= most else f"{shown_names} and {len(names) - most:,} more"


def shown(text: str, *, lines: bool = False) -> str:
    r"""Text that is safe to print: whatever could command a terminal is written as an escape; `lines` keeps newlines.

    >>> shown("caf\u00e9 \x1b[2J")
    'café \\x1b[2J'
    """
    if text.isprintable():
        return text
    keep = "\n" if lines else ""
    return "".join(_escaped(each) if each not in keep else each for each in text)


def _escaped(character: str) -> str:
    if unicodedata.category(character) in _UNPRINTABLE or character in _DIRECTIONS:
        return character.encode("unicode_escape").decode("ascii")
    return character


def shortened(text: str, longest: int = 60) -> str:
    r"""A name as one line of printable text, cut near its end when it is long.

    >>> shortened("two\nlines"), len(shortened("x" * 500))
    ('two lines', 60)
    """
    line = shown(" ".join(text.split())) or "(no name)"
    if len(line) <= longest:
        return line
    return f"{line[: longest - 18]} … {line[-15:]}" if longest > 40 else f"{line[: longest - 1]}…"


def split_list(text: str) -> list[str]:
    """The parts of a list with commas; a part that holds a comma itself stands in double quotes, as in CSV.

    >>> split_list('cat, dog'), split_list('"salt, pepper",sugar')
    (['cat', 'dog'], ['salt, pepper', 'sugar'])
    """
    try:
        parts = next(csv.reader([text], skipinitialspace=True), [])
    except csv.Error:  # a line break outside quotes: no list of ours, so every comma separates
        parts = text.split(",")
    return [part.strip() for part in parts if part.strip()]


def first_line(error: BaseException, most: int = 240) -> str:
    """What an error of some library says, in one line of at most so many letters; its kind where it says nothing.

    >>> first_line(ValueError("\\n not found\\n at all")), first_line(TimeoutError())
    ('not found', 'TimeoutError')
    """
    lines = (line.strip() for line in str(error).splitlines())
    return shown(next(filter(None, lines), type(error).__name__))[:most]


def in_markdown(text: str) -> str:
    """Text that stands in Markdown, or in a cell of its tables, as it is and in one line.

    >>> print(in_markdown("a|b <i>"))
    a\\|b \\<i\\>
    """
    return _MARKUP.sub(r"\\\1", " ".join(shown(text, lines=True).split()))
