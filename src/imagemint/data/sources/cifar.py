"""CIFAR-10 and CIFAR-100, python and binary (https://www.cs.toronto.edu/~kriz/cifar.html).

A row is 3 planes (red, green, blue) of 32x32. The python batches are pickles; see `pickles` for how they are read.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np

from imagemint.data.sources import pickles
from imagemint.data.sources.contents import Contents, choose_split, numbered_labels, whole_numbers
from imagemint.data.sources.tree import Tree
from imagemint.errors import SourceError
from imagemint.files import Damaged
from imagemint.words import counted

_PYTHON = re.compile(r"data_batch(_\d+)?|test_batch")
_BINARY = re.compile(r"(data_batch(_\d+)?|test_batch|train|test)\.bin")
_ROW = 3 * 32 * 32


class _Batch(NamedTuple):
    images: np.ndarray  # uint8 [n, 3, 32, 32]
    labels: np.ndarray  # whole numbers [n]
    fine: bool  # CIFAR-100's 100 classes, of which there are 20 coarse ones too


def fits(tree: Tree) -> bool:
    """Whether CIFAR-10's or CIFAR-100's batches, python or binary, lie at the root."""
    loose = set(tree.loose())
    if any(_PYTHON.fullmatch(name) or _BINARY.fullmatch(name) for name in loose):
        return True
    return "meta" in loose and bool({"train", "test"} & loose)


def read(tree: Tree, split: str | None) -> Contents:
    """The batches of a split. CIFAR-100 takes the fine labels; the 20 coarse ones are left."""
    loose = tree.loose()
    binary = any(_BINARY.fullmatch(name) for name in loose)
    pattern = _BINARY if binary else _PYTHON
    batches = sorted(name for name in loose if pattern.fullmatch(name) or (not binary and name in ("train", "test")))
    of = {name: "test" if name.startswith("test") else "train" for name in batches}
    chosen = choose_split(sorted(set(of.values()), reverse=True), split, tree.title)
    parts = [name for name in batches if of[name] == chosen]
    read_batch = _binary_batch if binary else _python_batch
    labels = []
    fine = set()
    for name in parts:
        batch = read_batch(tree, name)
        labels.append(batch.labels)
        fine.add(batch.fine)
    if len(fine) > 1:
        raise SourceError(f"{tree.title} holds batches of CIFAR-10 and CIFAR-100", "one of them", "pack them apart")
    numbers, classes, remarks = numbered_labels(np.concatenate(labels), tree.title, _names(tree))
    if True in fine:
        remarks.append("the fine labels were taken, the coarse ones left")

    def blocks() -> Iterator[np.ndarray]:
        return (read_batch(tree, name).images for name in parts)

    return Contents(numbers, classes, blocks=blocks, shape=(3, 32, 32), remarks=remarks)


def _binary_batch(tree: Tree, name: str) -> _Batch:
    fine = name.startswith(("train.", "test."))  # CIFAR-100's names; a coarse label stands before the fine one
    data = np.frombuffer(tree.content(name), np.uint8)
    row = _ROW + 1 + fine
    if not data.size or data.size % row:
        found = f"{tree.title}/{name} has {data.size:,} bytes"
        raise SourceError(found, f"rows of {row:,} bytes", "fetch it again")
    rows = data.reshape(-1, row)
    return _Batch(rows[:, 1 + fine :].reshape(-1, 3, 32, 32), rows[:, int(fine)], fine)


def _python_batch(tree: Tree, name: str) -> _Batch:
    where = f"{tree.title}/{name}"
    batch = _unpickle(tree, name)
    data, fine = batch.get("data"), "fine_labels" in batch
    if not isinstance(data, np.ndarray) or data.dtype != np.uint8 or data.ndim != 2 or data.shape[1] != _ROW:
        raise SourceError(f"{where} has no data", f"uint8 rows of {_ROW:,}", "fetch it again")
    labels = _labels(batch.get("fine_labels" if fine else "labels"), where)
    if not len(data) or len(labels) != len(data):
        found = f"{where} has {counted(len(data), 'image')} and {counted(len(labels), 'label')}"
        raise SourceError(found, "a label for each image", "fetch it again")
    return _Batch(data.reshape(-1, 3, 32, 32), labels, fine)


def _labels(labels: Any, where: str) -> np.ndarray:
    """One whole number per image. Anything else, such as a list of lists, is not one label per image."""
    if isinstance(labels, np.ndarray) and labels.ndim == 1:
        return labels
    if isinstance(labels, list) and all(type(label) is int for label in labels):
        return whole_numbers(labels, where)
    if labels is None:
        found = "no labels"
    elif isinstance(labels, np.ndarray):
        found = f"labels of the shape {list(labels.shape)}"
    elif isinstance(labels, list):
        found = f"labels such as {next(label for label in labels if type(label) is not int)!r:.40}"
    else:
        found = f"labels that are a {type(labels).__name__}"
    raise SourceError(f"{where} has {found}", "a list of whole numbers, one per image", "mend the batch")


def _names(tree: Tree) -> list[str] | None:
    loose = tree.loose()
    for name in ("batches.meta.txt", "fine_label_names.txt"):
        if name in loose:
            lines = tree.content(name).decode("utf-8", "replace").splitlines()
            return [line.strip() for line in lines if line.strip()]
    for name in ("batches.meta", "meta"):
        if name in loose:
            meta = _unpickle(tree, name)
            names = meta.get("fine_label_names", meta.get("label_names"))
            if names is None:
                return None
            if not isinstance(names, list) or not all(type(each) in (str, bytes) for each in names):
                raise SourceError(f"{tree.title}/{name} has odd class names", "a list of text", "fetch it again")
            return [each.decode("utf-8", "replace") if isinstance(each, bytes) else each for each in names]
    return None


def _unpickle(tree: Tree, name: str) -> dict[str, Any]:
    where = f"{tree.title}/{name}"
    try:
        content = pickles.load(tree.content(name))
    except pickles.Foreign as error:
        found = f"{where} is not a CIFAR batch ({error})"
        raise SourceError(found, "arrays of whole numbers and plain values", "do not trust it") from None
    except Damaged as error:
        raise SourceError(f"{where} {error}", "a whole CIFAR batch", "fetch it again") from None
    if not isinstance(content, dict):
        raise SourceError(f"{where} holds a {type(content).__name__}", "a CIFAR batch", "fetch it again")
    return {key.decode("utf-8", "replace") if isinstance(key, bytes) else str(key): content[key] for key in content}
