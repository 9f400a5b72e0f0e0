"""What every source comes down to, and how its labels become classes."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from itertools import islice

import numpy as np

from imagemint.data.decode import Item, Raw
from imagemint.data.pack import UNLABELLED
from imagemint.errors import SourceError
from imagemint.words import listed, shown

# Folders (and parts of file names) that mean a part of a data set and not a class.
SPLITS = ("train", "training", "test", "testing", "val", "valid", "validation", "dev")
LONGEST_NAME = 255  # characters of a class's name; a longer one is a text or a number gone wrong
_MOST_CLASSES = 100_000  # a label beyond is a mistake (a hash, an identity), not a class


@dataclass(frozen=True)
class Asked:
    """What the person said about the source, beyond where it is. Each way in takes what concerns it."""

    split: str | None = None  # the part to take, where the source has several
    folders_are_classes: bool = False  # the folders at the top are the classes, whatever lies below them
    path_column: str | None = None  # of a list: the column that names the image ...
    label_column: str | None = None  # ... and the one that names its class
    names_encoding: str | None = None  # of a zip or tar: how its names are written where it does not tell


@dataclass(frozen=True)
class Contents:
    """The images of a source in the order of the pack.

    Images are either encoded (`items`, which can be gone through again and again) or arrays (`blocks` of uint8
    `[k, c, h, w]`, all of one `shape` c, h, w).
    """

    labels: np.ndarray  # int64 [n], -1 = unlabelled
    classes: list[str]
    names: Sequence[str] = ()  # of each encoded image, as the user knows it
    items: Iterable[Item] = ()
    blocks: Callable[[], Iterator[np.ndarray]] | None = None
    shape: tuple[int, int, int] | None = None
    remarks: list[str] = field(default_factory=list)  # what the user should hear

    def each(self) -> Iterable[Item]:
        """Every image as an item to decode, arrays too."""
        if self.blocks is None:
            return self.items
        return _Raws(self.blocks)

    def with_remarks(self, *remarks: str) -> Contents:
        """The same with more to say."""
        return replace(self, remarks=[*self.remarks, *remarks])


@dataclass(frozen=True)
class _Raws:
    blocks: Callable[[], Iterator[np.ndarray]]

    def __iter__(self) -> Iterator[Item]:
        for block in self.blocks():
            for image in block:
                c, h, w = image.shape
                yield Raw(c, h, w, np.ascontiguousarray(image.transpose(1, 2, 0)).tobytes())


def class_order(names: Iterable[str]) -> list[str]:
    """Class names sorted by name; numerically where all are whole numbers, so that "10" comes after "9"."""
    unique = set(names)
    if all(re.fullmatch(r"-?\d{1,255}", name) for name in unique):
        return sorted(unique, key=lambda name: (int(name), name))
    return sorted(unique)


def named_labels(values: Sequence[str | None], order: Sequence[str] | None = None) -> tuple[np.ndarray, list[str]]:
    """Labels given as names (None: unlabelled) -> int64 `[n]` and the class names in `class_order`."""
    classes = list(order) if order is not None else class_order(value for value in values if value is not None)
    for name in classes:
        _check_name(name)
    index = {name: label for label, name in enumerate(classes)}
    labels = (UNLABELLED if value is None else index[value] for value in values)
    return np.fromiter(labels, np.int64, len(values)), classes


def _check_name(name: str) -> None:
    if len(name) > LONGEST_NAME:
        found = f"a class's name of {len(name):,} characters ({shown(name[:20])}...)"
        raise SourceError(found, f"at most {LONGEST_NAME}", "check whether these are classes")
    if not name.isascii() and any("\ud800" <= each <= "\udfff" for each in name):
        raise SourceError(f"a class's name {shown(name)} is not valid Unicode", "a name that is", "rename the class")


def numbered_labels(
    values: np.ndarray, where: str, names: Sequence[str] | None = None
) -> tuple[np.ndarray, list[str], list[str]]:
    """Labels given as whole numbers, -1 = unlabelled -> int64 `[n]`, class names, remarks.

    Label k keeps its number. The names are `names`, or "0", "1", ... up to the largest label, also where a number in
    between has no image, so that two files of one data set agree. `where` names the source in errors.
    """
    wanted = "whole numbers from 0, one per image"
    if values.dtype.kind not in "iu" or values.ndim != 1:
        shape = "" if values.ndim == 1 else f" of shape {list(values.shape)}"
        remedy = "write the class of each image as a number"
        raise SourceError(f"labels of {where} are {values.dtype}{shape}", wanted, remedy)
    if values.size and values.min() < UNLABELLED:
        raise SourceError(f"{where} has label {values.min()}", wanted, "mend the labels (-1 means unlabelled)")
    top = int(values.max()) if values.size else -1
    for name in names or ():
        _check_name(name)
    if names is not None and len(set(names)) < len(names):
        twice = listed([shown(name) for name, count in Counter(names).items() if count > 1])
        raise SourceError(
            f"{where} names {twice} more than once", "a name of its own for each class", "mend the names"
        )
    if names is not None and top >= len(names):
        raise SourceError(
            f"{where} has label {top} but names {len(names)} classes", "a name for every label", "mend the names"
        )
    if top >= _MOST_CLASSES:
        raise SourceError(f"{where} has label {top}", f"labels below {_MOST_CLASSES:,}", "number the classes from 0")
    labels = values.astype(np.int64)
    classes = [str(k) for k in range(top + 1)] if names is None else list(names)
    counts = np.bincount(labels[labels >= 0], minlength=len(classes))
    absent = [name for name, count in zip(classes, counts, strict=True) if not count]
    remarks = [f"no image of {'class' if len(absent) == 1 else 'classes'} {listed(absent)}"] if absent else []
    return labels, classes, remarks


def whole_numbers(values: Sequence[int | None], where: str) -> np.ndarray:
    """Labels as Python's integers (None: unlabelled) -> int64 `[n]`. SourceError where one has more than 64 bits.

    >>> whole_numbers([3, None], "a.parquet").tolist()
    [3, -1]
    """
    for value in values:
        if value is not None and not -(1 << 63) <= value < 1 << 63:
            found = f"{where} has a label of {value.bit_length()} bits"
            raise SourceError(found, f"labels below {_MOST_CLASSES:,}", "number the classes from 0")
    return np.array([UNLABELLED if value is None else value for value in values], np.int64)


def choose_split(found: Sequence[str], split: str | None, where: str, taken: str = "") -> str:
    """The split to take of those that a source has: the one asked for, or the only one. Otherwise SourceError.

    `taken` is what --split has taken above, as "bottle/".
    """
    found = sorted(found, key=lambda name: (SPLITS.index(name.casefold()) if name.casefold() in SPLITS else 99, name))
    if split is not None:
        for name in found:
            if name.casefold() == split.casefold():
                return name
        raise SourceError(f"{where} has no split {split!r} but {listed(found)}", "one of them", "choose with --split")
    if len(found) == 1:
        return found[0]
    raise SourceError(
        f"{where} has the splits {listed(found)}", "one of them", f"choose, for example --split {taken}{found[0]}"
    )


def split_of(name: str) -> str | None:
    """The split that a shard's path names: "data/train-00000-of-00002.parquet" -> "train"."""
    for part in reversed(name.split("/")):
        for word in re.split(r"[^a-z]+", part.casefold()):
            if word in SPLITS:
                return word
    return None


def choose_shards(names: Sequence[str], split: str | None, where: str) -> list[str]:
    """The shards of the split that was asked for, or all where their names tell of none."""
    of = {name: split_of(name) for name in names}
    splits = list(dict.fromkeys(each for each in of.values() if each))
    if not splits:
        if split is not None:
            raise no_splits(where, split)
        return list(names)
    chosen = choose_split(splits, split, where)
    if split is None and None in of.values():
        odd = [name for name in names if of[name] is None]
        raise SourceError(
            f"{where} has shards of {chosen} and others ({listed(odd)})",
            "one kind",
            f"choose, for example --split {chosen}",
        )
    return [name for name in names if of[name] == chosen]


def no_splits(where: str, split: str | None) -> SourceError:
    """`--split` was given where there is nothing to choose."""
    return SourceError(
        f"{where} has no splits, but --split {split} was given", "a source with splits", "leave it out"
    )


def endings(names: Iterable[str]) -> str:
    """How many files of each ending: "3 .txt, 1 .heic"."""
    counts = Counter(("." + name.rsplit(".", 1)[1].casefold()) if "." in name else "without ending" for name in names)
    return ", ".join(f"{count:,} {ending}" for ending, count in islice(counts.most_common(), 5))
