"""IDX, MNIST's format: magic 0, 0, type, dimensions; big-endian sizes; values (http://yann.lecun.com/exdb/mnist/).

Read are MNIST and Fashion-MNIST, gzipped or not, and two of their kind that differ:

    QMNIST    labels are int32 [n, 8]; the first column is the class, the others say who wrote the digit
    EMNIST    images lie on their side and are turned; a mapping file names the classes
"""

from __future__ import annotations

import math
import os
import re
import struct
from collections.abc import Iterator
from typing import Any, Protocol

import numpy as np

from imagemint.data.decode import FILE_LIMIT
from imagemint.data.pack import BLOCK_BYTES
from imagemint.data.sources.arrays import FLOOR, WANTED, planes, reading
from imagemint.data.sources.contents import Contents, choose_split, named_labels, numbered_labels
from imagemint.data.sources.files import listed_classes
from imagemint.data.sources.tree import Tree, check_ratio
from imagemint.errors import SourceError
from imagemint.words import counted, listed

_NAME = re.compile(
    r"(?P<set>.*?)(?P<split>train|t10k|test|)[-_.]?(?P<what>images|labels)[-.]idx\d-(ubyte|int)(\.gz)?", re.I
)


class _Readable(Protocol):
    def read(self, size: int, /) -> bytes: ...


_TYPES = {0x08: ">u1", 0x09: ">i1", 0x0B: ">i2", 0x0C: ">i4"}


def fits(tree: Tree) -> bool:
    """Whether IDX files lie at the root."""
    return any(_NAME.fullmatch(name) for name in tree.loose())


def read(tree: Tree, split: str | None, classes: list[str] | None = None) -> Contents:
    """Images and their labels. Three dimensions are gray images, four `[n, h, w, c]` or `[n, c, h, w]`.

    Class names are `classes`, or the lines of a `labels.txt` beside the files, or those of EMNIST's mapping, or "0",
    "1", ...
    """
    prefix, images, labels = _pair(tree, split)
    shape, dtype = _header(tree, images)
    where = f"{tree.title}/{images}"
    if len(shape) not in (3, 4):
        raise SourceError(f"{where} has {len(shape)} dimensions", "3 (gray) or 4 (colour)", "check the file")
    if dtype != np.uint8:
        raise SourceError(f"{where} is {dtype} {list(shape)}", WANTED, "scale it to 0..255 and save it as uint8")
    if not shape[0]:
        raise SourceError(f"{where} has no image", "at least one", "check the file")
    values, about_labels = _labels(tree, labels)
    if len(values) != shape[0]:
        found = f"{tree.title} has {counted(shape[0], 'image')} and {counted(len(values), 'label')}"
        raise SourceError(found, "a label for each", "fetch both again")
    to_planes = planes(shape, where)
    turned = prefix.casefold().startswith("emnist") and len(shape) == 3

    def blocks() -> Iterator[np.ndarray]:
        for block in _values(tree, images):
            yield to_planes(block.transpose(0, 2, 1) if turned else block)

    channels, height, width = to_planes(np.empty((0, *shape[1:]), np.uint8)).shape[1:]
    size = (channels, width, height) if turned else (channels, height, width)
    names = classes or listed_classes(tree)
    mapping = None if names else _mapping(tree, prefix)
    if mapping is not None:
        numbers, names, remarks = _by_mapping(values, *mapping)
    else:
        numbers, names, remarks = numbered_labels(values, f"{tree.title}/{labels}", names)
    if turned:
        remarks.append("EMNIST's images lie on their side in its files: rows and columns were exchanged")
    return Contents(numbers, names, blocks=blocks, shape=size, remarks=[*about_labels, *remarks])


def _pair(tree: Tree, split: str | None) -> tuple[str, str, str]:
    """The set's prefix ("emnist-letters-"), the file of images and the file of labels of the chosen split."""
    found: dict[tuple[str, str], dict[str, str]] = {}
    for name in sorted(tree.loose()):
        if match := _NAME.fullmatch(name):
            part = "test" if match["split"].casefold() == "t10k" else match["split"].casefold()
            found.setdefault((match["set"], part), {})[match["what"].casefold()] = name
    sets = sorted({prefix for prefix, _ in found})
    if len(sets) > 1:
        several = listed([prefix or "(no prefix)" for prefix in sets])
        raise SourceError(f"{tree.title} holds IDX files of {several}", "one data set", "give each its own folder")
    splits = sorted((part for _, part in found), reverse=True)  # train before test
    chosen = choose_split([part or "all" for part in splits], split, tree.title)
    pair = found[sets[0], "" if chosen == "all" else chosen]
    for what, other in (("images", "labels"), ("labels", "images")):
        if what not in pair:
            raise SourceError(f"{tree.title} has {pair[other]} but not its {what}", "both files", "fetch it too")
    return sets[0], pair["images"], pair["labels"]


def _labels(tree: Tree, name: str) -> tuple[np.ndarray, list[str]]:
    shape, _ = _header(tree, name)
    where = f"{tree.title}/{name}"
    values = np.concatenate([np.empty((0, *shape[1:]), np.int64), *_values(tree, name)])
    if values.ndim == 2 and values.shape[1] == 1:
        return values[:, 0], []
    if values.ndim == 2 and values.shape[1] == 8 and name.casefold().startswith("qmnist"):
        return values[:, 0], [f"of the 8 columns of {name} the first is the class; who wrote the digit is left"]
    if values.ndim != 1:
        found = f"{where} has the shape {list(values.shape)}"
        raise SourceError(found, f"[{len(values)}], one label per image", "write the class of each image alone")
    return values, []


def _header(tree: Tree, name: str) -> tuple[tuple[int, ...], np.dtype[Any]]:
    with reading(f"{tree.title}/{name}"), tree.stream(name) as file:
        return _read_header(tree, name, file)


def _read_header(tree: Tree, name: str, file: _Readable) -> tuple[tuple[int, ...], np.dtype[Any]]:
    start = file.read(4)
    if len(start) < 4 or start[:2] != b"\0\0" or start[2] not in _TYPES or not 1 <= start[3] <= 4:
        raise ValueError("not an IDX file of whole numbers")
    shape, dtype = struct.unpack(f">{start[3]}I", file.read(4 * start[3])), np.dtype(_TYPES[start[2]])
    if (each := math.prod(shape[1:]) * dtype.itemsize) > FILE_LIMIT:
        raise ValueError(f"images of {each:,} bytes")
    item = tree.files[name]
    packed = os.stat(item).st_size if isinstance(item, str) else len(tree.content(name))
    check_ratio(shape[0] * each, packed, f"{tree.title}/{name}", FLOOR)
    return shape, dtype


def _values(tree: Tree, name: str) -> Iterator[np.ndarray]:
    """Blocks `[k, ...]` of an IDX file, read front to back."""
    with reading(f"{tree.title}/{name}"), tree.stream(name) as file:
        (count, *rest), dtype = _read_header(tree, name, file)
        each = math.prod(rest) * dtype.itemsize
        step = max(1, BLOCK_BYTES // max(each, 1))
        for start in range(0, count, step):
            rows = min(step, count - start)
            data = file.read(rows * each)
            if len(data) != rows * each:
                raise EOFError(f"ends within image {start + len(data) // max(each, 1):,} of {count:,}")
            yield np.frombuffer(data, dtype).reshape(rows, *rest)
        if file.read(1):
            raise ValueError("longer than its header says")


def _mapping(tree: Tree, prefix: str) -> tuple[str, dict[int, str]] | None:
    """EMNIST's mapping beside the files, if there is one: its name, and the character of each label.

    A line is a label and the codes of its characters: "1 65 97" is A, with its small letter.
    """
    name = next((each for each in tree.loose() if each.casefold() == f"{prefix}mapping.txt".casefold()), None)
    if name is None:
        return None
    characters: dict[int, str] = {}
    for line in tree.content(name).decode("ascii", "replace").splitlines():
        match = re.fullmatch(r"\s*(\d{1,3})\s+(\d{1,3})(\s+\d{1,3})*\s*", line, re.ASCII)
        if match is None or int(match[1]) in characters or not 33 <= int(match[2]) <= 126:
            return None
        characters[int(match[1])] = chr(int(match[2]))
    return (name, characters) if len(set(characters.values())) == len(characters) > 0 else None


def _by_mapping(values: np.ndarray, name: str, characters: dict[int, str]) -> tuple[np.ndarray, list[str], list[str]]:
    odd = sorted(set(np.unique(values).tolist()) - set(characters))
    if odd:
        found = f"label {odd[0]} is not in {name}"
        raise SourceError(found, "a character for every label", "fetch both files again, or remove the mapping")
    names = [characters[label] for label in sorted(characters)]
    labels, names = named_labels([characters[value] for value in values.tolist()], names)
    absent = [each for k, each in enumerate(names) if not (labels == k).any()]
    remarks = [f"class names are the characters of {name}"]
    return labels, names, remarks + ([f"no image of {listed(absent)}"] if absent else [])
