"""Edits that choose images: slice, balance, filter, dedup."""

from __future__ import annotations

import csv
import io
import math
from pathlib import Path
from typing import Literal

import numpy as np

from imagemint import arguments, files, seeds
from imagemint.data import duplicates
from imagemint.data.pack import UNLABELLED, Pack, check_absent, open_pack
from imagemint.data.rewriting import apportion, rewrite
from imagemint.errors import PackError
from imagemint.words import listed


def slice(
    pack: Pack | Path | str,
    dest: Path | str,
    *,
    per_class: int | None = None,
    total: int | None = None,
    fraction: float | None = None,
    seed: int = 0,
) -> Pack:
    """Some of the images: `per_class` of each class, or `total`, or a `fraction` (0 to 1] of all.

    Total and fraction keep the proportions of the classes (largest remainder; the unlabelled are one more class);
    `per_class` leaves unlabelled images out. The choice depends on the seed and the class alone, and is nested: 10
    per class are among the 50 per class of the same seed. Raises PackError where fewer images are there.
    """
    pack, seed = open_pack(pack), arguments.whole(seed, "seed")
    labels = np.asarray(pack.labels)
    per_class = None if per_class is None else arguments.whole(per_class, "per_class")
    total = None if total is None else arguments.whole(total, "total")
    fraction = None if fraction is None else arguments.number(fraction, "fraction")
    given: dict[str, float | None] = {"per_class": per_class, "total": total, "fraction": fraction}
    asked = {name: value for name, value in given.items() if value is not None}
    if len(asked) != 1:
        raise PackError(
            f"{len(asked)} of per_class, total and fraction given", "exactly one", "say how many images to take"
        )
    if per_class is not None:
        require_per_class(pack, per_class, "images")
        takes = dict.fromkeys(range(len(pack.classes)), per_class)
    else:
        if fraction is not None:
            if not 0 < fraction <= 1:
                raise PackError(f"fraction {fraction}", "more than 0 and at most 1", "choose another fraction")
            total = math.floor(fraction * len(pack) + 0.5)
        assert total is not None
        if not 0 < total <= len(pack):
            raise PackError(
                f"{total} images asked of {pack.path}, which has {len(pack)}",
                f"1 to {len(pack)}",
                "ask for another number",
            )
        present, counts = np.unique(labels, return_counts=True)
        takes = dict(zip(present.tolist(), apportion(total, counts).tolist(), strict=True))
    chosen = [some(np.flatnonzero(labels == label), take, seed, "slice", label) for label, take in takes.items()]
    return rewrite(pack, dest, "slice", {**asked, "seed": seed}, order=np.sort(np.concatenate(chosen)))


def balance(
    pack: Pack | Path | str, dest: Path | str, how: Literal["down", "over"] = "down", *, seed: int = 0
) -> Pack:
    """Equally many images of every class: `down` to the smallest class, or `over` to the largest by repeating images.

    Over-sampling repeats every image of a class equally often, and a seeded choice of them once more. Classes
    without images and unlabelled images stay as they are.
    """
    pack, seed = open_pack(pack), arguments.whole(seed, "seed")
    labels = np.asarray(pack.labels)
    if how not in ("down", "over"):
        raise PackError(f"balance {how!r}", "down or over", "choose one of the two")
    present, counts = np.unique(labels[labels != UNLABELLED], return_counts=True)
    if not len(present):
        raise PackError(f"{pack.path} has no labelled image", "classes to balance", "relabel it first")
    target = int(counts.min() if how == "down" else counts.max())
    chosen = [np.flatnonzero(labels == UNLABELLED)]
    for label in present.tolist():
        members = np.flatnonzero(labels == label)
        again, rest = divmod(target, len(members))
        chosen += [members] * again + [some(members, rest, seed, "balance", label)]
    return rewrite(pack, dest, "balance", {"how": how, "seed": seed}, order=np.sort(np.concatenate(chosen)))


def filter(
    pack: Pack | Path | str,
    dest: Path | str,
    file: Path | str,
    *,
    at_least: float | None = None,
    at_most: float | None = None,
) -> Pack:
    """The images that a file names, counted from 0: indices, or scores within limits.

    Indices: text, one per line, or a JSON list. Scores: a CSV with the columns `index,score`, or a JSON object of
    index to score; images with `at_least <= score <= at_most` are kept, images without a score are not. A limit of
    infinity is no limit. Raises PackError where the file is neither, gives an image two scores, or speaks of images
    that are not there.
    """
    pack, file = open_pack(pack), Path(file)
    limited = not (at_least is None and at_most is None)
    low, high = _limit(at_least, "at_least", -math.inf), _limit(at_most, "at_most", math.inf)
    index, scores = _read_predicate(file, len(pack))
    if (scores is not None) != limited:
        found = f"{file} holds {'indices' if scores is None else 'scores'}{', and' if limited else ' without'} limits"
        remedy = "give at_least or at_most" if scores is not None else "leave at_least and at_most out"
        raise PackError(found, "indices, or scores with limits", remedy)
    if scores is not None:
        index = index[(scores >= low) & (scores <= high)]
    limits = {name: limit for name, limit in (("at_least", low), ("at_most", high)) if math.isfinite(limit)}
    return rewrite(pack, dest, "filter", {"file": str(file), **limits}, order=np.unique(index))


def _limit(value: float | None, what: str, none: float) -> float:
    """A limit of scores as a number; `none` (an infinity) where there is no limit."""
    return none if value is None or value == none else arguments.number(value, what)


def dedup(pack: Pack | Path | str, dest: Path | str, *, near: bool = False) -> Pack:
    """Every picture once: the first of images with the same pixels is kept, whatever their labels.

    With `near`, also the first of near duplicates (see `imagemint.data.duplicates` for what that means).
    """
    pack, dest = open_pack(pack), check_absent(dest)
    first = (duplicates.near_groups if near else duplicates.exact_groups)(pack).first
    return rewrite(pack, dest, "dedup", {"near": bool(near)}, order=np.flatnonzero(first == np.arange(len(pack))))


def some(members: np.ndarray, count: int, seed: int, purpose: str, label: int) -> np.ndarray:
    """`count` of `members`, chosen by (seed, purpose, label); a larger count contains a smaller one's choice."""
    return members[seeds.rng(seed, purpose, label).permutation(len(members))[:count]]


def require_per_class(pack: Pack, per_class: int, what: str) -> None:
    """Raise PackError unless every class has `per_class` images."""
    counts = pack.counts()
    if not counts:
        raise PackError(f"{pack.path} has no classes", f"{what} with labels", "relabel it first")
    least = min(counts.values())
    if 0 < per_class <= least:
        return
    short = listed([f"{name!r} has {count}" for name, count in counts.items() if count < per_class])
    raise PackError(
        f"{per_class} {what} of each class asked" + (f", but {short}" if short else ""),
        f"1 to {least} per class" if least else "images in every class",
        "ask for fewer" if least else "drop the classes without images first",
    )


def _read_predicate(file: Path, count: int) -> tuple[np.ndarray, np.ndarray | None]:
    """Indices (int64 `[k]`) and scores (float64 `[k]`, or None) of a predicate file."""
    wanted = "indices (one per line, or a JSON list) or scores (CSV with index,score, or a JSON object)"
    rows: list[tuple[str, object, object]] = []  # where, index, score
    if file.suffix.lower() == ".json":
        try:
            value = files.parse_json(_read_text(file, wanted))
        except files.Damaged as error:
            raise PackError(f"{file} {error}", wanted, "mend the file") from None
        if not isinstance(value, list | dict):
            raise PackError(f"{file} holds a {type(value).__name__}", wanted, "mend the file")
        scored = isinstance(value, dict)
        pairs = value.items() if isinstance(value, dict) else ((each, None) for each in value)
        rows = [(f"entry {k + 1}", index, score) for k, (index, score) in enumerate(pairs)]
    else:
        lines = read_csv(file, wanted)
        header = [cell.lower() for cell in lines[0][1]] if lines else []
        scored = header == ["index", "score"]
        for number, cells in lines[1:] if scored or header == ["index"] else lines:
            if len(cells) != 1 + scored:
                raise PackError(f"line {number} of {file} has {len(cells)} columns", wanted, "mend the file")
            rows.append((f"line {number}", cells[0], cells[1] if scored else None))
    index = np.array([image_index(row, where, file, count) for where, row, _ in rows], np.int64)
    if not scored:
        return index, None
    scores = [_score(score, where, file) for where, _, score in rows]
    first: dict[int, float] = {}
    for image, score, (where, _, _) in zip(index.tolist(), scores, rows, strict=True):
        if first.setdefault(image, score) != score:
            raise PackError(f"{where} of {file} gives image {image} a second score", "one per image", "mend the file")
    return index, np.array(scores, np.float64)


def image_index(value: object, where: str, file: Path, count: int) -> int:
    """An image's number, read from a user's file. Raises PackError that names the place."""
    try:
        number = int(value) if isinstance(value, str) else value
    except ValueError:
        number = None
    if isinstance(number, bool) or not isinstance(number, int):
        raise PackError(f"{where} of {file} has {_short(value)} for an index", "a whole number", "mend the file")
    if not 0 <= number < count:
        raise PackError(f"{where} of {file} names image {_short(number)}", f"0 to {count - 1}", "mend the file")
    return number


def read_csv(file: Path, wanted: str) -> list[tuple[int, list[str]]]:
    """Line number and stripped cells of each line that is not empty. Raises PackError where it is not CSV."""
    reader = csv.reader(io.StringIO(_read_text(file, wanted)))
    try:
        lines = [(reader.line_num, [cell.strip() for cell in cells]) for cells in reader]
    except csv.Error as error:
        raise PackError(f"line {reader.line_num} of {file} is not CSV ({error})", wanted, "mend the file") from error
    return [(number, cells) for number, cells in lines if any(cells)]


def _read_text(file: Path, wanted: str) -> str:
    """A user's UTF-8 file, with or without byte-order mark. Raises PackError where it is missing or binary."""
    try:
        return files.read_text(file)
    except FileNotFoundError as error:
        raise PackError(f"no file at {file}", wanted, "check the path") from error
    except files.Damaged as error:
        raise PackError(f"{file} {error}", wanted, "check the path, or save the file as UTF-8") from None


def _score(value: object, where: str, file: Path) -> float:
    try:
        score = float(value) if isinstance(value, str | int | float) and not isinstance(value, bool) else math.nan
    except (ValueError, OverflowError):
        score = math.nan
    if math.isnan(score):
        raise PackError(f"{where} of {file} has {_short(value)} for a score", "a number", "mend the file")
    return score


def _short(value: object) -> str:
    """What stands in a file, for an error of one line."""
    text = repr(value)
    return text if len(text) <= 60 else f"{text[:57]}..."
