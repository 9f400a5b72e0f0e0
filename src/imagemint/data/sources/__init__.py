"""Every way in. `open_source` finds out what a source is; one small file per kind reads it.

    digits                      scikit-learn's handwritten digits; needs no network
    FOLDER, .zip, .tar[.gz]     images in class folders or loose, StyleGAN's dataset.json, MNIST's IDX, CIFAR
    .tar, folder of .tar        WebDataset shards
    .parquet, .tfrecord         shards, one or a folder of them
    .csv .tsv .jsonl .json      path and label of each image, or its pixels
    .npz                        arrays
    hub:NAME                    the Hugging Face hub
    mnist fashion-mnist ...     data sets by name, see `named`

What is there on disk wins over a named set of the same name. `digits` is always the built-in one; a folder of that
name is `./digits`.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

from imagemint.data.sources import (
    arrays,
    cifar,
    folders,
    hub,
    idx,
    listing,
    named,
    npz,
    parquet,
    pixels,
    stylegan,
    tfrecords,
    webdataset,
)
from imagemint.data.sources.contents import Asked, Contents, no_splits
from imagemint.data.sources.tree import (
    CLOSED_ENDINGS,
    TAR_ENDINGS,
    ZIP_ENDINGS,
    Tree,
    closed,
    is_image,
    open_tree,
    order,
)
from imagemint.errors import SourceError

_PARQUET, _TFRECORD = (".parquet",), (".tfrecord", ".tfrecords", ".tfrec")
_KINDS = "a folder, .zip, .tar, .parquet, .tfrecord, .csv, .jsonl or .npz, digits, hub:NAME, or " + ", ".join(
    named.SETS
)


class Way(NamedTuple):
    """One way in: whether a file (or what lies in a folder or archive) is of this kind, and who reads it."""

    fits: Callable[[Any], bool]
    takes: tuple[str, ...]  # the fields of `Asked` that concern it; another one that is given is refused
    read: Callable[[Any, Asked, ExitStack], Contents]


def open_source(source: Path | str, asked: Asked, stack: ExitStack) -> Contents:
    """What a source holds. Temporary files live until `stack` is closed. Raises SourceError."""
    if source == "digits":
        _check_asked(asked, (), "digits")
        return arrays.digits()
    if isinstance(source, str) and source.startswith("hub:"):
        _check_asked(asked, ("split",), source)
        return hub.read(source.removeprefix("hub:"), asked.split)
    path = Path(source).expanduser()
    if path.exists():
        contents = _from_path(path, asked, stack)
        if str(source) in named.SETS:
            contents = contents.with_remarks(f"{source} is the one on this disk, not the data set of that name")
        return contents
    if str(source) in named.SETS:
        name = str(source)
        fetched = named.fetch(name)
        if (classes := named.SETS[name].classes) is not None:
            _check_asked(asked, ("split",), name)
            return idx.read(open_tree(fetched, stack), asked.split, classes)
        return _from_path(fetched, asked, stack)
    raise SourceError(f"{source} is neither there nor the name of a data set", _KINDS, "check the path")


def _check_asked(asked: Asked, takes: Sequence[str], where: str) -> None:
    """Refuse what was asked for and means nothing here."""
    if asked.split is not None and "split" not in takes:
        raise no_splits(where, asked.split)
    if asked.folders_are_classes and "folders_are_classes" not in takes:
        raise SourceError(f"{where} has no class folders", "a folder or archive of them", "leave the option out")
    for column in ("path_column", "label_column"):
        if getattr(asked, column) is not None and column not in takes:
            option = "--" + column.replace("_", "-")
            raise SourceError(f"{where} is not a list, but {option} was given", "a list of images", "leave it out")
    if asked.names_encoding is not None and "names_encoding" not in takes:
        found = f"{where} is no zip or tar, but --names-encoding was given"
        raise SourceError(found, "an archive", "leave the option out")


def _from_path(path: Path, asked: Asked, stack: ExitStack) -> Contents:
    if path.is_dir():
        if (path / "manifest.json").is_file() and (path / "pixels.npy").is_file():
            raise SourceError(f"{path} is a pack already", "images from outside", "change packs with imagemint edit")
        tree = open_tree(path, stack)
        return _from_tree(tree, asked, stack).with_remarks(*tree.remarks)
    if path.name.casefold().endswith(CLOSED_ENDINGS):
        raise closed([path.name], str(path.parent))
    for way in _FILES:
        if way.fits(path):
            _check_asked(asked, way.takes, str(path))
            return way.read(path, asked, stack)
    raise SourceError(f"{path} is no kind of source", _KINDS, "convert it, or pack the folder that it lies in")


def _from_tree(tree: Tree, asked: Asked, stack: ExitStack) -> Contents:
    """What lies in a folder or archive: a known layout, or images. One folder around class folders is unwrapped."""
    level = folders.top(tree, asked)
    while True:
        left = replace(asked, split=level.split)
        for way in _LAYOUTS:
            if way.fits(level.tree):
                _check_asked(left, way.takes, level.tree.title)
                return way.read(level.tree, left, stack).with_remarks(*level.remarks)
        below = folders.step(level, asked)
        if below is None:
            _check_asked(left, ("folders_are_classes",), level.tree.title)
            return folders.read(level, asked)
        level = below


def _ends(*endings: str) -> Callable[[Path], bool]:
    return lambda path: path.name.casefold().endswith(endings)


# TensorFlow numbers its shards after the ending ("x.tfrecord-00000-of-00002"), and older writers leave the ending
# out ("train-00000-of-00002").
_NUMBERED = re.compile(r"-\d+-of-\d+$")


def _is_tfrecord(name: str) -> bool:
    stem = _NUMBERED.sub("", name.casefold())
    return stem.endswith(_TFRECORD) or (stem != name.casefold() and "." not in name.rsplit("/", 1)[-1])


def _is_parquet(name: str) -> bool:
    return name.casefold().endswith(_PARQUET)


def _is_tar(name: str) -> bool:
    return name.casefold().endswith(TAR_ENDINGS)


def _only(tree: Tree, kind: Callable[[str], bool]) -> list[str]:
    """Paths of the files of such a kind, sorted; none where the tree has images too."""
    return [] if any(map(is_image, tree.files)) else sorted(filter(kind, tree.files), key=order)


def _is_stylegan(path: Path) -> bool:
    return path.name.casefold() == stylegan.FILE


def _one(path: Path) -> Tree:
    return Tree(str(path), {path.name: str(path)}, frozenset())


def _from_archive(path: Path, asked: Asked, stack: ExitStack) -> Contents:
    tree = open_tree(path, stack, asked.names_encoding)
    asked = replace(asked, names_encoding=None)  # has been heard
    if _is_tar(path.name) and webdataset.fits(tree):
        _check_asked(asked, (), str(path))
        return webdataset.samples([("", tree)], str(path)).with_remarks(*tree.remarks)
    return _from_tree(tree, asked, stack).with_remarks(*tree.remarks)


_ANY = ("split", "folders_are_classes", "path_column", "label_column")
_LIST = ("split", "path_column", "label_column")
_ARCHIVE = (*_ANY, "names_encoding")
_FILES = (
    Way(_is_stylegan, (), lambda path, asked, stack: stylegan.read(open_tree(path.resolve().parent, stack))),
    Way(pixels.holds, ("split", "label_column"), lambda path, asked, stack: pixels.read(path, asked)),
    Way(_ends(*listing.ENDINGS), _LIST, lambda path, asked, stack: listing.read(path, asked)),
    Way(_ends(".npz"), ("split",), lambda path, asked, stack: npz.read(path, asked.split)),
    Way(
        lambda path: _is_parquet(path.name),
        ("split",),
        lambda path, asked, stack: parquet.read(_one(path), [path.name], asked.split),
    ),
    Way(
        lambda path: _is_tfrecord(path.name),
        ("split",),
        lambda path, asked, stack: tfrecords.read(_one(path), [path.name], asked.split),
    ),
    Way(_ends(*ZIP_ENDINGS, *TAR_ENDINGS), _ARCHIVE, _from_archive),
)
_LAYOUTS = (
    Way(
        lambda tree: bool(_only(tree, _is_parquet)),
        ("split",),
        lambda tree, asked, stack: parquet.read(tree, _only(tree, _is_parquet), asked.split),
    ),
    Way(
        lambda tree: bool(_only(tree, _is_tfrecord)),
        ("split",),
        lambda tree, asked, stack: tfrecords.read(tree, _only(tree, _is_tfrecord), asked.split),
    ),
    Way(
        lambda tree: bool(_only(tree, _is_tar)),
        ("split",),
        lambda tree, asked, stack: webdataset.read(tree, _only(tree, _is_tar), asked.split, stack),
    ),
    Way(idx.fits, ("split",), lambda tree, asked, stack: idx.read(tree, asked.split)),
    Way(cifar.fits, ("split",), lambda tree, asked, stack: cifar.read(tree, asked.split)),
    Way(stylegan.fits, (), lambda tree, asked, stack: stylegan.read(tree)),
)
