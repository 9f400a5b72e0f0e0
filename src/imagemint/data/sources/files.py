"""Images in folders: a sub-folder per class, or no classes at all."""

from __future__ import annotations

import shlex
import unicodedata
from collections import defaultdict
from collections.abc import Iterable

from imagemint.data.names import LABELS, from_folder, from_lines
from imagemint.data.sources.contents import Contents, class_order, endings, named_labels
from imagemint.data.sources.structure import Folder, is_about_images, is_nameless
from imagemint.data.sources.tree import TAR_ENDINGS, ZIP_ENDINGS, Tree, is_image, order
from imagemint.errors import SourceError
from imagemint.words import counted, listed, shown

ARCHIVES = (*ZIP_ENDINGS, *TAR_ENDINGS, ".rar", ".7z")
_READABLE = "PNG, JPEG, BMP, GIF, PPM, WebP or TIFF images"
_FOREIGN = {  # images that are not read, by their endings
    ".heic .heif": "HEIC photos",
    ".avif": "AVIF images",
    ".jxl": "JPEG XL images",
    ".jp2 .j2k .jpx": "JPEG 2000 images",
    ".dcm .dicom": "DICOM images",
    ".nii .mha .nrrd": "medical volumes",
    ".cr2 .cr3 .nef .arw .dng .orf .rw2": "raw photos",
    ".psd .xcf .svg .eps .ai": "drawings",
    ".exr .hdr": "high-range images",
    ".mp4 .mov .avi .mkv .webm": "videos",
}
_KINDS = {ending: what for several, what in _FOREIGN.items() for ending in several.split()}


def images(tree: Tree) -> list[str]:
    """Paths of the files that end as images do, sorted."""
    return sorted((name for name in tree.files if is_image(name)), key=order)


def printable(name: str) -> str:
    """A file's name in one spelling (NFC), also where the system's bytes are not UTF-8."""
    if name.isascii():
        return name
    return unicodedata.normalize("NFC", name.encode("utf-8", "surrogateescape").decode("utf-8", "replace"))


def read(tree: Tree, here: Folder) -> Contents:
    """A sub-folder per class, whatever is below it; images beside the class folders are unlabelled.

    Classes are sorted by name (numerically if all are numbers), or as a `labels.txt` beside them lists them; images
    are sorted by path.
    """
    names = sorted(here.paths(), key=order)
    ignored = sorted((name for name in here.other_paths() if name != LABELS), key=order)
    if not names:
        raise no_image(tree, ignored)
    aside = _check_folders(tree, here)
    folders = list(here.filled())
    class_of, ordered = _class_names(tree, folders)
    values = [class_of[name.split("/", 1)[0]] if "/" in name else None for name in names]
    labels, classes = named_labels(values, ordered)
    contents = Contents(labels, classes, [printable(name) for name in names], [tree.files[name] for name in names])
    return contents.with_remarks(*_about_classes(tree, here, class_of, aside), *about_ignored(ignored))


def no_image(tree: Tree, others: list[str]) -> SourceError:
    """What is there instead of images, and what to do with it."""
    if not others:
        return SourceError(f"{tree.title} is empty", "images, or a sub-folder of images per class", "check the path")
    found = f"{tree.title} has no image ({endings(others)})"
    if remedy := _other_remedy(tree, others):
        return SourceError(found, _READABLE, remedy)
    return SourceError(found, "images, or a sub-folder of images per class", "check the path")


def _other_remedy(tree: Tree, others: Iterable[str]) -> str | None:
    """What to do where files are images in another form, or hold images."""
    others = list(others)
    if foreign := [name for name in others if kind_of(name)]:
        what, ending = kind_of(foreign[0]), foreign[0][foreign[0].rfind(".") :]
        where = "/".join([tree.title, *foreign[0].split("/")[:-1]])
        command = f"magick mogrify -format jpg {shlex.quote(where)}/*{ending}"
        return f"{what} are not read: convert them to JPEG or PNG first, for example with ImageMagick: {command}"
    if archives := [name for name in others if name.casefold().endswith(ARCHIVES)]:
        return f"unpack {listed([shown(name) for name in archives], 3)} first, or pack it on its own"
    return None


def kind_of(name: str) -> str | None:
    """What a file of images is that cannot be read ("HEIC photos"); None for every other file."""
    return _KINDS.get(name[name.rfind(".") :].casefold()) if "." in name else None


def _check_folders(tree: Tree, here: Folder) -> list[str]:
    """The folders that hold no image and, by their names, were never meant to. Raises SourceError."""
    alike = defaultdict(list)
    for folder in here.folders:
        alike[printable(folder).casefold()].append(folder)
    for group in alike.values():
        if len(group) > 1:
            raise SourceError(
                f"class folders of {tree.title} differ only by case: {listed(sorted(group))}",
                "one folder per class",
                "rename one of them, or move its images",
            )
    empty: list[str] = []
    aside: list[str] = []
    for name in here.empty():
        files = list(here.folders[name].other_paths(f"{name}/"))
        (aside if is_about_images(name) and not _other_remedy(tree, files) else empty).append(name)
    if empty:
        files = [path for name in empty for path in here.folders[name].other_paths(f"{name}/")]
        holds = f" ({endings(files)})" if files else ""
        found = f"no image in {counted(len(empty), 'class folder')} of {tree.title}: {listed(empty)}{holds}"
        remedy = (
            "move what is no class out of the folder, and what is empty" if files else "fill or remove what is empty"
        )
        raise SourceError(found, "images in every class folder", _other_remedy(tree, files) or remedy)
    return aside


def listed_classes(tree: Tree) -> list[str] | None:
    """The class names in a `labels.txt` at the root, one per line, in label order; None where there is none."""
    if LABELS not in tree.files:
        return None
    return from_lines(tree.content(LABELS).decode("utf-8-sig", "replace"))


def _class_names(tree: Tree, folders: list[str]) -> tuple[dict[str, str], list[str]]:
    """The class of each folder, and the classes in order: those of `labels.txt` where it lists exactly the folders.

    A folder may carry its class's name as in web addresses (`a%2Fb` is `a/b`), as `imagemint export` writes it.
    """
    listed_names = listed_classes(tree) or []
    for spelled in (printable, lambda folder: printable(from_folder(folder))):
        names = {folder: spelled(folder) for folder in folders}
        if sorted(names.values()) == sorted(map(printable, listed_names)):
            return names, [printable(name) for name in listed_names]
    names = {folder: printable(folder) for folder in folders}
    return names, class_order(names.values())


def _about_classes(tree: Tree, here: Folder, class_of: dict[str, str], aside: list[str]) -> list[str]:
    remarks = []
    if here.images and class_of:
        beside = counted(len(here.images), "image")
        remarks.append(f"{beside} beside the class folders: kept without a label ({listed(sorted(here.images), 3)})")
    elif here.images:
        remarks.append(f"no class folders in {tree.title}: all images are unlabelled")
    renamed = [f"{folder} is {name}" for folder, name in class_of.items() if printable(folder) != name]
    if renamed:
        remarks.append(f"class folders carry the names of their classes as in web addresses: {listed(renamed, 3)}")
    if (
        class_of
        and LABELS in tree.files
        and sorted(class_of.values()) != sorted(map(printable, listed_classes(tree) or []))
    ):
        remarks.append(f"{LABELS} does not list the class folders and is not used")
    nested = {
        name: [each for each in folder.filled() if not is_nameless(each)] for name, folder in here.filled().items()
    }
    if deep := [name for name, inner in nested.items() if inner]:
        inner = listed([shown(each) for each in nested[deep[0]]], 3)
        remarks.append(
            f"images in sub-folders belong to the class folder above, in {counted(len(deep), 'class', 'classes')}: "
            f"{shown(class_of[deep[0]])} holds {inner}"
        )
    if aside:
        remarks.append(f"{listed(aside)} beside the class folders hold no image and are no classes")
    return remarks


def about_ignored(ignored: list[str]) -> list[str]:
    """What is said of files that are no images."""
    remarks = []
    if ignored:
        remarks.append(f"{counted(len(ignored), 'file')} ignored, not images by their ending: {endings(ignored)}")
    foreign = sorted(name for name in ignored if kind_of(name))
    if foreign:
        what = "is not read and is" if len(foreign) == 1 else "are not read and are"
        remarks.append(
            f"{counted(len(foreign), 'image')} in another format {what} missing ({listed(foreign, 2)}): "
            "convert to JPEG or PNG to have them"
        )
    if archives := sorted(name for name in ignored if name.casefold().endswith(ARCHIVES)):
        remarks.append(f"{counted(len(archives), 'archive')} inside not looked into: {listed(archives, 3)}")
    return remarks
