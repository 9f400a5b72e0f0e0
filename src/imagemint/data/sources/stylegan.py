"""StyleGAN's `dataset.json` beside images: {"labels": [["00000/img00000000.png", 3], ...]} or {"labels": null}."""

from __future__ import annotations

import json
from typing import Any

import numpy as np

from imagemint.data.decode import Item, Missing
from imagemint.data.pack import UNLABELLED
from imagemint.data.sources.contents import Contents, numbered_labels
from imagemint.data.sources.files import images, printable
from imagemint.data.sources.listing import usable
from imagemint.data.sources.tree import Tree, is_image
from imagemint.errors import SourceError
from imagemint.words import counted, listed, shown

FILE = "dataset.json"
_WANTED = '{"labels": [["path", class number], ...]} or {"labels": null}'


def fits(tree: Tree) -> bool:
    """Whether the tree is labelled by such a file. Another program's file beside class folders is not one."""
    if FILE not in tree.files:
        return False
    folders = {name.split("/", 1)[0] for name in tree.files if "/" in name and is_image(name)}
    if all(folder.isdecimal() for folder in folders):  # as StyleGAN names them, "00000"
        return True
    try:
        labels = _content(tree, FILE)["labels"]
    except SourceError:
        return False
    return labels is None or (isinstance(labels, list) and all(isinstance(entry, list) for entry in labels))


def read(tree: Tree) -> Contents:
    """The images sorted by path, each with the label that `dataset.json` gives it; without one it is unlabelled.

    StyleGAN itself drops all labels when one is missing. A list "classes" in the file names them.
    """
    where = f"{tree.title}/{FILE}"
    content = _content(tree, where)
    names = images(tree)
    given = _labels(content.get("labels"), where)
    absent = sorted(given.keys() - set(names))
    names += absent
    if not names:
        raise SourceError(f"{tree.title} has no image beside {FILE}", "images", "check the path")
    values = np.fromiter((given.get(name, UNLABELLED) for name in names), np.int64, len(names))
    labels, classes, remarks = numbered_labels(values, where, _class_names(content, where))
    items: list[Item] = [tree.files.get(name, Missing("named in dataset.json, but not there")) for name in names]
    bare = [name for name, label in zip(names, labels, strict=True) if label == UNLABELLED]
    if bare and len(bare) < len(names):
        remarks.append(
            f"{counted(len(bare), 'image')} without a label in {FILE}: kept unlabelled ({listed(bare, 3)})"
        )
    elif bare:
        remarks.append(f"{FILE} labels no image: all are unlabelled")
    return Contents(labels, classes, [printable(name) for name in names], items, remarks=remarks)


def _content(tree: Tree, where: str) -> dict[str, Any]:
    try:
        content = json.loads(tree.content(FILE).decode("utf-8-sig"))
    except (ValueError, RecursionError) as error:
        raise SourceError(f"{where} is not JSON ({str(error)[:100]})", _WANTED, "make it again") from None
    if not isinstance(content, dict) or "labels" not in content:
        raise SourceError(f'{where} has no "labels"', _WANTED, "add them")
    return content


def _labels(value: Any, where: str) -> dict[str, int]:
    if value is None:
        return {}
    if not isinstance(value, list):
        raise SourceError(f'"labels" of {where} is a {type(value).__name__}', _WANTED, "make it a list")
    labels: dict[str, int] = {}
    for entry in value:
        if not (isinstance(entry, list) and len(entry) == 2 and isinstance(entry[0], str)):
            raise SourceError(f"{where} has the entry {json.dumps(entry)[:60]}", _WANTED, "mend it")
        name, label = entry[0].replace("\\", "/"), entry[1]
        if shown(name) != name and not usable(name):
            raise SourceError(f"{where} names the image {shown(name)}", "a path", "mend it")
        if isinstance(label, list):
            raise SourceError(
                f"{where} gives {name} a vector as its label", "class numbers", "write the index of the class instead"
            )
        if label is None:
            continue
        if isinstance(label, bool) or not isinstance(label, int) or not 0 <= label < 1 << 31:
            raise SourceError(f"{where} gives {name} the label {json.dumps(label)}", "numbers from 0", "mend it")
        if labels.setdefault(name, label) != label:
            raise SourceError(f"{where} gives {name} two labels", "one label per image", "mend it")
    return labels


def _class_names(content: dict[str, Any], where: str) -> list[str] | None:
    names = content.get("classes")
    if names is None:
        return None
    if (
        not isinstance(names, list)
        or not all(isinstance(name, str) for name in names)
        or len(set(names)) < len(names)
    ):
        raise SourceError(f'"classes" of {where} is not a list of different names', "one name a class", "mend it")
    return list(names)
