"""From a folder or archive to the part of it that is packed: step by step down, then by class folders or by a list.

Where the folders at the top may be no classes (see `structure`), the person is asked, with the ways that are true for
what is on the disk.
"""

from __future__ import annotations

import os
import shlex
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from imagemint.data.names import LABELS
from imagemint.data.sources import beside, files, pixels, structure, tables
from imagemint.data.sources.beside import Beside
from imagemint.data.sources.contents import Asked, Contents, choose_split
from imagemint.data.sources.files import printable
from imagemint.data.sources.listing import labels_of
from imagemint.data.sources.structure import Doubt, Folder
from imagemint.data.sources.tree import Tree, order
from imagemint.errors import SourceError
from imagemint.words import counted, listed, shown

_MOST_NAMED = 2  # lists of which a whole line is said
_CLASSES = "folders that are classes"


@dataclass(frozen=True)
class Level:
    """Where we are in a source."""

    root: Tree  # the whole source: lists are looked for in all of it
    tree: Tree  # the part in which we are ...
    here: Folder  # ... and what lies where in it
    inside: str = ""  # the path of the part in the whole, "" or "x/train/"
    split: str | None = None  # what --split still asks for
    taken: str = ""  # what it has taken, "" or "bottle/"
    answered: bool = False  # that the top folders are classes was said by asking for a part of each
    remarks: list[str] = field(default_factory=list)

    def below(self, name: str, *remarks: str) -> Level:
        """One of the folders."""
        return replace(
            self,
            tree=self.tree.below(name),
            here=self.here.folders[name],
            inside=f"{self.inside}{name}/",
            remarks=[*self.remarks, *remarks],
        )


def top(tree: Tree, asked: Asked) -> Level:
    """The whole source."""
    return Level(tree, tree, structure.outline(tree), split=asked.split)


def step(level: Level, asked: Asked) -> Level | None:
    """One folder down: into the split, or through a folder around everything; None where the images are here."""
    here, filled = level.here, level.here.filled() or level.here.folders  # without images, arrays may lie below
    only = next(iter(filled)) if len(filled) == 1 and not here.images else None
    if level.split is not None:
        return _into_split(level, level.split, filled, only)
    parts = [name for name in filled if structure.is_split(name)]
    aside = here.empty() if here.total else []
    if only is not None and not aside and (not here.total or filled[only].filled()):
        return level.below(only)
    if asked.folders_are_classes:
        return None
    if parts and len(parts) == len(filled) and (not here.images or len(parts) > 1):
        name = choose_split(parts, None, level.tree.title, level.taken)
        return level.below(name, *_set_aside(level, name, aside))
    if only is not None and _is_around(only, filled[only], here):
        return level.below(only, *_set_aside(level, only, aside))
    return None


def _into_split(level: Level, split: str, filled: dict[str, Folder], only: str | None) -> Level | None:
    head, _, rest = split.partition("/")
    if (name := structure.part_called(filled, head)) is not None:
        left_out = [other for other in filled if other != name]
        remark = [f"taken is {name}, without {listed([shown(each) for each in left_out])}"] if left_out else []
        return replace(level.below(name, *remark), split=rest or None, taken=f"{level.taken}{name}/")
    if only is not None and filled[only].filled():
        return level.below(only)
    if within := structure.within_classes(level.here, head):
        return _within_classes(level, head, within, rest or None)
    if parts := [name for name in filled if structure.is_split(name)]:
        choose_split(parts, split, level.tree.title, level.taken)
    return level.below(only) if only is not None else None


def _within_classes(level: Level, split: str, within: dict[str, str], rest: str | None) -> Level:
    """CLASS/train/1.png as CLASS/1.png."""
    moved = {f"{path}/": f"{name}/" for name, path in within.items()}
    inside = {
        to + name[len(start) :]: item
        for name, item in level.tree.files.items()
        for start, to in _started(name, moved)
    }
    tree = Tree(level.tree.title, inside, frozenset())
    without = [name for name in level.here.filled() if name not in within]
    remarks = [f"of each class folder, {split} is taken"]
    remarks += [f"{listed([shown(each) for each in without])} have no {split} and are left out"] if without else []
    here = structure.outline(tree)
    remarks = [*level.remarks, *remarks]
    return replace(level, tree=tree, here=here, split=rest, taken=f"{split}/", answered=True, remarks=remarks)


def _started(name: str, moved: dict[str, str]) -> Sequence[tuple[str, str]]:
    return [(start, to) for start, to in moved.items() if name.startswith(start)][:1]


def _is_around(name: str, folder: Folder, here: Folder) -> bool:
    """Whether the only folder with images is no class, but holds classes, a list, or images without classes."""
    for other in here.empty():
        others = list(here.folders[other].other_paths())
        meant = others or structure.is_about_images(other)
        if not meant or any(files.kind_of(each) or each.casefold().endswith(files.ARCHIVES) for each in others):
            return False
        if not (structure.is_nameless(name) or structure.is_about_images(other)):
            return False
    has_list = any(each.casefold().endswith(tables.ENDINGS) for each in folder.others)
    return bool(folder.filled()) or structure.is_nameless(name) or has_list


def _set_aside(level: Level, name: str, aside: list[str]) -> list[str]:
    remarks = []
    if aside:
        remarks.append(
            f"images are those of {level.tree.title}/{name}; {listed(aside)} beside it: no image, not used"
        )
    elif not level.here.folders[name].filled() and not structure.is_split(name):
        remarks.append(f"the folder {name} is not taken for a class (--folders-are-classes makes it one)")
    return remarks


# ------------------------------------------------------------------------------------- what is here is packed


def read(level: Level, asked: Asked) -> Contents:
    """The images of this level: by the list that fits without doubt, or by class folders. Raises SourceError."""
    tree, here = level.tree, level.here
    if asked.folders_are_classes:
        return _remarked(level, files.read(tree, here))
    if not here.total:
        raise _no_image(level)
    images = list(here.paths())
    found = beside.lists(level.root, level.inside, images)
    doubt = structure.doubt(here, answered=level.answered)
    fitting = [each for each in found if each.fits]
    one = len(here.filled()) + bool(here.images) == 1  # all images in one place, whatever its name
    if fitting and (doubt is not None or one):
        _check_one(level, fitting, images)
        return _by_list(level, fitting[0], sorted(images, key=order))
    if doubt is None and one and not here.images and found:
        doubt = Doubt(
            f"has all its images in one folder, {shown(next(iter(here.filled())))}, and lists of labels", []
        )
    if doubt is not None:
        raise _question(level, doubt, found)
    for each in fitting:
        if not _agrees(each):
            raise _otherwise(level, each)
    return _remarked(level, files.read(tree, here)).with_remarks(*_unused(level, found))


def _remarked(level: Level, contents: Contents) -> Contents:
    """How we came here is said first."""
    return replace(contents, remarks=[*level.remarks, *contents.remarks])


def _no_image(level: Level) -> SourceError:
    others = sorted(level.here.other_paths(), key=order)
    for name in others:
        item = level.tree.files[name]
        if isinstance(item, str) and pixels.holds(Path(item)):
            found = f"{level.tree.title} has no image, but pixels in {name}"
            return SourceError(found, "images", f"imagemint pack {shlex.quote(item)} DEST")
    return files.no_image(level.tree, [name for name in others if name != LABELS])


def _by_list(level: Level, each: Beside, images: list[str]) -> Contents:
    labels, classes, about = labels_of([each.rows[name] for name in images])
    items = [level.tree.files[name] for name in images]
    remarks = [*level.remarks, f"labels are those of {each.name}", *each.remarks, *about]
    return Contents(labels, classes, [printable(name) for name in images], items, remarks=remarks)


def _check_one(level: Level, fitting: list[Beside], images: list[str]) -> None:
    """Several lists must say the same."""
    first, *others = fitting
    for other in others:
        if [first.rows[name].label for name in images] != [other.rows[name].label for name in images]:
            raise SourceError(
                f"{first.name} and {other.name} in {level.root.title} label the images differently",
                "one list",
                f"choose one: {beside.advice(level.root, _on_disk(level), first)}",
            )


def _agrees(each: Beside) -> bool:
    """Whether the list has the same images in one class as the folders at the top."""
    pairs = {(name.split("/", 1)[0], row.label) for name, row in each.rows.items()}
    return len(pairs) == len({folder for folder, _ in pairs}) == len({label for _, label in pairs})


def _otherwise(level: Level, each: Beside) -> SourceError:
    name, row = next(iter(each.rows.items()))
    folder = name.split("/", 1)[0] if "/" in name else "no class"
    return SourceError(
        f"{each.name} labels the images of {level.tree.title} otherwise than their folders "
        f"({shown(name)} is {shown(str(row.label))} there and {shown(folder)} by its folder)",
        "one of the two",
        f"{beside.advice(level.root, _on_disk(level), each)} takes the list, --folders-are-classes the folders",
    )


def _question(level: Level, doubt: Doubt, found: list[Beside]) -> SourceError:
    """The error that asks what the folders are, with the ways that are there."""
    ways = []
    if found and not structure.is_split((doubt.parts or [""])[0]):
        best = max(found, key=lambda each: (len(each.rows), each.named))
        ways.append(f"the labels of {best.name} are used by {beside.advice(level.root, _on_disk(level), best)}")
    if doubt.parts:
        part = doubt.parts[0]
        if doubt.inside or structure.split_word(part) is not None or not _on_disk(level):
            ways.append(f"choose, for example --split {shlex.quote(level.taken + part)}")
        else:
            ways.append(f"choose, for example imagemint pack {shlex.quote(f'{level.tree.title}/{part}')} DEST")
    elif doubt.masks:
        ways.append("move the masks to a place of their own")
    ways.append("--folders-are-classes takes them as they are")
    return SourceError(f"{level.tree.title} {doubt.found}", _CLASSES, "; ".join(ways))


def _on_disk(level: Level) -> bool:
    return os.path.isdir(level.root.title)


def _unused(level: Level, found: list[Beside]) -> list[str]:
    """What is said of lists that are there and not used."""
    labelled = bool(level.here.filled())
    found = [each for each in found if not (labelled and each.fits)]
    remarks = []
    for each in found[:_MOST_NAMED]:
        how = beside.advice(level.root, _on_disk(level), each)
        if labelled:
            many = f"{each.named:,} of {counted(level.here.total, 'image')}"
            remarks.append(f"{each.name} names {many} and is not used: {how} takes its labels")
        else:
            remarks.append(f"{each.name} may hold the labels: {how}")
    if more := found[_MOST_NAMED:]:
        remarks.append(f"{counted(len(more), 'more list')} not used: {listed([each.name for each in more], 3)}")
    named = {each.name for each in found}
    unread = sorted(name for name in level.root.files if name.casefold().endswith(".json") and name not in named)
    if unread and not labelled:
        remarks.append(
            f"{listed(unread, 2)} is not read: imagemint takes labels from a list of path and class per image"
        )
    return remarks
