"""TFRecord shards of `tf.train.Example`: an image, its label, perhaps the name of its class. See `data.tfrecord`."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np

from imagemint.data import tfrecord
from imagemint.data.decode import Item, Missing, Raw
from imagemint.data.sources.contents import Contents, choose_shards, named_labels, numbered_labels, whole_numbers
from imagemint.data.sources.files import listed_classes
from imagemint.data.sources.shards import IMAGE, LABEL, Again, paths, unlabelled_remark
from imagemint.data.sources.tree import Tree
from imagemint.errors import SourceError
from imagemint.words import listed, shown

# The name of an image's class, beside its number.
_TEXT = ("image/class/text", "class/text", "label/text", "label_text", "label_name", "class_name")
_SIZES = (("height", "width"), ("image/height", "image/width"))

Example = dict[str, list[tfrecord.Value]]


def read(tree: Tree, names: Sequence[str], split: str | None) -> Contents:
    """Images encoded or as pixels (with `height` and `width`), labels as numbers or names, as they lie in the shards.

    A class is called by the text that comes with its number (`image/class/text`), where every label has one.
    """
    names = choose_shards(names, split, tree.title)
    files = paths(tree, names)
    labels: list[int | str | None] = []
    texts: list[str | None] = []
    row_names: list[str] = []
    for name, path in zip(names, files, strict=True):
        for k, example in enumerate(tfrecord.read(path)):
            where = f"record {k} of {path}"
            label = _one(example, LABEL, where)
            text = _one(example, _TEXT, where)
            labels.append(_decoded(label, where) if isinstance(label, bytes) else label)
            texts.append(_decoded(text, where) if isinstance(text, bytes) else None)
            row_names.append(f"{name} record {k}")
    if not labels:
        raise SourceError(f"{tree.title} has no record", "one image per record", "check the path")

    def start() -> Iterator[Item]:
        for path in files:
            for k, example in enumerate(tfrecord.read(path)):
                yield _item(example, f"record {k} of {path}")

    numbers, classes, remarks = _classes(labels, texts, tree)
    return Contents(numbers, classes, row_names, Again(start), remarks=[*remarks, *unlabelled_remark(numbers)])


def _one(example: Example, keys: Sequence[str], where: str) -> tfrecord.Value | None:
    """The value of the first of the features that is there. SourceError where it has several values."""
    key = next((key for key in keys if key in example), None)
    if key is None:
        return None
    if len(example[key]) > 1:
        raise SourceError(f"{where} has {len(example[key])} values of {key}", "one per image", "choose one of them")
    return example[key][0]


def _decoded(text: bytes, where: str) -> str | None:
    try:
        return text.decode().strip() or None
    except UnicodeDecodeError:
        raise SourceError(f"the class of {where} is not UTF-8", "a number or a name", "mend the record") from None


def _classes(
    labels: list[int | str | None], texts: list[str | None], tree: Tree
) -> tuple[np.ndarray, list[str], list[str]]:
    if all(label is None for label in labels):
        labels, texts = list(texts), [None] * len(texts)
    named = [label for label in labels if isinstance(label, str)]
    if named:
        odd = next((label for label in labels if isinstance(label, int)), None)
        if odd is not None:
            found = f"{tree.title} has labels that are numbers ({odd}) and names ({shown(named[0])})"
            raise SourceError(found, "one of them", "write the shards again")
        return *named_labels([label if isinstance(label, str) else None for label in labels]), []
    whole = [label if isinstance(label, int) and label != -1 else None for label in labels]
    if (names := listed_classes(tree)) is None and any(texts):
        return _by_text(whole, texts, tree.title)
    return numbered_labels(whole_numbers(whole, tree.title), tree.title, names)


def _by_text(
    labels: Sequence[int | None], texts: Sequence[str | None], where: str
) -> tuple[np.ndarray, list[str], list[str]]:
    """Classes in the order of their numbers, called by their texts. Each number has one text, and the reverse."""
    pairs = {(label, text) for label, text in zip(labels, texts, strict=True) if label is not None}
    unnamed = sorted(label for label, text in pairs if label is not None and text is None)
    if unnamed:
        remark = f"class names are not used: label {unnamed[0]} comes without one"
        numbers, classes, remarks = numbered_labels(whole_numbers(labels, where), where)
        return numbers, classes, [remark, *remarks]
    text_of: dict[int, str] = {}
    for label, text in sorted((label, text) for label, text in pairs if label is not None and text is not None):
        if text_of.setdefault(label, text) != text:
            found = f"label {label} of {where} is called {listed([shown(text_of[label]), shown(text)])}"
            raise SourceError(found, "one name for each number", "mend the records")
    order = [text_of[label] for label in sorted(text_of)]
    if len(set(order)) < len(order):
        twice = next(text for text in order if order.count(text) > 1)
        found = f"{shown(twice)} is the name of several labels of {where}"
        raise SourceError(found, "a name of its own for each class", "mend the records")
    numbers, classes = named_labels([None if label is None else text_of[label] for label in labels], order)
    low, high = min(text_of, default=0), max(text_of, default=0)
    return numbers, classes, [f"labels {low} to {high} are called by the texts that come with them"]


def _item(example: Example, where: str) -> Item:
    data = _one(example, IMAGE, where)
    if not isinstance(data, bytes):
        return Missing("no image in this record")
    for keys in _SIZES:
        height, width = (_one(example, [key], where) for key in keys)
        if isinstance(height, int) and isinstance(width, int) and height > 0 and width > 0:
            for channels in (1, 3):
                if len(data) == height * width * channels:
                    return Raw(channels, height, width, data)
    return data
