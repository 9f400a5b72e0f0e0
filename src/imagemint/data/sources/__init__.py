"""Every way in. `open_source` finds out what a source is; one small file a kind reads it.

    digits                      scikit-learn's handwritten digits; needs no network
    FOLDER, .zip, .tar[.gz]     images in class folders or loose, StyleGAN's dataset.json, MNIST's IDX, CIFAR
    .tar, folder of .tar        WebDataset shards
    .parquet, .tfrecord         shards, one or a folder of them
    .csv .tsv .jsonl            path and label of each image
    .npz                        arrays
    hub:NAME                    the Hugging Face hub
    mnist fashion-mnist ...     data sets by name, see `named`

What is there on disk wins over a named set of the same name. `digits` is always the built-in one; a folder of that
name is `./digits`.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path

from imagemint.data.sources import arrays, files, hub, listing, named, shards, stylegan
from imagemint.data.sources.contents import SPLITS, Contents, choose_split, no_splits
from imagemint.data.sources.tree import TAR_ENDINGS, ZIP_ENDINGS, Tree, is_image, open_tree
from imagemint.errors import SourceError

_PARQUET, _TFRECORD = (".parquet",), (".tfrecord", ".tfrecords")
_KINDS = "a folder, .zip, .tar, .parquet, .tfrecord, .csv, .jsonl or .npz, digits, hub:NAME, or " + ", ".join(
    named.SETS
)


def open_source(source: Path | str, split: str | None, stack: ExitStack) -> Contents:
    """What a source holds. Temporary files live until `stack` is closed. Raises SourceError."""
    if source == "digits":
        return _without_split(arrays.digits(), "digits", split)
    if isinstance(source, str) and source.startswith("hub:"):
        return hub.read(source.removeprefix("hub:"), split)
    path = Path(source).expanduser()
    if path.exists():
        contents = _from_path(path, split, stack)
        if str(source) in named.SETS:
            contents = contents.with_remarks(f"{source} is the one on this disk, not the data set of that name")
        return contents
    if str(source) in named.SETS:
        name = str(source)
        fetched = named.fetch(name)
        if (classes := named.SETS[name].classes) is not None:
            return arrays.idx(open_tree(fetched, stack), split, classes)
        return _from_path(fetched, split, stack)
    raise SourceError(f"{source} is neither there nor the name of a data set", _KINDS, "check the path")


def _without_split(contents: Contents, where: str, split: str | None) -> Contents:
    if split is not None:
        raise no_splits(where, split)
    return contents


def _from_path(path: Path, split: str | None, stack: ExitStack) -> Contents:
    name = path.name.casefold()
    if path.is_dir():
        if (path / "manifest.json").is_file() and (path / "pixels.npy").is_file():
            raise SourceError(f"{path} is a pack already", "images from outside", "change packs with imagemint edit")
        return _from_tree(open_tree(path, stack), split, stack)
    if name.endswith(listing.ENDINGS):
        return _without_split(listing.read(path), str(path), split)
    if name == stylegan.FILE:
        return _from_path(path.resolve().parent, split, stack)
    if name.endswith(".npz"):
        return arrays.npz(path, split)
    if name.endswith(_PARQUET):
        return shards.parquet(Tree(str(path), {path.name: str(path)}, frozenset()), [path.name], split)
    if name.endswith(_TFRECORD):
        return shards.tfrecord(Tree(str(path), {path.name: str(path)}, frozenset()), [path.name], split)
    if name.endswith((*ZIP_ENDINGS, *TAR_ENDINGS)):
        tree = open_tree(path, stack)
        if name.endswith(TAR_ENDINGS) and shards.is_webdataset(tree):
            return _without_split(shards.samples([("", tree)], str(path)), str(path), split)
        return _from_tree(tree, split, stack)
    raise SourceError(f"{path} is no kind of source", _KINDS, "convert it, or pack the folder that it lies in")


def _from_tree(tree: Tree, split: str | None, stack: ExitStack) -> Contents:
    """What lies in a folder or archive: a known layout, or images. One folder around class folders is unwrapped."""
    while True:
        for ending, reader in _SHARDS.items():
            if names := shards.with_ending(tree, ending):
                return reader(tree, names, split, stack)
        loose = tree.loose()
        if arrays.is_idx(tree):
            return arrays.idx(tree, split)
        if arrays.is_cifar(tree):
            return arrays.cifar(tree, split)
        if stylegan.FILE in loose:
            return _without_split(stylegan.read(tree), tree.title, split)
        top = tree.top()
        wrapper = len(top) == 1 and not _is_class(tree.below(top[0]))
        parts = [folder for folder in top if folder.casefold() in SPLITS]
        only_folders = not any(is_image(name) for name in loose)
        if only_folders and wrapper and split is None:
            tree = tree.below(top[0])
        elif split is not None and any(folder.casefold() == split.casefold() for folder in top):
            tree, split = tree.below(choose_split(top, split, tree.title)), None
        elif only_folders and parts and len(parts) == len(top):
            tree, split = tree.below(choose_split(parts, split, tree.title)), None
        elif only_folders and wrapper:
            tree = tree.below(top[0])
        else:
            return _without_split(files.read(tree), tree.title, split)


def _is_class(tree: Tree) -> bool:
    """Images without sub-folders, and no list of labels beside them: the one folder is a class, not a wrapper."""
    lists = (stylegan.FILE, *listing.ENDINGS)
    listed = any(name.casefold().endswith(lists) for name in tree.files)
    return not tree.top() and not listed and any(is_image(name) for name in tree.files)


_SHARDS: dict[tuple[str, ...], Callable[[Tree, list[str], str | None, ExitStack], Contents]] = {
    _PARQUET: lambda tree, names, split, stack: shards.parquet(tree, names, split),
    _TFRECORD: lambda tree, names, split, stack: shards.tfrecord(tree, names, split),
    TAR_ENDINGS: shards.webdataset,
}
