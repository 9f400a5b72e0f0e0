"""Edits that change labels and class names: rename, drop, relabel, unlabel. They touch no pixel."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from pathlib import Path

import numpy as np

from imagemint import arguments
from imagemint.data.edit.select import image_index, read_csv, require_per_class, some
from imagemint.data.pack import UNLABELLED, Pack, open_pack
from imagemint.data.rewriting import relabelled, rewrite
from imagemint.errors import PackError
from imagemint.words import listed


def rename(pack: Pack | Path | str, dest: Path | str, names: Mapping[str, str], *, join: bool = False) -> Pack:
    """Other class names, `{old: new}`, all at once (so two classes can swap names).

    Two classes with one name are an error, unless `join` says that they are to become one.
    """
    pack, names = open_pack(pack), dict(names)
    _check_known(pack, arguments.names(names, "names"))
    arguments.names(names.values(), "new names")
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
    number = {name: k for k, name in enumerate(dict.fromkeys(renamed))}
    labels = relabelled(np.asarray(pack.labels), [number[name] for name in renamed])
    return rewrite(pack, dest, "rename", {"names": names, "join": bool(join)}, labels=labels, classes=list(number))


def drop(pack: Pack | Path | str, dest: Path | str, classes: Iterable[str]) -> Pack:
    """Without the images, and the names, of some classes. Unlabelled images stay."""
    pack, gone = open_pack(pack), arguments.names(classes, "classes")
    _check_known(pack, gone)
    kept = {name: k for k, name in enumerate(name for name in pack.classes if name not in set(gone))}
    nowhere = len(pack.classes)
    labels = relabelled(np.asarray(pack.labels), [kept.get(name, nowhere) for name in pack.classes])
    order = np.flatnonzero(labels != nowhere)
    return rewrite(pack, dest, "drop", {"classes": gone}, order=order, labels=labels, classes=list(kept))


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
            f"{file} has the columns {listed(list(map(repr, header))) or '(none)'}", wanted, "name or remove columns"
        )
    classes, labels = list(pack.classes), np.array(pack.labels)
    numbers = {name: k for k, name in enumerate(classes)}
    new: dict[int, int] = {}
    for number, cells in lines[1:]:
        if len(cells) != 2:
            raise PackError(f"line {number} of {file} has {len(cells)} columns", wanted, "mend the line")
        row = dict(zip(header, cells, strict=True))
        image = image_index(row["index"], f"line {number}", file, len(pack))
        name = row["label"]
        label = numbers.setdefault(name, len(numbers)) if name else UNLABELLED
        if new.setdefault(image, label) != label:
            raise PackError(f"line {number} of {file} gives image {image} a second label", "one", "mend the file")
    labels[list(new)] = list(new.values())
    return rewrite(pack, dest, "relabel", {"file": str(file)}, labels=labels, classes=list(numbers))


def unlabel(pack: Pack | Path | str, dest: Path | str, keep: int, *, seed: int = 0) -> Pack:
    """Only `keep` images of each class keep their label (nested: 10 are among the 50 of the same seed).

    For studying how to learn from few labels and many images. Raises PackError where a class has fewer.
    """
    pack, keep, seed = open_pack(pack), arguments.whole(keep, "keep"), arguments.whole(seed, "seed")
    require_per_class(pack, keep, "labels")
    old = np.asarray(pack.labels)
    labels = np.full_like(old, UNLABELLED)
    for label in range(len(pack.classes)):
        labels[some(np.flatnonzero(old == label), keep, seed, "unlabel", label)] = label
    return rewrite(pack, dest, "unlabel", {"keep": keep, "seed": seed}, labels=labels)


def _check_known(pack: Pack, names: Iterable[str]) -> None:
    known = set(pack.classes)
    unknown = [name for name in names if name not in known]
    if unknown:
        commas = any("," in name for name in pack.classes)
        raise PackError(
            f"{pack.path} has no class {listed([repr(name) for name in unknown])}",
            "one of " + (listed([repr(name) for name in pack.classes], 20) or "none: it has no classes"),
            """write a name with a comma in double quotes, as in '"a, b",c'""" if commas else "check the spelling",
        )
