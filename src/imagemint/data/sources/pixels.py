"""Images as numbers in a CSV, one per row: Kaggle's digits (label, pixel0 ... pixel783), MNIST in CSV (label, 1x1 ...
28x28), HAM10000's hmnist files (pixel0000 ... pixel2351, label), FER2013 (emotion, pixels, Usage).

Values are whole numbers from 0 to 255 in rows from the top; as many as a square has, or three times as many, which
are red, green and blue of each pixel in turn.
"""

from __future__ import annotations

import csv
import io
import math
import re
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from imagemint import files
from imagemint.data.pack import BLOCK_BYTES
from imagemint.data.sources import listing, tables
from imagemint.data.sources.contents import Asked, Contents
from imagemint.data.sources.tables import bad_line, delimiter
from imagemint.errors import SourceError
from imagemint.words import counted

_PIXEL = re.compile(r"(pixel|px|p)[ _]?\d+|\d+x\d+", re.I)
_TOGETHER = "pixels"  # one column of numbers with spaces between them
_FEWEST = 16  # columns that are pixels
_HEADER = 1 << 20  # bytes in which the first line must end


def holds(file: Path) -> bool:
    """Whether the first line of a CSV names pixels."""
    if not file.name.casefold().endswith(tables.COMMAS):
        return False
    try:
        with files.open_regular(file) as opened:
            line = opened.readline(_HEADER).decode("utf-8-sig", "replace")
    except files.Damaged:
        return False
    columns = _header(line)
    return bool(_pixel_columns(columns))


def _header(line: str) -> list[str]:
    return [name.strip() for name in next(csv.reader([line], delimiter=delimiter(line)), [])]


def _pixel_columns(columns: list[str]) -> list[int]:
    together = [k for k, name in enumerate(columns) if name.casefold() == _TOGETHER]
    each = [k for k, name in enumerate(columns) if _PIXEL.fullmatch(name)]
    return together if len(together) == 1 else each if len(each) >= _FEWEST else []


def read(file: Path, asked: Asked) -> Contents:
    """The images of such a file, in its order. Raises SourceError."""
    facts: list[tuple[int, list[str]]] = []
    data = bytearray()
    shape: tuple[int, int, int] | None = None
    with files.open_regular(file) as opened:
        text = io.TextIOWrapper(opened, encoding="utf-8-sig", newline="")
        try:
            first_line = text.readline(_HEADER)
            columns, separator = _header(first_line), delimiter(first_line)
            at = _pixel_columns(columns)
            others = [k for k in range(len(columns)) if k not in set(at)]
            rows = csv.reader(text, delimiter=separator, strict=True)
            for row in rows:
                if not row:
                    continue
                line = rows.line_num + 1
                if len(row) != len(columns):
                    raise bad_line(
                        str(file), line, counted(len(row), "value"), f"{len(columns):,} as in the first line"
                    )
                values = row[at[0]].split() if len(at) == 1 else [row[k] for k in at]
                shape = shape or _shape(len(values), str(file))
                data += _bytes(values, math.prod(shape), str(file), line)
                facts.append((line, [row[k].strip() for k in others]))
        except UnicodeDecodeError:
            raise SourceError(f"{file} is not UTF-8 text", "UTF-8", "save it as UTF-8") from None
        except csv.Error as error:
            raise SourceError(f"{file}: {error}", "well-formed CSV", "mend the file") from None
    if shape is None:
        raise SourceError(f"{file} has no row", "a row per image", "check the file")
    table = tables.Table(str(file), [columns[k] for k in others], facts)
    found = listing.choose_columns(table, asked, None)
    chosen, about = listing.rows_of(table, found, asked)
    labels, classes, about_labels = listing.labels_of(chosen)
    c, h, w = shape
    kept = {row.line for row in chosen}
    images = np.frombuffer(data, np.uint8).reshape(-1, h, w, c)
    images = images[[line in kept for line, _ in facts]].transpose(0, 3, 1, 2)

    def blocks() -> Iterator[np.ndarray]:
        step = max(1, BLOCK_BYTES // math.prod(shape))
        return (np.ascontiguousarray(images[start : start + step]) for start in range(0, len(images), step))

    kind = "gray" if c == 1 else "red, green and blue in turn"
    remarks = [f"the numbers of {file} are read as {h}x{w} pixels, {kind}", *found.remarks, *about, *about_labels]
    return Contents(labels, classes, blocks=blocks, shape=shape, remarks=remarks)


def _shape(count: int, where: str) -> tuple[int, int, int]:
    for channels in (1, 3):
        side = math.isqrt(count // channels)
        if side and side * side * channels == count:
            return channels, side, side
    raise SourceError(
        f"{where} has {counted(count, 'pixel')} per image",
        "as many as a square has, or three times",
        "check the file",
    )


def _bytes(values: list[str], count: int, where: str, line: int) -> bytes:
    try:
        found = bytes(map(int, values))
    except ValueError:
        odd = next((value for value in values if not re.fullmatch(r"\s*\d{1,3}\s*", value) or int(value) > 255), "")
        raise bad_line(where, line, f"pixel {odd[:20]!r}", "whole numbers from 0 to 255") from None
    if len(found) != count:
        raise bad_line(where, line, counted(len(found), "pixel"), f"{count:,} as in the first row")
    return found
