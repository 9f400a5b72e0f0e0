"""Lists of labels that lie beside images: found wherever they lie, used where they fit without doubt.

A list fits where it names every image once, names nothing else, and which of its columns is what is clear from their
names. Lists of a competition's predictions ("sample_submission.csv") are never labels.
"""

from __future__ import annotations

import posixpath
import shlex
from typing import NamedTuple

from imagemint.data import decode
from imagemint.data.sources import listing, stylegan, tables
from imagemint.data.sources.contents import Asked
from imagemint.data.sources.tree import Tree
from imagemint.errors import SourceError

_MOST = 8  # lists in one folder; where there are more, each belongs to an image
_MOST_LOOKED_AT = 40
_LARGEST = 32 << 20  # bytes of a list
_NEVER = ("submission", "readme", "license", "requirements", "labels.txt", "classes.txt")


class Beside(NamedTuple):
    """What a list says of the images."""

    name: str  # its path in the source
    named: int  # lines that name an image, or several
    rows: dict[str, listing.Row]  # by the path of the image; empty where it is not clear which column is the class
    fits: bool
    remarks: list[str]


def lists(root: Tree, inside: str, images: list[str]) -> list[Beside]:
    """The lists anywhere in the source, and what each says of the images, whose paths are relative to `inside`."""
    by_folder: dict[str, list[str]] = {}  # files of each ending, since every image may have one of its own
    for path in root.files:
        name = posixpath.basename(path).casefold()
        if name.endswith(tables.ENDINGS) and name != stylegan.FILE and not any(word in name for word in _NEVER):
            ending = name[name.rfind(".") :]
            by_folder.setdefault(posixpath.dirname(path) + ending, []).append(path)
    names = [path for paths in by_folder.values() if len(paths) <= _MOST for path in sorted(paths)]
    if not names:
        return []
    known = listing.Names(images)
    found = (_said_by(root, name, inside, frozenset(images), known) for name in names[:_MOST_LOOKED_AT])
    return [each for each in found if each is not None]


def _said_by(root: Tree, name: str, inside: str, images: frozenset[str], known: listing.Names) -> Beside | None:
    """None where the file is no list of these images."""
    item = root.files[name]
    if isinstance(item, decode.Place) and item.size > _LARGEST:
        return None
    here = posixpath.dirname(name)

    def find(text: str) -> str | list[str] | None:
        path = posixpath.normpath(posixpath.join(here, text.replace("\\", "/")))
        if path not in root.files:
            return known(text)
        return path[len(inside) :] if path.startswith(inside) and path[len(inside) :] in images else None

    try:
        table = listing.with_header(tables.parse(root.content(name).decode("utf-8-sig"), name), find)
        at = listing.path_column(table, Asked(), find)
    except (SourceError, UnicodeDecodeError):
        return None
    named = sum(isinstance(row[at], (str, int)) and find(str(row[at])) is not None for _, row in table.rows)
    if len(table.columns) < 2 or (not named and table.rows):
        return None
    unclear = Beside(name, named, {}, False, [])
    try:
        columns = listing.choose_columns(table, Asked(), find)
        if columns.label is None and not columns.one_hot:
            return unclear
        rows, _ = listing.rows_of(table, columns._replace(split=None), Asked())
    except SourceError:
        return unclear
    said: dict[str, listing.Row] = {}
    clear = columns.split is None
    for row in rows:
        path = find(row.path)
        if isinstance(path, str):
            clear &= said.setdefault(path, row).label == row.label
        else:
            clear &= bool(inside) and path is None  # of a part, the list may be of the whole
    return Beside(name, named, said, clear and len(said) == len(images), columns.remarks)


def advice(root: Tree, on_disk: bool, each: Beside) -> str:
    """The command that packs by a list, with the columns to fill in where they are not clear."""
    if not on_disk:
        return f"unpack it and pack {each.name}"
    options = "" if each.rows else " --label-column NAME"
    return f"imagemint pack {shlex.quote(f'{root.title}/{each.name}')} DEST{options}"
