"""Images in folders: a sub-folder a class, or no classes at all."""

from __future__ import annotations

import unicodedata
from collections import defaultdict
from urllib.parse import unquote

from imagemint.data.sources.contents import Contents, class_order, endings, first, named_labels, some
from imagemint.data.sources.tree import Tree, is_image, order
from imagemint.errors import SourceError


def images(tree: Tree) -> list[str]:
    """Paths of the files that end as images do, sorted."""
    return sorted((name for name in tree.files if is_image(name)), key=order)


def printable(name: str) -> str:
    """A file's name in one spelling (NFC), also where the system's bytes are not UTF-8."""
    if name.isascii():
        return name
    return unicodedata.normalize("NFC", name.encode("utf-8", "surrogateescape").decode("utf-8", "replace"))


def read(tree: Tree) -> Contents:
    """A sub-folder a class, whatever is below it; images beside the class folders are unlabelled.

    Classes are sorted by name (numerically if all are numbers), or as a `labels.txt` beside them lists them; images
    are sorted by path.
    """
    names = images(tree)
    ignored = sorted(tree.files.keys() - set(names) - {"labels.txt"}) if len(names) < len(tree.files) else []
    if not names:
        found = f"{tree.title} is empty" if not ignored else f"{tree.title} has no image ({endings(ignored)})"
        raise SourceError(found, "images, or a sub-folder of images for each class", "check the path")
    folders = tree.top()
    _check_folders(tree, folders, names)
    class_of, ordered = _class_names(tree, folders)
    values = [class_of[name.split("/", 1)[0]] if "/" in name else None for name in names]
    labels, classes = named_labels(values, ordered)
    contents = Contents(labels, classes, [printable(name) for name in names], [tree.files[name] for name in names])
    return contents.with_remarks(*_remarks(tree, names, ignored))


def _check_folders(tree: Tree, folders: list[str], names: list[str]) -> None:
    alike = defaultdict(list)
    for folder in folders:
        alike[printable(folder).casefold()].append(folder)
    for group in alike.values():
        if len(group) > 1:
            raise SourceError(
                f"class folders of {tree.title} differ only by case: {first(group)}",
                "one folder a class",
                "rename one of them, or move its images",
            )
    filled = {name.split("/", 1)[0] for name in names}
    empty = [folder for folder in folders if folder not in filled]
    if empty:
        raise SourceError(
            f"no image in {some(len(empty), 'class folder')} of {tree.title}: {first(empty)}",
            "images in every class folder",
            "fill or remove what is empty",
        )


def listed_classes(tree: Tree) -> list[str] | None:
    """The class names in a `labels.txt` at the root, one a line, in label order; None where there is none."""
    if "labels.txt" not in tree.files:
        return None
    lines = tree.content("labels.txt").decode("utf-8-sig", "replace").splitlines()
    return [line for line in lines if line.strip()]


def _class_names(tree: Tree, folders: list[str]) -> tuple[dict[str, str], list[str]]:
    """The class of each folder, and the classes in order: those of `labels.txt` where it lists exactly the folders.

    A folder may carry its class's name as in web addresses (`a%2Fb` is `a/b`), as `imagemint export` writes it.
    """
    listed = listed_classes(tree) or []
    for spelled in (printable, lambda folder: printable(unquote(folder))):
        names = {folder: spelled(folder) for folder in folders}
        if sorted(names.values()) == sorted(map(printable, listed)):
            return names, [printable(name) for name in listed]
    names = {folder: printable(folder) for folder in folders}
    return names, class_order(names.values())


def _remarks(tree: Tree, names: list[str], ignored: list[str]) -> list[str]:
    remarks = []
    loose = [name for name in names if "/" not in name]
    if loose and len(loose) < len(names):
        remarks.append(
            f"{some(len(loose), 'image')} beside the class folders: kept without a label ({first(loose, 3)})"
        )
    elif loose:
        remarks.append(f"no class folders in {tree.title}: all images are unlabelled")
    if ignored:
        remarks.append(f"{some(len(ignored), 'file')} ignored, not images by their ending: {endings(ignored)}")
    listings = [name for name in ignored if name.casefold().endswith((".csv", ".jsonl", ".ndjson", ".json"))]
    if listings and loose and len(loose) == len(names):
        remarks.append(f"{first(listings, 1)} may hold the labels: pack that file instead to use them")
    return remarks
