"""A list of images: the path of each and its class, in a CSV, TSV, JSON Lines or JSON file (see `tables`).

Paths are relative to the file that lists them; absolute paths and `..` are allowed, since the list is the user's own
and images are only read. A path without its folder or its ending ("ISIC_10") names the one file below the list's
folder that it fits. Classes are names or whole numbers; an empty one (null, -1 among numbers, and what pandas writes
for a missing value) is unlabelled. One column per class, with a single 1 in each row, is read as well.
"""

from __future__ import annotations

import os
import re
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Sequence
from itertools import islice
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from imagemint import files
from imagemint.data.sources import tables
from imagemint.data.sources.contents import (
    LONGEST_NAME,
    Asked,
    Contents,
    choose_split,
    named_labels,
    no_splits,
)
from imagemint.data.sources.files import printable
from imagemint.data.sources.tables import Table, bad_line
from imagemint.data.sources.tree import is_image
from imagemint.errors import SourceError
from imagemint.words import counted, listed, shown

ENDINGS = tables.ENDINGS
_LIMIT = 1 << 30  # bytes of a list
_MOST_SEARCHED = 500_000  # files below a list's folder among which names are looked for
_TRIED = 64  # rows that say whether a column names images


def _words(text: str) -> list[str]:
    return text.split()


# Columns by their usual names, in lower case with underscores. Of two sets, the first of which any is there counts.
_PATHS = (
    _words(
        "path file_name filename file image img filepath filepaths file_path image_path img_path imagepath "
        "image_name img_name image_file filenames images paths"
    ),
    _words("image_id imageid img_id id id_code image_index isic_id uid name"),
)
_CLASSES = (
    _words("label class"),
    _words(
        "labels classes category class_name classname class_id classid class_label category_name label_name target y "
        "diagnosis dx species breed emotion finding_labels variety cultivar ground_truth"
    ),
)
_SPLIT = _words("split usage subset partition set data_set dataset phase")
_SPLITS = _words(
    "train training test testing val valid validation dev publictest privatetest eval unlabeled unlabelled"
)
_CAPTIONS = _words("text caption captions prompt description title")
_NO_CLASSES = _CAPTIONS + _words(
    "width height url date time size bbox boxes objects mask mask_path split fold set usage x y xmin ymin"
)
# What pandas and spreadsheets write where a value is missing.
_MISSING = frozenset(("", "nan", "NaN", "None", "null", "NULL", "NA", "N/A", "n/a", "<NA>", "#N/A", "NaT"))

Find = Callable[[str], "str | list[str] | None"]  # a text of the list -> the image; several that fit; none


class Columns(NamedTuple):
    """Which column of a table is what, by position."""

    path: int | None  # None: the table itself holds the images
    label: int | None
    one_hot: list[int]  # one column per class instead of a label
    split: int | None
    remarks: list[str]


class Row(NamedTuple):
    """What a line says of an image."""

    line: int
    path: str
    label: str | None


def read(file: Path, asked: Asked) -> Contents:
    """The images that a list names, in its order."""
    try:
        text = files.read_text(file, limit=_LIMIT)
    except files.Damaged as error:
        wanted, remedy = "a list of images as UTF-8 text", "save it as UTF-8, or check the path"
        raise SourceError(f"{file} {error}", wanted, remedy) from None
    table = with_header(tables.parse(text, str(file)), (found := _OnDisk(file)))
    if not table.columns:
        raise SourceError(f"{file} is empty", "a line per image", "add path and label of each image")
    columns = choose_columns(table, asked, found)
    rows, remarks = rows_of(table, columns, asked)
    if not rows:
        raise SourceError(f"{file} lists no image", "a line per image", "add path and label of each image")
    items = [_item(row, found, table.where) for row in rows]
    rows, items, repeats = _once(rows, items, table.where)
    labels, classes, about = labels_of(rows)
    remarks = [*columns.remarks, *remarks, *repeats, *found.remarks(), *about]
    return Contents(labels, classes, [printable(row.path) for row in rows], items, remarks=remarks)


# -------------------------------------------------------------------------------------------------- the columns


def with_header(table: Table, find: Find) -> Table:
    """The table itself; where its first line names an image and no columns, one with that line as a row."""
    first_line = table.columns
    known = {name for names in (*_PATHS, *_CLASSES) for name in names}
    if not 1 <= len(first_line) <= 2 or any(_plain(name) in known for name in first_line):
        return table
    at = next((k for k, name in enumerate(first_line) if _names_image(name, find)), None)
    if at is None:
        return table
    columns = ["label", "label"][: len(first_line)]
    columns[at] = "path"
    return Table(table.where, columns, [(1, list(first_line)), *table.rows])


def _names_image(text: str, find: Find) -> bool:
    return is_image(text) and isinstance(_tried(text, find), str)


def _tried(text: Any, find: Find) -> str | list[str] | None:
    return find(str(text)) if text is not None and not isinstance(text, (list, dict, bool)) and usable(text) else None


def choose_columns(table: Table, asked: Asked, find: Find | None) -> Columns:
    """Which column is what: as asked for, by its name, or by what it holds. Raises SourceError where that is unclear.

    Without `find` there is no column that names images.
    """
    plain = [_plain(name) for name in table.columns]
    if repeated := [name for name, count in Counter(plain).items() if count > 1]:
        found = f"{table.where} has the columns {listed(table.columns, 8)} ({listed(repeated)} twice)"
        raise SourceError(found, "columns of different names", "rename one of them")
    path = None if find is None else path_column(table, asked, find)
    split = next((k for name in _SPLIT for k in _at(plain, [name]) if k != path and _holds_splits(table, k)), None)
    rest = [k for k in range(len(plain)) if k not in (path, split)]
    label, one_hot, remarks = _label_column(table, plain, rest, asked)
    if path is not None and asked.path_column is None and plain[path] not in _PATHS[0]:
        remarks.insert(0, f"images are named by the column {shown(table.columns[path])} of {table.where}")
    return Columns(path, label, one_hot, split, remarks)


def path_column(table: Table, asked: Asked, find: Find) -> int:
    """The column that names the images. Raises SourceError where that is unclear."""
    plain = [_plain(name) for name in table.columns]
    if asked.path_column is not None:
        return _asked_for(table, asked.path_column, "--path-column")
    rows = [values for _, values in table.rows[:_TRIED]]
    fit = [k for k in range(len(plain)) if rows and all(isinstance(_tried(row[k], find), str) for row in rows)]
    for names in _PATHS:
        known = _at(plain, names)
        if len(known) > 1:
            known = [k for k in known if k in fit] or known
        if len(known) == 1:
            return known[0]
        if known:
            raise _unclear(table, "names the image", "--path-column", known)
    if len(fit) == 1:
        return fit[0]
    raise _unclear(table, "names the image", "--path-column", fit)


def _label_column(
    table: Table, plain: list[str], rest: list[int], asked: Asked
) -> tuple[int | None, list[int], list[str]]:
    """The column of the class or those of one class each, and what to say about the choice."""

    def said(k: int) -> list[str]:
        return [f"classes are the column {shown(table.columns[k])} of {table.where}"]

    if asked.label_column is not None:
        return _asked_for(table, asked.label_column, "--label-column"), [], []
    if not rest:
        return None, [], [f"{table.where} has no column of classes: all images are unlabelled"]
    known = [k for names in _CLASSES for k in _at(plain, names) if k in rest]
    if len(known) > 1:
        sure = [k for k in known if plain[k] in _CLASSES[0]]
        same = all(_one_to_one(table, known[0], k) for k in known[1:])
        if same:
            return (by_name := _named_first(table, known)), [], said(by_name)
        if len(sure) == 1:
            return sure[0], [], said(sure[0])
        raise _unclear(table, "is the class", "--label-column", known)
    if known:
        return known[0], [], said(known[0]) if len(rest) > 1 or plain[known[0]] not in _CLASSES[0] else []
    if one_hot := _one_hot(table, rest):
        return (
            None,
            one_hot,
            [f"classes are the columns {listed([table.columns[k] for k in one_hot])}, one per class"],
        )
    if any(plain[k] in _CAPTIONS for k in rest):
        caption = next(k for k in rest if plain[k] in _CAPTIONS)
        what = f"{shown(table.columns[caption])} of {table.where} is taken for captions and not for classes"
        return None, [], [f"{what}: all images are unlabelled (--label-column names a column of classes)"]
    if len(rest) == 1 and plain[rest[0]] not in _NO_CLASSES and _repeats(table, rest[0]):
        return rest[0], [], said(rest[0])
    raise _unclear(table, "is the class", "--label-column", rest)


def _asked_for(table: Table, name: str, option: str) -> int:
    for same in (str, str.casefold, _plain):
        if len(found := [k for k, column in enumerate(table.columns) if same(column) == same(name)]) == 1:
            return found[0]
    found_instead = f"{table.where} has no column {name!r} but {listed(table.columns, 8)}"
    raise SourceError(found_instead, "one of them", f"choose with {option}")


def _unclear(table: Table, what: str, option: str, candidates: Sequence[int]) -> SourceError:
    names = [shown(name) for name in table.columns]
    if not names or not any(names):
        return SourceError(f"{table.where} names no columns", "path and label in the first line", "add that line")
    example = names[candidates[0]] if candidates else names[-1]
    example = f'"{example}"' if re.search(r"\W", example) else example
    remedy = f"choose it, for example {option} {example}; or write path,label as the first line if it has none"
    return SourceError(f"{table.where} has the columns {listed(names, 8)}", f"to know which {what}", remedy)


def _plain(name: str) -> str:
    return re.sub(r"[\s\-]+", "_", name.strip().casefold())


def _at(plain: list[str], names: Sequence[str]) -> list[int]:
    return [k for k, name in enumerate(plain) if name in names]


def _column(table: Table, k: int) -> list[str]:
    return ["" if row[k] in (None, ...) else str(row[k]) for _, row in table.rows]


def _holds_splits(table: Table, k: int) -> bool:
    return {value.casefold() for value in _column(table, k)} <= set(_SPLITS)


def _one_to_one(table: Table, a: int, b: int) -> bool:
    pairs = set(zip(_column(table, a), _column(table, b), strict=True))
    return len(pairs) == len({left for left, _ in pairs}) == len({right for _, right in pairs})


def _named_first(table: Table, columns: list[int]) -> int:
    """The column of names, of several that mean the same classes."""
    return next((k for k in columns if not all(map(_is_number, _column(table, k)))), columns[0])


def _repeats(table: Table, k: int) -> bool:
    """Whether the values look like classes, which have several images each, rather than like names of images."""
    values = _column(table, k)
    return len(set(values)) <= max(2, len(values) // 2)


def _one_hot(table: Table, rest: list[int]) -> list[int]:
    """The columns of 0 and 1 of which every row has a single 1; none where there are no such columns.

    Raises SourceError where rows have several, since an image has one class here.
    """
    numbers = {"0", "1", "0.0", "1.0"}
    columns = [k for k in rest if table.rows and set(_column(table, k)) <= numbers]
    if len(columns) < 2 or len(columns) < len(rest) - 1:
        return []
    sums = [sum(float(row[k]) for k in columns) for _, row in table.rows]
    several = sum(each > 1 for each in sums)
    if several or max(sums) < 1:
        names = listed([shown(table.columns[k]) for k in columns])
        raise SourceError(
            f"{table.where} has a column per class ({names}) and several classes in {counted(several, 'row')}",
            "one class per image",
            "add a column with the class of each image and name it with --label-column",
        )
    return columns


# ----------------------------------------------------------------------------------------------------- the rows


def rows_of(table: Table, columns: Columns, asked: Asked) -> tuple[list[Row], list[str]]:
    """The rows of the split that was asked for, and what to say about them. Raises SourceError."""
    kept, remarks = table.rows, []
    if columns.split is not None:
        given = _column(table, columns.split)
        found = list(dict.fromkeys(given))
        if len(found) > 1 or asked.split is not None:
            chosen = choose_split(found, asked.split, table.where)
            kept = [row for row, value in zip(table.rows, given, strict=True) if value == chosen]
            remarks = [f"{len(kept):,} of {counted(len(given), 'row')} are of the split {chosen}"]
    elif asked.split is not None:
        raise no_splits(table.where, asked.split)
    return [_row(table, columns, line, values) for line, values in kept], remarks


def _row(table: Table, columns: Columns, line: int, values: list[Any]) -> Row:
    path = "-" if columns.path is None else values[columns.path]
    if isinstance(path, int) and not isinstance(path, bool) and _plain(table.columns[columns.path or 0]) in _PATHS[1]:
        path = str(path)
    if columns.label is not None and values[columns.label] is ...:
        keys = [name for name, value in zip(table.columns, values, strict=True) if value is not ...]
        raise bad_line(
            table.where,
            line,
            f"columns {listed(keys)}",
            f"{table.columns[columns.label]} in every line, null where it is not known",
        )
    if path in (None, ..., ""):
        raise bad_line(table.where, line, "no path", "a path in every line")
    if not isinstance(path, str) or not path.strip() or not usable(path):
        raise bad_line(table.where, line, f"path {_short(path)}", "a path as text")
    if columns.one_hot:
        marked = [table.columns[k] for k in columns.one_hot if float(values[k]) == 1]
        return Row(line, path.strip(), marked[0] if marked else None)
    return Row(
        line, path.strip(), None if columns.label is None else _label(table.where, line, values[columns.label])
    )


def _label(where: str, line: int, value: Any) -> str | None:
    if value is None:
        return None
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    if isinstance(value, bool) or not isinstance(value, (str, int)):
        raise bad_line(where, line, f"label {_short(value)}", "a name, a whole number or null")
    if isinstance(value, int) and abs(value) >= 1 << 63:
        raise bad_line(where, line, "a number of more than 64 bits as its label", "the name or number of a class")
    text = str(value).strip()
    if len(text) > LONGEST_NAME:
        found = f"a label of {len(text):,} characters"
        raise bad_line(where, line, found, f"names of at most {LONGEST_NAME} characters")
    if not text.isascii() and not usable(text):
        raise bad_line(where, line, f"label {shown(text)}", "text that is valid Unicode")
    return text


def _short(value: Any) -> str:
    words = {True: "true", False: "false"}
    return shown(words[value] if isinstance(value, bool) else str(value))[:40]


def usable(text: Any) -> bool:
    """Whether the system and UTF-8 take it: no NUL, no lone surrogate (but bytes that are not UTF-8 are allowed)."""
    try:
        return b"\0" not in str(text).encode("utf-8", "surrogateescape")
    except UnicodeEncodeError:
        return False


def labels_of(rows: Sequence[Row]) -> tuple[np.ndarray, list[str], list[str]]:
    """Labels int64 `[n]`, the names of the classes, what to say about them."""
    values, remarks = cleaned([row.label for row in rows])
    labels, classes = named_labels(values)
    return labels, classes, [*remarks, *_alike(classes)]


def cleaned(values: Sequence[str | None]) -> tuple[list[str | None], list[str]]:
    """Labels as a program wrote them -> classes, None where none is given, and what to say about it."""
    missing = Counter(value for value in values if value is None or value in _MISSING)
    found = [None if value in missing else value for value in values]
    remarks = []
    if all(value is None or re.fullmatch(r"-?\d+(\.0*)?", value) for value in found):  # pandas' columns with a gap
        whole = [None if value is None else value.split(".")[0] for value in found]
        if whole != found:
            example = next(value for value in found if value and "." in value)
            remarks.append(f"classes are whole numbers: {example} is class {example.split('.')[0]}")
        missing["-1"] = whole.count("-1")
        found = [None if value == "-1" else value for value in whole]
    if unlabelled := found.count(None):
        how = [f"{count:,} {value or 'empty'}" for value, count in missing.most_common() if count]
        remarks.append(f"{unlabelled:,} of {len(found):,} images have no label ({listed(how)}): kept without one")
    several = [value for value in found if value and "|" in value]
    if several:
        remarks.append(f"a label such as {shown(several[0])} is one class, also where it names several")
    return found, remarks


def _is_number(value: str) -> bool:
    return bool(re.fullmatch(r"-?\d+(\.\d+)?", value))


def _once(rows: list[Row], items: list[str], where: str) -> tuple[list[Row], list[str], list[str]]:
    """Every image once: a line that says the same again is left out, one that says otherwise is refused."""
    seen: dict[str, str | None] = {}
    kept: list[tuple[Row, str]] = []
    for row, item in zip(rows, items, strict=True):
        file = os.path.normpath(item)
        if file not in seen:
            seen[file] = row.label
            kept.append((row, item))
        elif seen[file] != row.label:
            found = f"{row.path} is {row.label} here and was {seen[file]} before"
            raise bad_line(where, row.line, found, "one label per image")
    repeats = len(rows) - len(kept)
    remarks = [f"{counted(repeats, 'line')} of {where} repeat an image and are left out"] if repeats else []
    return [row for row, _ in kept], [item for _, item in kept], remarks


def _alike(classes: list[str]) -> list[str]:
    by_case: dict[str, str] = {}
    pairs = [
        (by_case[name.casefold()], name) for name in classes if by_case.setdefault(name.casefold(), name) != name
    ]
    return [f"classes that differ only by case are kept apart: {a} and {b}" for a, b in pairs[:3]]


# ---------------------------------------------------------------------------------------------- finding the files


class Names:
    """Images by their paths, by the ends of these, and by both without their ending.

    >>> names = Names(["part_1/ISIC_10.jpg", "part_2/ISIC_11.jpg"])
    >>> names("ISIC_10"), names("part_2/ISIC_11.jpg"), names("ISIC_12")
    ('part_1/ISIC_10.jpg', 'part_2/ISIC_11.jpg', None)
    """

    def __init__(self, paths: Iterable[str]) -> None:
        self._by_name: dict[str, list[str]] = defaultdict(list)
        self._paths = set()
        for path in paths:
            self._paths.add(path)
            name = path.rsplit("/", 1)[-1]
            self._by_name[name].append(path)
            if (stem := name.rsplit(".", 1)[0]) != name:
                self._by_name[stem].append(path)

    def __call__(self, text: str) -> str | list[str] | None:
        """The one path that fits, all where there are several, None where there is none."""
        text = text.replace("\\", "/").removeprefix("./")
        if text in self._paths:
            return text
        near = self._by_name.get(text.rsplit("/", 1)[-1], [])
        if "/" in text:
            near = [path for path in near if f"/{path}".rsplit(".", 1)[0].endswith((f"/{text}", _stem(f"/{text}")))]
        exact = [path for path in near if path.rsplit("/", 1)[-1] == text.rsplit("/", 1)[-1]]
        fits = exact or near
        return (fits[0] if len(fits) == 1 else fits) if fits else None


def _stem(path: str) -> str:
    return path.rsplit(".", 1)[0] if is_image(path) else path


class _OnDisk:
    """The images that a list on this disk names: where it says, or else below its folder."""

    def __init__(self, file: Path) -> None:
        self.folder = os.fspath(file.parent)
        self.own = file.parent.resolve().name
        self.below: Names | None = None
        self.elsewhere: dict[str, str] = {}

    def __call__(self, text: str) -> str | list[str] | None:
        for each in dict.fromkeys((text, text.replace("\\", "/") if os.sep == "/" else text)):  # written on Windows
            if os.path.lexists(found := os.path.join(self.folder, each)):
                return found
            if each.split("/", 1)[0] == self.own and os.path.lexists(
                found := os.path.join(self.folder, os.pardir, each)
            ):
                return found
        if self.below is None:
            paths = list(islice(_files_below(self.folder), _MOST_SEARCHED))
            if not paths:  # a folder of lists alone: the images lie beside it
                self.folder = os.path.join(self.folder, os.pardir)
                paths = list(islice(_files_below(self.folder), _MOST_SEARCHED))
            self.below = Names(paths)
        fits = self.below(text)
        if isinstance(fits, str):
            self.elsewhere.setdefault(text, fits)
            return os.path.join(self.folder, fits)
        return fits

    def remarks(self) -> list[str]:
        if not self.elsewhere:
            return []
        text, found = next(iter(self.elsewhere.items()))
        where = os.path.normpath(self.folder)
        found_there = f"{shown(text)} is {shown(found)}"
        return [f"{counted(len(self.elsewhere), 'image')} found by name below {where}: {found_there}"]


def _files_below(folder: str) -> Iterable[str]:
    for here, folders, names in os.walk(folder):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        start = os.path.relpath(here, folder).replace(os.sep, "/")
        for name in sorted(names):
            if is_image(name):
                yield name if start == "." else f"{start}/{name}"


def _item(row: Row, found: _OnDisk, where: str) -> str:
    fits = found(row.path)
    if isinstance(fits, list):
        raise bad_line(
            where, row.line, f"{row.path} fits {listed(fits, 3)}", "the path of one image, relative to the list"
        )
    return fits or os.path.join(found.folder, row.path)
