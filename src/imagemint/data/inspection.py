"""What there is to see in a pack before training: counts, brightness, duplicates, and what will hurt, in words.

A pack is read through a few times, in bounded memory. Near duplicates are looked for among at most `MOST_COMPARED`
images, drawn at random where there are more, since every image is compared with every other one.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np

from imagemint import seeds
from imagemint.data.duplicates import exact_groups, near_groups
from imagemint.data.pack import UNLABELLED, Pack, open_pack
from imagemint.images import GRAY_WEIGHTS
from imagemint.progress import progress
from imagemint.words import counted, listed, shortened

SHOWN_CLASSES = 40  # classes shown one by one: the largest and the smallest when there are more
SHOWN_IMAGES = 12  # of each class
MOST_COMPARED = 20_000  # images; the time grows with the square of their number
_LEVEL_SAMPLE = 2_000  # images whose levels are counted

# Issue threads of GAN trainers report collapse or plain copies below about this many images per class, and a study of
# rare classes finds that minted images hurt below a boundary between 20 and 50 (arXiv 2603.16134).
FEW_IMAGES = 20
# Our choice: beyond it, fewer than one image in six of a batch is of the smaller class even where there are only two.
IMBALANCE = 5
# Our choice: a random split then puts copies on both sides often enough to be seen in an accuracy.
NEAR_DUPLICATES = 0.01
# Our choice: photographs have nearly all 256 levels and some pixel near white; 12 bits in a 16-bit file leave 17.
FEW_LEVELS, DARK = 32, 64

UNNAMED = "without a label"


@dataclass(frozen=True, eq=False)
class ClassSummary:
    """One class, or the images without a label (label -1)."""

    label: int
    name: str
    images: int
    brightness: float  # mean over its images, 0..255; NaN without images
    shown: np.ndarray  # int64: indices of up to SHOWN_IMAGES images, spread over the class


@dataclass(frozen=True, eq=False)
class Duplicates:
    """Images that are, or nearly are, an earlier one."""

    groups: list[list[int]]  # near duplicates of their first image: groups of several labels first, then large ones
    exact: int  # images with the same pixels as an earlier one
    compared: int  # images among which near duplicates were looked for; exact ones are found among all

    @property
    def repeated(self) -> int:
        """Images that nearly are an earlier one, exact copies included."""
        return sum(len(group) - 1 for group in self.groups)


@dataclass(frozen=True, eq=False)
class Inspection:
    """What there is to see in a pack."""

    pack: Pack
    classes: list[ClassSummary]  # in label order, then the unlabelled images if there are any
    brightness: np.ndarray  # float64 [n]: mean of each image, 0..255
    highest: np.ndarray  # uint8 [n]: the highest level of each image
    flat: np.ndarray  # int64: indices of the images of one colour
    levels: np.ndarray  # uint8: the levels that occur, rising; in at most _LEVEL_SAMPLE images spread over the pack
    duplicates: Duplicates

    @cached_property
    def warnings(self) -> list[tuple[str, str]]:
        """What hurts training: what there is; why it hurts and what to do. Empty when all is well."""
        return [found for rule in RULES if (found := rule(self))]

    @property
    def labelled(self) -> list[ClassSummary]:
        """The classes, smallest first; without the unlabelled images."""
        return sorted((each for each in self.classes if each.label != UNLABELLED), key=lambda each: each.images)

    def histogram(self) -> np.ndarray:
        """Images by their brightness: float64 `[32]`, from black to white."""
        return np.histogram(self.brightness, bins=32, range=(0, 255))[0].astype(np.float64)

    def name_of(self, index: int) -> str:
        """The class name of an image."""
        label = int(self.pack.labels[index])
        return self.pack.classes[label] if label != UNLABELLED else UNNAMED

    def shown_classes(self) -> tuple[list[ClassSummary], list[ClassSummary]]:
        """(shown one by one, left out): all in label order, or the largest and the smallest by size."""
        if len(self.classes) <= SHOWN_CLASSES:
            return self.classes, []
        by_size = sorted(self.classes, key=lambda each: -each.images)
        half = SHOWN_CLASSES // 2
        return by_size[:half] + by_size[-half:], by_size[half:-half]


def inspect(pack: Pack | Path | str) -> Inspection:
    """Read a pack through and gather what there is to see."""
    pack = open_pack(pack)
    brightness, highest, flat = _light(pack)
    labels = np.asarray(pack.labels)
    classes = []
    for label, name in [*enumerate(pack.classes), (UNLABELLED, UNNAMED)]:
        members = np.flatnonzero(labels == label)
        if label == UNLABELLED and not len(members):
            continue
        mean = float(brightness[members].mean()) if len(members) else float("nan")
        classes.append(ClassSummary(label, name, len(members), mean, _spread(members, label)))
    return Inspection(pack, classes, brightness, highest, flat, _levels(pack), _duplicates(pack))


def warnings(pack: Pack | Path | str) -> list[str]:
    """What hurts training on this pack, a line each: what it is, why it hurts, what to do. Empty when all is well."""
    return [f"{what}: {advice}" for what, advice in inspect(pack).warnings]


# --- what is gathered ---


def _light(pack: Pack) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """(mean luma of each image, its highest level, indices of the images of one colour)."""
    weights = np.array(GRAY_WEIGHTS) / sum(GRAY_WEIGHTS) if pack.channels == 3 else np.ones(1)
    means, highest, flat = [], [], []
    with progress(len(pack), "brightness") as advance:
        for block in pack.blocks():
            pixels = pack.read(block).reshape(len(block), pack.channels, -1)
            means.append(pixels.mean(axis=2) @ weights)
            high = pixels.max(axis=2)
            highest.append(high.max(axis=1))
            flat.append(block[(high == pixels.min(axis=2)).all(axis=1)])
            advance(len(block))
    return np.concatenate(means), np.concatenate(highest), np.concatenate(flat)


def _levels(pack: Pack) -> np.ndarray:
    rows = np.unique(np.linspace(0, len(pack) - 1, min(len(pack), _LEVEL_SAMPLE)).astype(np.int64))
    there = np.zeros(256, bool)
    for block in pack.blocks(rows):
        there[np.unique(pack.read(block))] = True
    return np.flatnonzero(there).astype(np.uint8)


def _spread(members: np.ndarray, label: int) -> np.ndarray:
    """Up to SHOWN_IMAGES of a class: one drawn from each of as many equal parts, so that all of it is seen."""
    parts = np.array_split(members, min(SHOWN_IMAGES, len(members))) if len(members) else []
    draw = seeds.rng(0, "show", label + 1)
    return np.array([draw.choice(part) for part in parts], np.int64)


def _duplicates(pack: Pack) -> Duplicates:
    exact = exact_groups(pack)
    among = np.arange(len(pack))
    if len(pack) > MOST_COMPARED:
        among = np.sort(seeds.rng(0, "show duplicates", 0).choice(len(pack), MOST_COMPARED, replace=False))
    first = near_groups(pack, exact=exact, among=among).first
    order = np.argsort(first, kind="stable")
    parts = np.split(order, np.flatnonzero(np.diff(first[order])) + 1)
    groups = [part.tolist() for part in parts if len(part) > 1]
    groups.sort(key=lambda group: (len(_labels_of(pack, group)) < 2, -len(group), group[0]))
    return Duplicates(groups, int((exact.first != np.arange(len(pack))).sum()), len(among))


def _labels_of(pack: Pack, group: list[int]) -> set[int]:
    """The labels of some images, those without one aside."""
    return set(pack.labels[group].tolist()) - {UNLABELLED}


# --- warnings: a rule is a function of an inspection; it gives what there is, and why it hurts and what to do ---

Warned = tuple[str, str] | None


def _no_image(found: Inspection) -> Warned:
    empty = [shortened(each.name) for each in found.labelled if not each.images]
    if not empty:
        return None
    what = f"{counted(len(empty), 'class has', 'classes have')} no image ({listed(empty)})"
    return what, "nothing can be learned about it; find its images, or use imagemint edit drop"


def _few_images(found: Inspection) -> Warned:
    few = [f"{shortened(each.name)}: {each.images}" for each in found.labelled if 0 < each.images < FEW_IMAGES]
    if not few:
        return None
    what = f"{counted(len(few), 'class has', 'classes have')} fewer than {FEW_IMAGES} images ({listed(few)})"
    return what, "a GAN learns so few by heart; add images, merge classes with imagemint edit rename, or drop them"


def _imbalance(found: Inspection) -> Warned:
    present = [each for each in found.labelled if each.images]
    if not present or present[-1].images <= IMBALANCE * present[0].images:
        return None
    most, least = present[-1], present[0]
    times = f"{most.images / least.images:.3g} times as many images as {shortened(least.name)}"
    what = f"{shortened(most.name)} has {times} ({most.images:,} and {least.images:,})"
    return what, "small classes are seen too rarely to be learned; imagemint edit balance evens them out"


def _unlabelled(found: Inspection) -> Warned:
    unlabelled = found.pack.unlabelled()
    if not unlabelled:
        return None
    what = _of_all(found, unlabelled, "has no label", "have no label")
    return what, "class-conditional training cannot use them; imagemint edit relabel names them"


def _repeats(found: Inspection) -> Warned:
    duplicates, total = found.duplicates, len(found.pack)
    # of a sample, pairs are found only where both images are in it
    near = (duplicates.repeated - duplicates.exact) * (total / duplicates.compared) ** 2
    if duplicates.exact + near <= NEAR_DUPLICATES * total:
        return None
    what = _of_all(found, duplicates.repeated, "nearly repeats another", "nearly repeat another")
    if duplicates.compared < total:
        what += f", as far as {duplicates.compared:,} images drawn at random tell"
    return what, "repeats are learned by heart and flatter a test; imagemint edit dedup --near drops them"


def _several_classes(found: Inspection) -> Warned:
    torn = [group for group in found.duplicates.groups if len(_labels_of(found.pack, group)) > 1]
    if not torn:
        return None
    what = counted(len(torn), "picture stands in several classes", "pictures stand in several classes")
    which = listed([str(index) for index in torn[0]])
    return what, f"at most one label of each is right (first: images {which}); look, and drop the others"


def _one_colour(found: Inspection) -> Warned:
    if not len(found.flat):
        return None
    what = _of_all(found, len(found.flat), "is of one colour", "are of one colour")
    return what, f"usually a fault of the source (first: image {found.flat[0]}); imagemint edit filter drops them"


def _dark(found: Inspection) -> Warned:
    high = int(np.percentile(found.highest, 99, method="higher"))
    if high >= DARK:
        return None
    what = f"the images are dark: 99 of 100 have no pixel above level {high} of 255"
    return what, _FROM_16_BITS


def _few_levels(found: Inspection) -> Warned:
    levels = len(found.levels)
    if levels >= FEW_LEVELS or len(found.flat) == len(found.pack):
        return None
    what = f"the images have {levels} of 256 levels ({found.levels[0]} to {found.levels[-1]})"
    return what, f"drawings and masks are like that; photographs have lost detail: {_FROM_16_BITS}"


_FROM_16_BITS = "usually 10 or 12 bits in 16-bit files, read as 16; imagemint pack --levels stretches them"


def _enlarged(found: Inspection) -> Warned:
    what = _enlargement(found.pack)
    return (what, "enlarged images are blurred, and a GAN learns the blur; choose a smaller size") if what else None


def _unreadable(found: Inspection) -> Warned:
    unreadable = [shortened(each.name) for each in found.pack.manifest.unreadable]
    if not unreadable:
        return None
    what = f"{counted(len(unreadable), 'file')} could not be read ({listed(unreadable)})"
    return what, "their images are missing; mend them and pack again, if they matter"


RULES: list[Callable[[Inspection], Warned]] = [
    _no_image,
    _few_images,
    _imbalance,
    _unlabelled,
    _repeats,
    _several_classes,
    _one_colour,
    _dark,
    _few_levels,
    _enlarged,
    _unreadable,
]


def _of_all(found: Inspection, count: int, one: str, many: str) -> str:
    return f"{count:,} of {counted(len(found.pack), 'image')} {one if count == 1 else many}"


def _enlargement(pack: Pack) -> str:
    """Which step of the history made images larger, as far as it tells; else empty.

    `pack` may record how many of its sources were smaller than the size asked for (`enlarged`); `resize` is compared
    with the last size that a step before it states.
    """
    side = 0
    for step in pack.manifest.history:
        given = step.parameters
        if count := given.get("enlarged"):
            return counted(
                int(count), "image was smaller than the size asked for", "images were smaller than asked for"
            )
        size = given.get("size", [given.get("height"), given.get("width")])
        longest = max(size if isinstance(size, list) and None not in size else [size if isinstance(size, int) else 0])
        if step.command == "edit resize" and 0 < side < longest:
            return f"images were enlarged from {side} to {longest} pixels"
        side = longest or side
    return ""
