"""Samples of a run by time, as one picture: a column per moment, the same noise in each, a class per row."""

from __future__ import annotations

import io
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, UnidentifiedImageError

from imagemint.errors import RunError
from imagemint.pages.out import check_out, write_out
from imagemint.runs import Run, open_run
from imagemint.samples import PICTURE_COLUMNS

MOMENTS = 8  # columns of a strip
_GAP, _HEAD, _LEAST = 6, 16, 56  # pixels: between columns, for the numbers above them, least width of a column


def strip(run: Run | Path | str, out: Path | str, *, moments: int = MOMENTS) -> Path:
    """Draw the strip of a run into `out`, a .png; gives `out`. Raises RunError where it has no sample yet."""
    run, out = open_run(run), check_out(out, (".png",))
    return write_out(out, strip_png(run, moments))


def strip_png(run: Run, moments: int = MOMENTS) -> bytes:
    """The picture as PNG. Of each sample picture the first column is taken: one sample of each class."""
    chosen = evenly(run.samples(), moments)
    if not chosen:
        raise RunError(f"run {run.path} has no sample picture yet", "a run that was trained for a while", "train on")
    columns = []
    for path in chosen:
        try:
            with Image.open(path) as opened:
                picture = opened.convert("RGB")
                width = -(-picture.width // PICTURE_COLUMNS)
                columns.append((int(path.stem), picture.crop((0, 0, width, picture.height))))
        except (OSError, UnidentifiedImageError, ValueError):
            remedy = "remove it, or train into a new folder"
            raise RunError(f"{path} is no picture", "sample pictures as training writes them", remedy) from None
    width = max(_LEAST, max(picture.width for _, picture in columns))
    height = max(picture.height for _, picture in columns)
    whole = Image.new("RGB", (len(columns) * (width + _GAP) - _GAP, height + _HEAD), "white")
    pen = ImageDraw.Draw(whole)
    for k, (seen, column) in enumerate(columns):
        left = k * (width + _GAP)
        pen.text((left, 2), f"{seen:,}", fill="black")
        whole.paste(column, (left, _HEAD))
    out = io.BytesIO()
    whole.save(out, "PNG")
    return out.getvalue()


def evenly(paths: Sequence[Path], most: int) -> list[Path]:
    """At most so many of the paths, the first and the last among them.

    >>> [path.name for path in evenly([Path(str(k)) for k in range(10)], 4)]
    ['0', '3', '6', '9']
    """
    if len(paths) <= most:
        return list(paths)
    return [paths[int(k)] for k in np.linspace(0, len(paths) - 1, most).round()]
