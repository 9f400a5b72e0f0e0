"""A look at a pack before training: contact sheet, counts, brightness, duplicates, and what will hurt, in words.

The facts and their words are gathered here, once, in bounded memory; `show_html` and `show_png` only draw them.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from imagemint import files, images, seeds
from imagemint.data.duplicates import near_groups
from imagemint.data.pack import UNLABELLED, Pack, open_pack
from imagemint.errors import ImagemintError
from imagemint.progress import progress

SHOWN_CLASSES = 40  # classes drawn one by one: the largest and the smallest when there are more
SHOWN_IMAGES = 12  # of each class
SHOWN_GROUPS = 6  # of duplicates
SHOWN_LINES = 20  # of unreadable files
THUMBNAIL = 128  # pixels: larger images are reduced to it

# Issue threads of GAN trainers report collapse or plain copies below about this many images per class, and a study of
# rare classes finds that minted images hurt below a boundary between 20 and 50 (arXiv 2603.16134).
FEW_IMAGES = 20
# Our choice: beyond it, fewer than one image in six of a batch is of the smaller class even where there are only two.
IMBALANCE = 5
# Our choice: a random split then puts copies on both sides often enough to be seen in an accuracy.
NEAR_DUPLICATES = 0.01

UNNAMED = "without a label"
LUMA = np.array(images.GRAY_WEIGHTS)


@dataclass(frozen=True)
class ClassFacts:
    """One class, or the images without a label (label -1)."""

    label: int
    name: str
    images: int
    brightness: float  # mean over its images, 0..255; NaN without images
    shown: np.ndarray  # int64: indices of up to SHOWN_IMAGES images, spread over the class


@dataclass(frozen=True)
class Facts:
    """What there is to see in a pack."""

    pack: Pack
    classes: list[ClassFacts]  # in label order, then the unlabelled images if there are any
    brightness: np.ndarray  # float64 [n]: mean of each image, 0..255
    flat: np.ndarray  # int64: indices of the images of one colour
    duplicates: list[
        list[int]
    ]  # groups of images that nearly are their first one: of several labels first, then large
    exact: int  # how many of the images that nearly are an earlier one have just its pixels
    warnings: list[tuple[str, str]]  # what there is; why it hurts and what to do

    @property
    def repeated(self) -> int:
        """Images that nearly are an earlier one."""
        return sum(len(group) - 1 for group in self.duplicates)

    def histogram(self) -> np.ndarray:
        """Images by their brightness: float64 `[32]`, from black to white."""
        return np.histogram(self.brightness, bins=32, range=(0, 255))[0].astype(np.float64)

    def name_of(self, index: int) -> str:
        """The class name of an image."""
        label = int(self.pack.labels[index])
        return self.pack.classes[label] if label != UNLABELLED else UNNAMED

    def shown_classes(self) -> tuple[list[ClassFacts], list[ClassFacts]]:
        """(drawn one by one, left out): all in label order, or the largest and the smallest by size."""
        if len(self.classes) <= SHOWN_CLASSES:
            return self.classes, []
        by_size = sorted(self.classes, key=lambda each: -each.images)
        half = SHOWN_CLASSES // 2
        return by_size[:half] + by_size[-half:], by_size[half:-half]


def show(pack: Pack | Path | str, out: Path | str) -> Path:
    """Draw a pack as one self-contained page (`out` ends in .html) or picture (.png); gives `out`.

    Reads the pixels a few times over. Raises ImagemintError for another ending.
    """
    out = Path(out)
    if out.suffix.lower() not in (".html", ".png"):
        found = f"{out.name} as the name of the page"
        raise ImagemintError(found, "a name that ends in .html or .png", f"try --out {out.with_suffix('.html')}")
    facts = gather(open_pack(pack))
    out.parent.mkdir(parents=True, exist_ok=True)
    if out.suffix.lower() == ".html":
        from imagemint.data.show_html import page

        files.write_text(out, page(facts))
    else:
        from imagemint.data.show_png import sheet

        files.write_bytes(out, sheet(facts))
    return out


def warnings(pack: Pack | Path | str) -> list[str]:
    """What hurts training on this pack, a line each: what it is, why it hurts, what to do. Empty when all is well."""
    return [f"{what}: {advice}" for what, advice in gather(open_pack(pack)).warnings]


# --- facts ---


def gather(pack: Pack) -> Facts:
    """Read the pack through and gather what there is to see."""
    brightness, flat = _brightness(pack)
    labels = np.asarray(pack.labels)
    classes = []
    for label, name in [*enumerate(pack.classes), (UNLABELLED, UNNAMED)]:
        members = np.flatnonzero(labels == label)
        if label == UNLABELLED and not len(members):
            continue
        mean = float(brightness[members].mean()) if len(members) else float("nan")
        classes.append(ClassFacts(label, name, len(members), mean, _spread(members, label)))
    duplicates, exact = _duplicates(pack)
    warnings = _warnings(pack, classes, flat, duplicates)
    return Facts(pack, classes, brightness, flat, duplicates, exact, warnings)


def _brightness(pack: Pack) -> tuple[np.ndarray, np.ndarray]:
    """(mean luma of each image, indices of the images of one colour)."""
    weights = LUMA / LUMA.sum() if pack.channels == 3 else np.ones(1)
    means, flat = [], []
    with progress(len(pack), "brightness") as advance:
        for block in pack.blocks():
            pixels = pack.read(block)
            means.append(pixels.mean(axis=(2, 3)) @ weights)
            one_colour = (pixels.max(axis=(2, 3)) == pixels.min(axis=(2, 3))).all(axis=1)
            flat.append(block[one_colour])
            advance(len(block))
    return np.concatenate(means), np.concatenate(flat)


def _spread(members: np.ndarray, label: int) -> np.ndarray:
    """Up to SHOWN_IMAGES of a class: one drawn from each of as many equal parts, so that all of it is seen."""
    parts = np.array_split(members, min(SHOWN_IMAGES, len(members))) if len(members) else []
    draw = seeds.rng(0, "show", label + 1)
    return np.array([draw.choice(part) for part in parts], np.int64)


def _duplicates(pack: Pack) -> tuple[list[list[int]], int]:
    """(groups of near duplicates, how many images have the same pixels as an earlier one of their group)."""
    first = near_groups(pack).first
    order = np.argsort(first, kind="stable")
    parts = np.split(order, np.flatnonzero(np.diff(first[order])) + 1)
    groups = [part.tolist() for part in parts if len(part) > 1]
    groups.sort(key=lambda group: (len(_labels_of(pack, group)) < 2, -len(group), group[0]))
    return groups, sum(len(group) - _different(pack, np.array(group)) for group in groups)


def _different(pack: Pack, group: np.ndarray) -> int:
    """How many different images there are among some."""
    return len({hash(image.tobytes()) for block in pack.blocks(group) for image in pack.read(block)})


def _labels_of(pack: Pack, group: list[int]) -> set[int]:
    """The labels of some images, those without one aside."""
    return set(pack.labels[group].tolist()) - {UNLABELLED}


def _warnings(
    pack: Pack, classes: list[ClassFacts], flat: np.ndarray, duplicates: list[list[int]]
) -> list[tuple[str, str]]:
    lines = []
    labelled = sorted((each for each in classes if each.label != UNLABELLED), key=lambda each: each.images)
    empty = [plain(each.name) for each in labelled if not each.images]
    if empty:
        what = f"{_classes(len(empty))} no image ({_some(empty)})"
        lines.append((what, "nothing can be learnt of it; find its images, or use imagemint edit drop"))
    few = [f"{plain(each.name)}: {each.images}" for each in labelled if 0 < each.images < FEW_IMAGES]
    if few:
        what = f"{_classes(len(few))} fewer than {FEW_IMAGES} images ({_some(few)})"
        advice = "a GAN learns so few by heart; add images, merge classes with imagemint edit rename, or drop them"
        lines.append((what, advice))
    present = [each for each in labelled if each.images]
    if present and present[-1].images > IMBALANCE * present[0].images:
        most, least = present[-1], present[0]
        what = f"{plain(most.name)} has {most.images / least.images:.3g} times as many images as {plain(least.name)}"
        what += f" ({most.images:,} and {least.images:,})"
        lines.append((what, "small classes are seen too rarely to be learnt; imagemint edit balance evens them out"))
    unlabelled = pack.unlabelled()
    if unlabelled:
        what = _images(unlabelled, len(pack), "have no label", "has no label")
        lines.append((what, "class-conditional training cannot use them; imagemint edit relabel names them"))
    repeated = sum(len(group) - 1 for group in duplicates)
    if repeated > NEAR_DUPLICATES * len(pack):
        what = _images(repeated, len(pack), "nearly repeat another", "nearly repeats another")
        advice = "repeats are learnt by heart and flatter a test; imagemint edit dedup --near drops them"
        lines.append((what, advice))
    torn = [group for group in duplicates if len(_labels_of(pack, group)) > 1]
    if torn:
        what = counted(len(torn), "picture stands in several classes", "pictures stand in several classes")
        which = _some([str(index) for index in torn[0]])
        lines.append((what, f"at most one label of each is right (first: images {which}); look, and drop the others"))
    if len(flat):
        what = _images(len(flat), len(pack), "are of one colour", "is of one colour")
        advice = f"usually a fault of the source (first: image {flat[0]}); imagemint edit filter drops them"
        lines.append((what, advice))
    enlarged = _enlarged(pack)
    if enlarged:
        lines.append((enlarged, "enlarged images are blurred, and a GAN learns the blur; choose a smaller size"))
    unreadable = [plain(each.name) for each in pack.manifest.unreadable]
    if unreadable:
        what = f"{counted(len(unreadable), 'file')} could not be read ({_some(unreadable)})"
        lines.append((what, "their images are missing; mend them and pack again, if they matter"))
    return lines


def _enlarged(pack: Pack) -> str:
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


# --- pictures ---


def thumbnail(pack: Pack, index: int) -> Image.Image:
    """One image, reduced when its longer side is over THUMBNAIL."""
    picture = images.to_pil(pack.pixels[index])
    if max(picture.size) > THUMBNAIL:
        picture.thumbnail((THUMBNAIL, THUMBNAIL), Image.Resampling.LANCZOS)
    return picture


def enlargement(pack: Pack, side: int) -> int:
    """How many times an image goes into `side` pixels, at least once: a digit of 8 x 8 must be seen."""
    return max(1, side // max(pack.size))


# --- words ---


def headline(facts: Facts) -> str:
    """The pack in one line."""
    pack = facts.pack
    height, width = pack.size
    colour = "gray" if pack.channels == 1 else "in colour"
    classes = f"of {counted(len(pack.classes), 'class', 'classes')}" if pack.classes else "without classes"
    what = f"{counted(len(pack), 'image')} {classes}, {height} × {width} pixels, {colour}"
    return f"{what}; origin: {pack.manifest.origin}."


def tiles(facts: Facts) -> list[tuple[str, str]]:
    """The numbers of the pack: what, value."""
    pack = facts.pack
    height, width = pack.size
    counts = list(pack.counts().values()) or [0]
    megabytes = pack.pixels.nbytes / 1e6
    return [
        ("images", f"{len(pack):,}"),
        ("classes", f"{len(pack.classes):,}"),
        ("gray pixels" if pack.channels == 1 else "RGB pixels", f"{height} × {width}"),
        ("largest class", f"{max(counts):,}"),
        ("smallest class", f"{min(counts):,}"),
        ("unlabelled", f"{pack.unlabelled():,}"),
        ("repeated", f"{facts.repeated:,}"),
        ("on disk", f"{megabytes:,.1f} MB" if megabytes < 100 else f"{megabytes / 1000:,.1f} GB"),
    ]


def size_of(each: ClassFacts) -> str:
    """`label 3 · 178 images`."""
    label = "" if each.label == UNLABELLED else f"label {each.label} · "
    return label + counted(each.images, "image")


def left_out_of(facts: Facts) -> str:
    """Which classes are drawn, where not all are."""
    _, left_out = facts.shown_classes()
    if not left_out:
        return ""
    half, low, high = SHOWN_CLASSES // 2, left_out[-1].images, left_out[0].images
    each = f"{low:,} to {high:,} images each" if low < high else f"{counted(low, 'image')} each"
    return f"The {half} largest and the {half} smallest classes, and {len(left_out):,} more between them ({each})."


def sizes_of(facts: Facts) -> str:
    """The sizes of the source images in words."""
    sides, (h, w) = facts.pack.manifest.source_sides, facts.pack.size
    total = sum(count for _, _, count in sides)
    if len(sides) == 1 and sides[0][0] == sides[0][1]:
        return f"The shorter side of all {total:,} images was {sides[0][0]} pixels before they became {h} × {w}."
    return f"Shorter sides of the {total:,} images before they became {h} × {w}."


def light_of(facts: Facts) -> str:
    """The brightness in words."""
    median = np.median(facts.brightness)
    words = (
        f"Mean brightness of each image, from 0 (black) to 255 (white); half of the images are below {median:.0f}."
    )
    present = sorted((each for each in facts.classes if each.images), key=lambda each: each.brightness)
    if len(present) < 2:
        return words
    dark, light = (f"{plain(each.name)} ({each.brightness:.0f})" for each in (present[0], present[-1]))
    return f"{words} The darkest class on average is {dark}, the lightest {light}."


def repeats(facts: Facts) -> str:
    """The duplicates in one line."""
    if not facts.duplicates:
        return "No image nearly repeats another."
    what = counted(facts.repeated, "image nearly repeats another", "images nearly repeat another")
    groups, left = len(facts.duplicates), len(facts.duplicates) - SHOWN_GROUPS
    more = f": {SHOWN_GROUPS} here, and {left:,} more" if left > 0 else ""
    return f"{what} ({facts.exact:,} of them with the same pixels), in {counted(groups, 'group')}{more}."


def steps(facts: Facts) -> list[tuple[str, list[tuple[str, str]], list[str]]]:
    """The history: command, parameters (name, value), fingerprints of the parents (shortened)."""
    return [
        (
            plain(step.command),
            [(plain(key), plain(_value(value), 120)) for key, value in step.parameters.items() if value is not None],
            [plain(parent[:12]) for parent in step.parents],
        )
        for step in facts.pack.manifest.history
    ]


def mintings(facts: Facts) -> list[str]:
    """Each minting in one line."""
    return [
        f"recipe {plain(each.recipe)}, seed {each.seed}, after {each.images_seen:,} images, "
        f"run {plain(each.run, 120)}, weights {plain(each.checkpoint[:12])}"
        for each in facts.pack.manifest.mintings
    ]


def plain(name: str, longest: int = 60) -> str:
    """A name from outside as one line of printable text, cut near its end when it is long."""
    text = " ".join("".join(letter if letter.isprintable() else " " for letter in name).split()) or "(no name)"
    return text if len(text) <= longest else f"{text[: longest - 18]} … {text[-15:]}"


def counted(count: int, thing: str, things: str | None = None) -> str:
    """`1 image`, `2,000 images`."""
    return f"{count:,} {thing if count == 1 else things or thing + 's'}"


def _classes(count: int) -> str:
    return counted(count, "class has", "classes have")


def _images(count: int, of: int, many: str, one: str) -> str:
    return f"{count:,} of {counted(of, 'image')} {one if count == 1 else many}"


def _some(names: list[str], most: int = 5) -> str:
    more = len(names) - most
    return ", ".join(names[:most]) + (f" and {more:,} more" if more > 0 else "")


def _value(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
