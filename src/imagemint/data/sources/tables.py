"""A file of rows and named columns: CSV, TSV, JSON Lines, JSON.

.csv .tsv          the names of the columns, then one line per row; with comma, semicolon or tab
.jsonl .ndjson     one JSON object per line
.json              a list of such objects, or one object {path: label}
.txt               path and label of each line, with a tab, comma or space between them; no names of columns
"""

from __future__ import annotations

import csv
import io
import json
import math
import re
from collections.abc import Iterator
from typing import Any, NamedTuple, NoReturn

from imagemint import files
from imagemint.errors import SourceError
from imagemint.words import counted, shown

COMMAS, LINES, JSON, TEXT = (".csv", ".tsv"), (".jsonl", ".ndjson"), (".json",), (".txt",)
ENDINGS = (*COMMAS, *LINES, *JSON, *TEXT)


_WIDEST = 50  # values in a line of a .txt
_NUMBER = re.compile(r"-?\d+(\.\d+)?")


class Table(NamedTuple):
    """Rows of values in the order of the columns: text, and from JSON whatever JSON knows.

    None is a missing value; an object of JSON without that key has `...` there.
    """

    where: str
    columns: list[str]
    rows: list[tuple[int, list[Any]]]  # the number of the line (or entry), from 1; the values


def parse(text: str, where: str) -> Table:
    """The table that the text of a file holds; `where` is the file's name. Raises SourceError."""
    name = where.casefold()
    if name.endswith(LINES):
        return _of_objects(list(_json_lines(text, where)), where)
    if name.endswith(TEXT):
        return _text(text, where)
    return _json(text, where) if name.endswith(JSON) else _csv(text, where)


def bad_line(where: str, line: int, found: str, wanted: str) -> SourceError:
    """A line that cannot be meant."""
    return SourceError(f"{where}, line {line}: {shown(found)}", wanted, "mend the line")


def delimiter(first_line: str) -> str:
    """The one of comma, semicolon and tab that occurs most; a comma where none does."""
    return max(",;\t", key=first_line.count)


def _csv(text: str, where: str) -> Table:
    lines = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter(text.split("\n", 1)[0]), strict=True)
    rows: list[tuple[int, list[Any]]] = []
    try:
        columns = [name.strip() for name in next(lines, [])]
        for row in lines:
            if not row:
                continue
            if len(row) > len(columns):
                raise bad_line(where, lines.line_num, f"{len(row)} values", f"{len(columns)} as in the first line")
            rows.append((lines.line_num, [*(value.strip() for value in row), *[None] * (len(columns) - len(row))]))
    except csv.Error as error:
        raise bad_line(where, lines.line_num, str(error), "well-formed CSV") from None
    return Table(where, columns, rows)


def _text(text: str, where: str) -> Table:
    """As many values in each line, of which the columns are called "column 1", "column 2" and so on.

    Where a name is followed by numbers alone, these are no labels (the boxes of Tiny ImageNet's val_annotations.txt).
    """
    lines = [(number, line) for number, line in enumerate(text.splitlines(), 1) if line.strip() and line[0] != "#"]
    between = next((each for each in ("\t", ",") if lines and all(each in line for _, line in lines)), None)
    rows = [(number, [value.strip() for value in line.split(between)]) for number, line in lines]
    if between is None and len({len(row) for _, row in rows}) > 1:  # spaces inside the paths
        rows = [(number, line.rsplit(None, 1)) for number, line in lines]
    width = len(rows[0][1]) if rows else 0
    for number, row in rows:
        if not 1 < width < _WIDEST or len(row) != width:
            raise bad_line(where, number, counted(len(row), "value"), "a path and a label in every line")
    if all(not _NUMBER.fullmatch(row[1]) and all(map(_NUMBER.fullmatch, row[2:])) for _, row in rows):
        rows, width = [(number, row[:2]) for number, row in rows], min(width, 2)
    return Table(where, [f"column {k}" for k in range(1, width + 1)], rows)


def _json_lines(text: str, where: str) -> Iterator[tuple[int, dict[str, Any]]]:
    for number, line in enumerate(text.split("\n"), 1):
        if not line.strip():
            continue
        try:
            record = _parsed(line)
        except files.Damaged as error:
            raise bad_line(where, number, f"not JSON: it {error}", "one JSON object per line") from None
        if not isinstance(record, dict):
            raise bad_line(where, number, "not a JSON object", '{"path": ..., "label": ...}')
        yield number, record


def _json(text: str, where: str) -> Table:
    wanted = '[{"path": ..., "label": ...}, ...] or {path: label, ...}'
    try:
        content = _parsed(text)
    except files.Damaged as error:
        raise SourceError(f"{where} {error}", wanted, "make it again") from None
    if isinstance(content, dict) and content and all(isinstance(each, (str, int)) for each in content.values()):
        return Table(where, ["path", "label"], [(k, list(pair)) for k, pair in enumerate(content.items(), 1)])
    if not (isinstance(content, list) and content and all(isinstance(each, dict) for each in content)):
        coco = isinstance(content, dict) and {"images", "annotations"} <= content.keys()
        found = f"{where} holds {'COCO annotations' if coco else 'other JSON than a list of images'}"
        raise SourceError(found, wanted, "write the path and the class of each image into a CSV")
    return _of_objects(list(enumerate(content, 1)), where)


def _of_objects(records: list[tuple[int, dict[str, Any]]], where: str) -> Table:
    columns = list(dict.fromkeys(key for _, record in records for key in record))
    return Table(where, columns, [(number, [record.get(key, ...) for key in columns]) for number, record in records])


def _parsed(text: str) -> Any:
    """JSON, in which pandas' NaN is a missing value. Raises Damaged."""
    try:
        return json.loads(text, parse_constant=_constant, parse_float=_number)
    except RecursionError:
        raise files.Damaged("is nested too deeply") from None
    except ValueError as error:
        raise files.Damaged(f"is not JSON ({error})"[:200]) from None


def _constant(name: str) -> None:
    if name != "NaN":
        _refuse(name)


def _number(text: str) -> float:
    value = float(text)
    return value if math.isfinite(value) else _refuse("a number of this size")


def _refuse(what: str) -> NoReturn:
    raise ValueError(f"{what} is no JSON number")
