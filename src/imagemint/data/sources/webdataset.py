"""WebDataset: tar files in which 0007.png and 0007.cls are one sample (https://github.com/webdataset/webdataset).

A sample's key is its path up to the first dot of the file's name; what follows the dot says what the file is. Text
beside an image is a class where few texts name many images, and a caption where nearly every image has its own.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from contextlib import ExitStack
from typing import Any, NamedTuple

import numpy as np

from imagemint.data.decode import Item
from imagemint.data.pack import UNLABELLED
from imagemint.data.sources.contents import Contents, choose_shards, named_labels, numbered_labels, whole_numbers
from imagemint.data.sources.files import listed_classes, printable
from imagemint.data.sources.shards import paths, unlabelled_remark
from imagemint.data.sources.tree import Tree, is_image, open_tree
from imagemint.errors import SourceError
from imagemint.files import Damaged, parse_json
from imagemint.words import listed, shown

_LABELS = (".cls", ".json", ".txt")
_JSON_LABELS = ("label", "cls", "class")
_LONGEST = 1 << 20  # bytes of a label's file, which may hold all that is known of its image
_CAPTION_WORDS = 5  # a text of so many words is rather a caption than a class
_FEW = 10  # images of which nothing can be said by how many texts there are


class _Sample(NamedTuple):
    image: str
    label: str | None  # a number or a name; None where there is none
    text: str | None  # from .txt, where nothing else says the class: a class or a caption


def fits(tree: Tree) -> bool:
    """Whether a tar holds samples, not class folders: .cls beside images, or .json or .txt beside loose ones."""
    keys = {_key(name) for name in tree.files if is_image(name)}
    if any(_key(name) in keys for name in tree.files if name.casefold().endswith(".cls")):
        return True
    beside = {
        _key(name) for name in tree.files if name.casefold().endswith((".json", ".txt")) and name != "labels.txt"
    }
    return bool(keys) and not tree.top() and 2 * len(beside & keys) >= len(keys)


def _key(name: str) -> str:
    folder, slash, base = name.rpartition("/")
    return folder + slash + base.split(".", 1)[0]


def read(tree: Tree, names: Sequence[str], split: str | None, stack: ExitStack) -> Contents:
    """Shards in order, samples as they lie in them. Numbers are named by the `labels.txt` beside the shards."""
    names = choose_shards(names, split, tree.title)
    shards = [(name, open_tree(path, stack)) for name, path in zip(names, paths(tree, names), strict=True)]
    about_names = dict.fromkeys(remark for _, shard in shards for remark in shard.remarks)
    return samples(shards, tree.title, listed_classes(tree)).with_remarks(*about_names)


def samples(shards: Sequence[tuple[str, Tree]], where: str, classes: list[str] | None = None) -> Contents:
    """A label is the content of .cls, else label, cls or class of .json, else .txt; without any: unlabelled.

    Where no shard holds a label, and the shards are called by what they hold (cat.tar, dog.tar), each is a class.
    """
    found: list[_Sample] = []
    names: list[str] = []
    items: list[Item] = []
    shard_of: list[str] = []
    for shard, tree in shards:
        for sample in _samples(tree):
            found.append(sample)
            names.append(printable(f"{shard}/{sample.image}" if shard else sample.image))
            items.append(tree.files[sample.image])
            shard_of.append(shard)
    if not items:
        raise SourceError(f"{where} has no image", "samples with an image", "check the path")
    if all(sample.label is None and sample.text is None for sample in found):
        labels, named, remarks = _without_labels(shards, shard_of, where)
    else:
        values, remarks = _values(found)
        labels, named, about = _labels(values, where, classes)
        remarks += about
    return Contents(labels, named, names, items, remarks=[*remarks, *unlabelled_remark(labels)])


# --- one shard


def _samples(tree: Tree) -> list[_Sample]:
    images: dict[str, list[str]] = {}
    beside: dict[str, dict[str, list[str]]] = {}
    for name in tree.files:
        if is_image(name):
            images.setdefault(_key(name), []).append(name)
        elif name.casefold().endswith(_LABELS):
            ending = name[name.rindex(".") :].casefold()
            beside.setdefault(_key(name), {}).setdefault(ending, []).append(name)
    found = []
    for key, pictures in images.items():
        _check_one(key, pictures, "images", tree)
        parts = beside.get(key, {})
        for each in parts.values():
            _check_one(key, each, "labels", tree)
        found.append(_sample(tree, pictures[0], {ending: each[0] for ending, each in parts.items()}))
    return found


def _check_one(key: str, names: list[str], what: str, tree: Tree) -> None:
    """One sample has one image, and one file of each kind of label."""
    if len(names) == 1:
        return
    parts = [name[len(key) :] for name in names]
    found = f"sample {shown(key)} of {tree.title} has {len(names)} {what} ({listed([shown(part) for part in parts])})"
    dotted = all(re.fullmatch(r"\.\d.*\..+", part) for part in parts)
    remedy = "leave out the others, such as masks, when you write the shards"
    if dotted:
        remedy = "write the shards with keys without dots: a sample's key ends at the first dot of the name"
    raise SourceError(found, f"one of its {what} per sample", remedy)


def _sample(tree: Tree, image: str, beside: dict[str, str]) -> _Sample:
    label = from_json = text = None
    if name := beside.get(".cls"):
        label = _text(tree, name)
        label = None if label == str(UNLABELLED) else label
    if name := beside.get(".json"):
        from_json = _json_label(tree, name)
        if label is None:
            label = from_json
        elif (
            from_json is not None and _number(label) is not None and _number(from_json) not in (_number(label), None)
        ):
            found = f"{beside['.cls']} of {tree.title} says {shown(label)} and {name} says {shown(from_json)}"
            raise SourceError(found, "one label per image", "write the shards again with one of them")
    if label is None and (name := beside.get(".txt")):
        text = _text(tree, name)
    return _Sample(image, label, text)


def _content(tree: Tree, name: str) -> str:
    data = tree.content(name)
    if len(data) > _LONGEST:
        raise SourceError(f"{name} of {tree.title} has {len(data):,} bytes", "a label", "write the shards again")
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError:
        raise SourceError(f"{name} of {tree.title} is not UTF-8 text", "a label", "write the shards again") from None


def _text(tree: Tree, name: str) -> str | None:
    return _content(tree, name).strip() or None


def _json_label(tree: Tree, name: str) -> str | None:
    """The label in a sample's JSON: a value alone, or that of the first of the usual keys."""
    try:
        facts = parse_json(_content(tree, name))
    except Damaged as error:
        raise SourceError(f"{name} of {tree.title} {error}", '{"label": ...}', "make it again") from None
    value: Any = facts
    if isinstance(facts, dict):
        value = next((facts[key] for key in _JSON_LABELS if facts.get(key) is not None), None)
    if value is None or (value == UNLABELLED and not isinstance(value, bool)):
        return None
    if isinstance(value, bool) or not isinstance(value, (int, str)):
        what = f"the label {str(value)[:40]}" if isinstance(value, (bool, float)) else f"a {type(value).__name__}"
        raise SourceError(f"{name} of {tree.title} has {what} as its label", "a number or a name", "mend it")
    if isinstance(value, int) and value.bit_length() > 63:
        found = f"{name} of {tree.title} has a label of {value.bit_length()} bits"
        raise SourceError(found, "a number or a name", "mend it")
    return str(value).strip() or None


# --- labels


def _values(found: Sequence[_Sample]) -> tuple[list[str | None], list[str]]:
    """The labels, and what to say where the texts beside the images are captions."""
    texts = [sample.text for sample in found if sample.text is not None]
    if not _are_captions(texts):
        return [sample.label if sample.label is not None else sample.text for sample in found], []
    remark = (
        f"the .txt files beside the images hold captions ({shown(texts[0][:40])}...), {len(set(texts)):,} different "
        f"ones for {len(texts):,} images: they are not taken for classes"
    )
    return [sample.label for sample in found], [remark]


def _are_captions(texts: Sequence[str]) -> bool:
    if not texts:
        return False
    different = len(set(texts))
    long = any("\n" in text or len(text.split()) >= _CAPTION_WORDS for text in texts)
    if long:
        return different > max(1, len(texts) // 10)
    return len(texts) >= _FEW and 2 * different > len(texts)


def _number(value: str) -> int | None:
    return int(value) if re.fullmatch(r"-?\d{1,18}", value, re.ASCII) else None


def _labels(
    values: Sequence[str | None], where: str, classes: list[str] | None
) -> tuple[np.ndarray, list[str], list[str]]:
    """Numbers where all are numbers, else names. What looks like a number and is none among numbers is refused."""
    given = [value for value in values if value is not None]
    if any(re.search(r"[^\d+\-.,\s]", value) for value in given):
        return *named_labels(values), []
    odd = next((value for value in given if _number(value) is None), None)
    if odd is not None:
        found = f"{where} has the label {shown(odd[:30])}{'...' if len(odd) > 30 else ''}"
        raise SourceError(found, "whole numbers below 100,000, or names", "mend the labels")
    numbers = [None if value is None else _number(value) for value in values]
    return numbered_labels(whole_numbers(numbers, where), where, classes)


def _without_labels(
    shards: Sequence[tuple[str, Tree]], shard_of: Sequence[str], where: str
) -> tuple[np.ndarray, list[str], list[str]]:
    """No shard holds a label: the tars are the classes, where their names say so, or everything is unlabelled."""
    folders = sorted({folder for _, tree in shards for folder in tree.top()})
    loose = any(is_image(name) for _, tree in shards for name in tree.loose())
    stems = [shard.rsplit("/", 1)[-1].split(".", 1)[0] for shard, _ in shards]
    if len(folders) > 1 and not loose and set(folders) != set(stems):
        found = f"{where} holds tars without labels whose images lie in folders ({listed(folders)})"
        raise SourceError(found, "samples with labels, or folders", "unpack the tars and pack the folder")
    if len(stems) > 1 and len(set(stems)) == len(stems) and not _are_numbered(stems):
        stem_of = {shard: printable(stem) for (shard, _), stem in zip(shards, stems, strict=True)}
        labels, classes = named_labels([stem_of[shard] for shard in shard_of])
        return labels, classes, [f"no image of {where} has a label: each tar is taken for a class"]
    several = "; if each tar is a class, unpack each into a folder of its name" if len(stems) > 1 else ""
    none = np.full(len(shard_of), UNLABELLED, np.int64)
    return none, [], [f"no image of {where} has a label of its own{several}"]


def _are_numbered(stems: Sequence[str]) -> bool:
    """Whether the names count shards: alike but for a number. Nine digits after an n are a class of WordNet."""
    if all(re.fullmatch(r"n\d{8}", stem) for stem in stems):
        return False
    return len({re.sub(r"\d+", "#", stem) for stem in stems}) < len(stems)
