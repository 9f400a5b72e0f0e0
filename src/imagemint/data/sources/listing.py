"""A CSV or JSON Lines file of path and label.

Paths are relative to the file that lists them; absolute paths and `..` are allowed, since the list is the user's own
and images are only read. Labels are names or whole numbers; an empty one (null, or -1 among numbers) is unlabelled.
"""

from __future__ import annotations

import csv
import io
import json
import os
import re
from collections.abc import Iterator
from pathlib import Path

from imagemint.data.sources.contents import Contents, first, named_labels
from imagemint.data.sources.files import printable
from imagemint.errors import SourceError

ENDINGS = (".csv", ".tsv", ".jsonl", ".ndjson")
_PATH = ("path", "file_name", "filename", "file", "image")
_LABEL = ("label", "class")

Row = tuple[int, str, str | None]  # line, path, label


def read(file: Path) -> Contents:
    """The images that a list names, in its order."""
    try:
        text = file.read_bytes().decode("utf-8-sig")
    except UnicodeDecodeError:
        raise SourceError(f"{file} is not UTF-8", "UTF-8 text", "save it as UTF-8") from None
    rows = list(_json_lines(text, file) if file.suffix.casefold() in (".jsonl", ".ndjson") else _csv(text, file))
    if not rows:
        raise SourceError(f"{file} lists no image", "a line for each image", "add path and label of each image")
    _check_contradictions(rows, file)
    values = [label for _, _, label in rows]
    if all(value is None or re.fullmatch(r"-?\d+", value) for value in values):
        values = [None if value == "-1" else value for value in values]
    labels, classes = named_labels(values)
    items = [_find(path, file.parent) for _, path, _ in rows]
    contents = Contents(labels, classes, [printable(path) for _, path, _ in rows], items)
    unlabelled = sum(value is None for value in values)
    if unlabelled:
        contents = contents.with_remarks(f"{unlabelled:,} of {len(rows):,} images have no label: kept without one")
    return contents.with_remarks(*_alike(classes))


def _csv(text: str, file: Path) -> Iterator[Row]:
    delimiter = _delimiter(text)
    lines = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, strict=True)
    try:
        header = [name.strip() for name in next(lines, [])]
        path_at, label_at = _columns(header, file)
        for row in lines:
            if not row:
                continue
            if len(row) > len(header):
                raise _bad_line(file, lines.line_num, f"{len(row)} values", f"{len(header)} as in the header")
            row += [""] * (len(header) - len(row))
            if not row[path_at].strip():
                raise _bad_line(file, lines.line_num, "no path", "a path in every line")
            yield lines.line_num, row[path_at].strip(), (row[label_at].strip() or None) if label_at >= 0 else None
    except csv.Error as error:
        raise _bad_line(file, lines.line_num, str(error), "well-formed CSV") from None


def _delimiter(text: str) -> str:
    header = text.split("\n", 1)[0]
    return max(",;\t", key=header.count)  # a comma where none occurs


def _columns(header: list[str], file: Path) -> tuple[int, int]:
    lower = [name.casefold() for name in header]
    paths = [k for k, name in enumerate(lower) if name in _PATH]
    labels = [k for k, name in enumerate(lower) if name in _LABEL]
    if len(paths) != 1 or len(labels) > 1 or len(header) != len(paths) + len(labels):
        raise SourceError(
            f"{file} has the columns {first(header, 8) or '(none)'}",
            "path and label, named in the first line",
            "rename these two and remove the others",
        )
    return paths[0], labels[0] if labels else -1


def _json_lines(text: str, file: Path) -> Iterator[Row]:
    for number, line in enumerate(text.split("\n"), 1):
        if not line.strip():
            continue
        try:
            record = json.loads(line)
        except (ValueError, RecursionError):
            raise _bad_line(file, number, "not JSON", "one JSON object a line") from None
        if not isinstance(record, dict):
            raise _bad_line(file, number, "not a JSON object", '{"path": ..., "label": ...}')
        path_at, label_at = _columns(list(record), file)
        path, label = (value := list(record.values()))[path_at], value[label_at] if label_at >= 0 else None
        if not isinstance(path, str) or not path.strip():
            raise _bad_line(file, number, f"path {json.dumps(path)[:40]}", "a path as text")
        if label is not None and (isinstance(label, bool) or not isinstance(label, (str, int))):
            raise _bad_line(file, number, f"label {json.dumps(label)[:40]}", "a name, a whole number or null")
        yield number, path.strip(), (str(label).strip() or None) if label is not None else None


def _bad_line(file: Path, line: int, found: str, wanted: str) -> SourceError:
    return SourceError(f"{file}, line {line}: {found}", wanted, "mend the line")


def _check_contradictions(rows: list[Row], file: Path) -> None:
    seen: dict[str, str | None] = {}
    for line, path, label in rows:
        if seen.setdefault(path, label) != label:
            raise _bad_line(file, line, f"{path} is {label} here and was {seen[path]} before", "one label an image")


def _find(path: str, folder: Path) -> str:
    found = os.path.join(folder, path)
    if "\\" in path and os.sep == "/" and not os.path.exists(found):  # written on Windows
        return os.path.join(folder, path.replace("\\", "/"))
    return found


def _alike(classes: list[str]) -> list[str]:
    by_case: dict[str, str] = {}
    pairs = [
        (by_case[name.casefold()], name) for name in classes if by_case.setdefault(name.casefold(), name) != name
    ]
    return [f"classes that differ only by case are kept apart: {a} and {b}" for a, b in pairs[:3]]
