"""Whether the folders at the top of a source are its classes, or an order that only its maker knew.

`outline` is what lies where, `doubt` looks below the top folders for what speaks against classes. Each kind of doubt
is a row of `_KINDS`: a pure function of the outline. Where the evidence fits classes as well (a class called "test"
among others, a year or a camera below every class), there is no doubt.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from typing import NamedTuple

from imagemint import files
from imagemint.data import decode
from imagemint.data.sources.contents import SPLITS
from imagemint.data.sources.tree import Tree, is_image
from imagemint.words import counted, listed, shown


def _set(text: str) -> frozenset[str]:
    return frozenset(text.split())


# Words of which the names of folders are made that are no classes. A name counts when all of its words do.
_IMAGES = _set(
    "images image imgs img pictures picture pics photos jpegimages pngimages jpg jpeg png jpgs jpegs pngs data "
    "dataset datasets files all"
)
_SURELY = _IMAGES - _set("image picture pictures pics photos files all")  # no classes among others either
_MASKS = _set(
    "groundtruth ground truth gt mask masks annotation annotations trimap trimaps label labels segmentation "
    "segmentations segmentationclass segmentationobject seg segs bbox bboxes boxes heatmaps edges depth"
)
# Of these, the ones that are classes of honest data sets too ("mask" and "no mask"): they need a second sign.
_WEAK_MASKS = _set("mask masks label labels gt truth ground seg segs boxes edges depth")
_PARTS = _IMAGES | _set("part parts batch fold chunk shard volume vol disk subset section piece set")
# Folders of what belongs to images and holds none.
_ABOUT = _MASKS | _set(
    "meta metadata list lists doc docs imagesets split splits script scripts code src info imdb attributes parts "
    "readme notes xml xmls json csv logs txt"
)
# Folders below classes that say when or how an image was taken, and not of what it is.
_CIRCUMSTANCE = re.compile(
    r"(19|20)\d\d([-_.]?\d\d([-_.]?\d\d)?)?|(cam|camera|session|day|night|visit|scan|take)\W?\w{0,8}"
    r"|(seq|sequence|video|clip)\W?\w{0,8}|(run|batch|part|set|folder|subject|person|patient|view|angle|week|month)\W?\w{0,8}|left|right|front|back|top|side"
    r"|bottom|old|new|misc|other|others|raw|edited|indoor|outdoor|summer|winter|spring|autumn|fall"
)
_MASK_FILE = re.compile(r"(.+?)[-_ .](mask|gt|seg|segmentation|groundtruth|label|annotation|trimap)([-_ ]?\d+)?")
_MASK_WORD = re.compile("mask|gt|seg|ground|label|annotation|trimap", re.I)
_MAGIC = (b"\x89PNG\r\n\x1a\n", b"\xff\xd8\xff", b"GIF87a", b"GIF89a", b"II*\0", b"MM\0*")
_LARGEST_SNIFFED = 32 << 20  # bytes of a packed file without an ending that is unpacked to see what it is


class Folder:
    """What lies in a folder, by name."""

    def __init__(self) -> None:
        self.folders: dict[str, Folder] = {}
        self.images: list[str] = []
        self.others: list[str] = []
        self.total = 0  # images in it and below

    def filled(self) -> dict[str, Folder]:
        """The folders with an image in them or below, by name."""
        return {name: folder for name, folder in sorted(self.folders.items()) if folder.total}

    def empty(self) -> list[str]:
        """The folders without one."""
        return sorted(name for name, folder in self.folders.items() if not folder.total)

    def paths(self, start: str = "") -> Iterator[str]:
        """The paths of all images."""
        yield from (start + name for name in self.images)
        for name, folder in self.folders.items():
            yield from folder.paths(f"{start}{name}/")

    def other_paths(self, start: str = "") -> Iterator[str]:
        """The paths of all files that are no images."""
        yield from (start + name for name in self.others)
        for name, folder in self.folders.items():
            yield from folder.other_paths(f"{start}{name}/")


def outline(tree: Tree) -> Folder:
    """The folders of a tree; images are known by their ending, or by their first bytes where they have none."""
    root = Folder()
    known = {"": root}
    for path in tree.folders:
        _at(known, path)
    for path in tree.files:
        above, _, name = path.rpartition("/")
        folder = known.get(above) or _at(known, above)
        if is_image(name) or (not re.search(r"\.\w{1,8}$", name) and _begins_as_image(tree, path)):
            folder.images.append(name)
        else:
            folder.others.append(name)
    _count(root)
    return root


def _at(known: dict[str, Folder], path: str) -> Folder:
    if path not in known:
        above, _, name = path.rpartition("/")
        known[path] = _at(known, above).folders.setdefault(name, Folder())
    return known[path]


def _count(folder: Folder) -> int:
    folder.total = len(folder.images) + sum(map(_count, folder.folders.values()))
    return folder.total


def _begins_as_image(tree: Tree, path: str) -> bool:
    item = tree.files[path]
    try:
        if isinstance(item, str):
            with files.open_regular(item) as file:
                start = file.read(12)
        elif isinstance(item, decode.Place) and item.size <= _LARGEST_SNIFFED:
            start = decode.read(item)[:12]
        else:
            return False
    except (decode.Unreadable, files.Damaged, OSError):
        return False
    return start.startswith(_MAGIC) or (start[:4] == b"RIFF" and start[8:] == b"WEBP")


# ------------------------------------------------------------------------------------------------ names of folders


def is_split(name: str) -> bool:
    """Whether a folder is called as a part of a data set, and nothing more."""
    return name.casefold() in SPLITS


def is_nameless(name: str) -> bool:
    """Whether a name says that there are images, and not of what ("images", "train_images", "JPEGImages")."""
    words = _words(name)
    return bool(words) and all(word in _IMAGES or word in SPLITS for word in words)


def is_about_images(name: str) -> bool:
    """Whether a folder without images is called as one that was never meant to have any ("meta", "Annotations")."""
    words = _words(name)
    return bool(words) and all(word in _ABOUT or word in _IMAGES or word in SPLITS for word in words)


def split_word(name: str) -> tuple[str, str] | None:
    """The split that a part of a folder's name says, and the rest of the name.

    >>> split_word("seg_train"), split_word("val2017"), split_word("cats")
    (('train', 'seg'), ('val', ''), None)
    """
    words = _words(name)
    found = next((word for word in words if word in SPLITS), None)
    return None if found is None else (found, " ".join(word for word in words if word != found))


def part_called(names: Iterable[str], split: str) -> str | None:
    """The folder that `split` means: its name, or the only one whose name has that word in it."""
    names = list(names)
    wanted = split.casefold()
    exact = [name for name in names if name.casefold() == wanted]
    within = [name for name in names if wanted in SPLITS and (split_word(name) or ("",))[0] == wanted]
    found = [name for name in exact if name == split] or exact or within
    return found[0] if len(found) == 1 else None


def _words(name: str) -> list[str]:
    return [word for word in re.split(r"[\W\d_]+", name.casefold()) if word]


def _is_mask(name: str, filled: dict[str, Folder]) -> bool:
    """Whether the name of one of the folders says masks or annotations.

    Where the word may be a class as well, the other folders must be no classes by their names, or hold an image for
    each of the masks.
    """
    words = _words(name)
    if not words or not all(word in _MASKS or word in _IMAGES or word in SPLITS for word in words):
        return False
    said = [word for word in words if word in _MASKS]
    others = [other for other in filled if other != name]
    if not said or any(_is_class_of(said, other) for other in others):
        return False
    strong = len(words) > 1 or not all(word in _WEAK_MASKS for word in said)
    if strong or all(is_nameless(other) or set(_words(other)) <= _MASKS for other in others):
        return True
    stems = [{_of_mask(stem) for stem in _stems(filled[other])} for other in others]
    all_stems = set().union(*stems)
    own = _stems(filled[name])
    masked = {_of_mask(stem) for stem in own}
    if masked == own and all(stem.isdecimal() for stem in own):  # the images of every folder may be counted from 1
        return False
    return len(all_stems) == sum(map(len, stems)) and len(masked & all_stems) > 0.9 * len(masked)


def _stems(folder: Folder) -> set[str]:
    return {path.rsplit("/", 1)[-1].rsplit(".", 1)[0].casefold() for path in folder.paths()}


def _of_mask(stem: str) -> str:
    """The stem of the image that a mask is of: "1_mask" -> "1"."""
    match = _MASK_FILE.fullmatch(stem)
    return match[1] if match else stem


def _is_class_of(said: list[str], other: str) -> bool:
    """ "no_mask" beside "mask": then both are classes."""
    words = set(_words(other))
    stems = {word.rstrip("s") for word in said}
    return bool(stems & {word.rstrip("s") for word in words}) and not words <= _MASKS | _IMAGES | set(SPLITS)


def _seen_through(name: str, folder: Folder) -> tuple[str, Folder]:
    """What a folder holds, beyond a single folder in it that only says "images" or has its name once more."""
    path = name
    while not folder.images and len(inner := folder.filled()) == 1:
        (only,) = inner
        if not (is_nameless(only) and not is_split(only)) and only != name:
            break
        path, folder = f"{path}/{only}", inner[only]
    return path, folder


def within_classes(here: Folder, split: str) -> dict[str, str]:
    """Class folder -> path of the part of that name in it ("cat" -> "cat/train"), for those that have one."""
    found = {}
    for name, folder in here.filled().items():
        path, inside = _seen_through(name, folder)
        for part in inside.filled():
            if part.casefold() == split.casefold():
                found[name] = f"{path}/{part}"
    return found


# ----------------------------------------------------------------------------------------------------- the doubts


class Doubt(NamedTuple):
    """Why top folders may be no classes, and what may be packed instead."""

    found: str  # ... in the source
    parts: list[str]  # folders to choose from, each a path; none where nothing can be named
    inside: bool = False  # a part lies in every class folder: `--split` is the only way
    masks: bool = False  # masks have to go elsewhere


def doubt(here: Folder, *, answered: bool = False) -> Doubt | None:
    """The first kind of doubt whose signs are there; None where the top folders may be classes.

    `answered`: that the top folders are classes has been said, only masks among the images are looked for.
    """
    kinds = (_masks_beside, _parts_in_classes, _mask_files) if answered else _KINDS
    return next((found for kind in kinds if (found := kind(here)) is not None), None)


def _splits_and_others(here: Folder) -> Doubt | None:
    """train, test and unlabeled; train, test and ground_truth; the whole data set once more beside its splits."""
    filled = here.filled()
    splits = sorted((name for name in filled if is_split(name)), key=lambda name: SPLITS.index(name.casefold()))
    others = [name for name in filled if not is_split(name)]
    if not others or not splits:
        return None
    divided = any(len(filled[name].filled()) > 1 or _is_nested(name, filled[name]) for name in splits)
    if len(splits) < 2 and not (divided and not _same_circumstances(here)):
        return None
    masks = [name for name in others if _is_mask(name, filled)]
    what = f"masks or annotations ({listed(masks)})" if masks else listed([shown(each) for each in others])
    return Doubt(f"has the splits {listed(splits)} beside {what}", splits)


def _is_nested(name: str, folder: Folder) -> bool:
    return not folder.images and bool(folder.filled())


def _split_names(here: Folder) -> Doubt | None:
    """seg_train and seg_test; train_images and test_images; train2017 and val2017."""
    alike: dict[str, dict[str, str]] = {}
    for name in here.filled():
        if (word := split_word(name)) is not None:
            alike.setdefault(word[1], {}).setdefault(word[0], name)
    for by_split in alike.values():
        if len(by_split) > 1:
            parts = [by_split[word] for word in SPLITS if word in by_split]
            return Doubt(f"has folders named as the parts of a data set ({listed(parts)})", parts)
    return None


def _masks_beside(here: Folder) -> Doubt | None:
    """images and annotations; train and train_masks; JPEGImages and SegmentationClass."""
    filled = here.filled()
    masks = [name for name in filled if _is_mask(name, filled)]
    others = sorted((name for name in filled if name not in masks), key=lambda name: not is_nameless(name))
    if not masks or not (others or here.images):
        return None
    count = sum(filled[name].total for name in masks)
    what = f"{listed(masks)} ({counted(count, 'image')})"
    return Doubt(f"has masks or annotations beside its images, by their names: {what}", others, masks=True)


def _parts_in_classes(here: Folder) -> Doubt | None:
    """CLASS/train and CLASS/test; OBJECT/train, OBJECT/test and OBJECT/ground_truth; CLASS/images and CLASS/masks."""
    filled = here.filled()
    if len(filled) < 2:
        return None
    seen = {name: _seen_through(name, folder)[1] for name, folder in filled.items()}
    divided = {
        name: [part for part in folder.filled() if is_split(part)]
        for name, folder in seen.items()
        if sum(map(is_split, folder.filled())) > 1
    }
    masked = {
        name: masks
        for name, folder in seen.items()
        if len(inner := folder.filled()) + bool(folder.images) > 1
        and (masks := [part for part in inner if _is_mask(part, inner)])
    }
    if not divided and not masked:
        return None
    example = next(iter(divided or masked))
    inner = seen[example].filled()
    names = listed([f"{shown(example)}/{shown(part)}" for part in inner])
    kind = "splits" if divided else "masks or annotations"
    parts = [part for part in inner if part not in masked.get(example, ())]
    found = f"has {kind} inside its folders ({names})"
    everywhere = [part for part in parts if len(within_classes(here, part)) == len(filled)]
    if everywhere:
        return Doubt(
            found,
            sorted(everywhere, key=lambda part: SPLITS.index(part.casefold()) if is_split(part) else 99),
            inside=True,
        )
    return Doubt(found, list(divided), masks=not divided)


def _same_below(here: Folder) -> Doubt | None:
    """color, grayscale and segmented, each with all classes; domains, each with all classes."""
    filled = {name: _seen_through(name, folder)[1] for name, folder in here.filled().items()}
    counts = Counter(part for folder in filled.values() for part in folder.filled())
    common = sorted(part for part, count in counts.items() if count > 1 and count * 2 > len(filled))
    if len(common) < 2 or _same_circumstances(here):
        return None
    repeats = [name for name, folder in filled.items() if set(common) & folder.folders.keys()]
    names = listed([shown(name) for name in repeats])
    return Doubt(
        f"has {names} with the same folders in each ({listed([shown(each) for each in common], 3)})", repeats
    )


def _same_circumstances(here: Folder) -> bool:
    """Whether what several top folders have in common are years, cameras and the like, as below classes."""
    counts = Counter(part for folder in here.filled().values() for part in folder.filled())
    common = [part for part, count in counts.items() if count > 1]
    return bool(common) and all(_CIRCUMSTANCE.fullmatch(part.casefold()) for part in common)


def _once_more_below(here: Folder) -> Doubt | None:
    """yes, no and a folder that holds yes and no once more."""
    filled = here.filled()
    for name, folder in filled.items():
        _, inside = _seen_through(name, folder)
        common = [part for part in inside.filled() if part in filled and part != name]
        if len(common) > 1:
            return Doubt(
                f"has {listed([shown(each) for each in common])} twice: at the top and in {shown(name)}", [name]
            )
    return None


def _contains_itself(here: Folder) -> Doubt | None:
    """A data set beside or inside a copy of itself: casting_data/casting_data/train and casting_512x512."""
    seen = {name: _seen_through(name, folder)[1].filled() for name, folder in here.filled().items()}
    divided = [name for name, inner in seen.items() if sum(map(is_split, inner)) > 1]
    if len(divided) == 1:
        for name in divided:
            others = [each for each in here.filled() if each != name]
            beside = f" beside {listed([shown(each) for each in others])}" if others else ""
            return Doubt(f"has a data set of its own in {shown(name)} ({listed(list(seen[name]))}){beside}", [name])
    return None


def _numbered_parts(here: Folder) -> Doubt | None:
    """part_1 and part_2; images_001 to images_012; fold1 to fold5."""
    stems = {re.sub(r"[\W_]*(\d+|[a-f])$", "", name.casefold()) for name in here.filled()}
    words = _words(next(iter(stems))) if len(stems) == 1 else []
    if len(here.filled()) < 2 or not words or words[-1] not in _PARTS:
        return None
    names = list(here.filled())
    return Doubt(f"has folders that are numbered parts by their names ({listed(names)})", names)


def _nameless_beside(here: Folder) -> Doubt | None:
    """images and something else with images."""
    nameless = [name for name in here.filled() if set(_words(name)) & _SURELY and is_nameless(name)]
    if not nameless or len(here.filled()) < 2:
        return None
    return Doubt(f"has a folder whose name is no class ({listed(nameless)}) beside others with images", nameless)


def _around_beside_loose(here: Folder) -> Doubt | None:
    """One folder that holds the class folders, and images beside it: photos/cat, photos/dog and preview.png."""
    filled = here.filled()
    if len(filled) != 1 or not here.images:
        return None
    ((name, folder),) = filled.items()
    if len(folder.filled()) < 2 or folder.images:
        return None
    what = (
        f"one folder, {shown(name)}, with folders of images in it, and {counted(len(here.images), 'image')} beside it"
    )
    return Doubt(f"has {what}", [name])


def _mask_files(here: Folder) -> Doubt | None:
    """benign/a.png and benign/a_mask.png."""
    for name, folder in (*here.filled().items(), ("", here)):
        if not _MASK_WORD.search("\n".join(folder.images)):
            continue
        stems = {image.rsplit(".", 1)[0] for image in folder.images}
        masks = [
            image
            for image in folder.images
            if (match := _MASK_FILE.fullmatch(image.rsplit(".", 1)[0].casefold()))
            and any(image.startswith(stem) for stem in (image[: match.end(1)],) if stem in stems)
        ]
        if masks:
            where = f"{shown(name)}/" if name else ""
            found = f"has masks among its images, by their names: {where}{shown(masks[0])}"
            return Doubt(f"{found} and {len(masks) - 1:,} more" if len(masks) > 1 else found, [], masks=True)
    return None


_KINDS: tuple[Callable[[Folder], Doubt | None], ...] = (
    _splits_and_others,
    _split_names,
    _masks_beside,
    _once_more_below,
    _contains_itself,
    _parts_in_classes,
    _same_below,
    _numbered_parts,
    _nameless_beside,
    _around_beside_loose,
    _mask_files,
)
