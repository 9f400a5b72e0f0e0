"""Edits that change labels and class names: rename, drop, relabel, unlabel. They touch no pixel."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from imagemint.data.edit.select import image_index, read_csv, require_per_class, some
from imagemint.data.pack import UNLABELLED, Pack, open_pack
from imagemint.data.rewriting import relabelled, rewrite
from imagemint.errors import PackError


def rename(pack: Pack | Path | str, dest: Path | str, names: Mapping[str, str], *, join: bool = False) -> Pack:
    """Other class names, `{old: new}`, all at once (so two classes can swap names).

    Two classes with one name are an error, unless `join` says that they are to become one.
    """
    pack = open_pack(pack)
    _check_known(pack, names)
    renamed = [names.get(name, name) for name in pack.classes]
    if "" in renamed:
        raise PackError("an empty class name", "a name", "choose a name")
    twice = [name for name, times in Counter(renamed).items() if times > 1]
    if twice and not join:
        raise PackError(
            f"more than one class would be called {', '.join(map(repr, twice))}",
            "different names",
            "choose other names, or join the classes (--join)",
        )
    classes = list(dict.fromkeys(renamed))
    labels = relabelled(np.asarray(pack.labels), [classes.index(name) for name in renamed])
    return rewrite(pack, dest, "rename", {"names": dict(names), "join": join}, labels=labels, classes=classes)


def drop(pack: Pack | Path | str, dest: Path | str, classes: Sequence[str]) -> Pack:
    """Without the images, and the names, of some classes. Unlabelled images stay."""
    pack = open_pack(pack)
    _check_known(pack, classes)
    kept = [name for name in pack.classes if name not in classes]
    old = np.asarray(pack.labels)
    gone = len(pack.classes)
    labels = relabelled(old, [kept.index(name) if name in kept else gone for name in pack.classes])
    order = np.flatnonzero(labels != gone)
    return rewrite(pack, dest, "drop", {"classes": list(classes)}, order=order, labels=labels, classes=kept)


def relabel(pack: Pack | Path | str, dest: Path | str, file: Path | str) -> Pack:
    """Labels by name from a CSV with the columns `index` (image, counted from 0) and `label`.

    Images that it does not list keep their label, an empty label takes it away, a new name becomes a new class (after
    the others, in order of appearance). Raises PackError, with the line, for another column, an index that is not
    there, or an image listed twice with different labels.
    """
    pack, file = open_pack(pack), Path(file)
    wanted = "a CSV with the columns index,label"
    lines = read_csv(file, wanted)
    header = [name.lower() for name in lines[0][1]] if lines else []
    if sorted(header) != ["index", "label"]:
        raise PackError(
            f"{file} has the columns {', '.join(map(repr, header)) or '(none)'}", wanted, "name or remove columns"
        )
    classes, labels = list(pack.classes), np.array(pack.labels)
    numbers = {name: k for k, name in enumerate(classes)}
    listed: dict[int, int] = {}
    for number, cells in lines[1:]:
        if len(cells) != 2:
            raise PackError(f"line {number} of {file} has {len(cells)} columns", wanted, "mend the line")
        row = dict(zip(header, cells, strict=True))
        image = image_index(row["index"], f"line {number}", file, len(pack))
        name = row["label"]
        label = numbers.setdefault(name, len(numbers)) if name else UNLABELLED
        if listed.setdefault(image, label) != label:
            raise PackError(f"line {number} of {file} gives image {image} a second label", "one", "mend the file")
    labels[list(listed)] = list(listed.values())
    return rewrite(pack, dest, "relabel", {"file": str(file)}, labels=labels, classes=list(numbers))


def unlabel(pack: Pack | Path | str, dest: Path | str, keep: int, *, seed: int = 0) -> Pack:
    """Only `keep` images of each class keep their label (nested: 10 are among the 50 of the same seed).

    For studying how to learn from few labels and many images. Raises PackError where a class has fewer.
    """
    pack = open_pack(pack)
    require_per_class(pack, keep, "labels")
    old = np.asarray(pack.labels)
    labels = np.full_like(old, UNLABELLED)
    for label in range(len(pack.classes)):
        labels[some(np.flatnonzero(old == label), keep, seed, "unlabel", label)] = label
    return rewrite(pack, dest, "unlabel", {"keep": keep, "seed": seed}, labels=labels)


def _check_known(pack: Pack, names: Mapping[str, str] | Sequence[str]) -> None:
    unknown = [name for name in names if name not in pack.classes]
    if unknown:
        raise PackError(
            f"{pack.path} has no class {', '.join(map(repr, unknown))}",
            "one of " + (", ".join(map(repr, pack.classes)) or "none: it has no classes"),
            "check the spelling",
        )
