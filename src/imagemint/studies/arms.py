"""The arms of a study: what a classifier learns from. A new arm is one function and one row of ARMS.

An arm's function gets the images that a budget and repeat has to teach with (`Sources`) and gives the images that the
classifier is trained on (`TrainingSet`). It never sees a test image.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal, NamedTuple

import numpy as np


class Images(NamedTuple):
    """Labelled images."""

    pixels: np.ndarray  # uint8 [n, c, h, w]
    labels: np.ndarray  # int64 [n], in 0..classes-1


@dataclass(frozen=True, eq=False)
class Sources:
    """What there is to teach with at one budget and repeat."""

    real: Images  # the labelled real images of the budget
    minted: Images | None  # what the recipe minted from them; None where the arm does not learn from it
    pack: Images | None  # the images of the pack that the arm names
    real_share: float  # of what is seen, where real images are mixed with others
    seed: int


@dataclass(frozen=True, eq=False)
class TrainingSet:
    """What a classifier is trained on. An image that stands there twice is seen twice as often."""

    pixels: np.ndarray  # uint8 [n, c, h, w]
    labels: np.ndarray  # int64 [n] in 0..classes-1; or float [n, classes], the probability of each class
    n_real: int  # different real images among them
    n_added: int  # different other images among them
    weights: np.ndarray | None = None  # float [n]: how much each image counts in the loss; None: all the same


def real(sources: Sources) -> TrainingSet:
    """The real images alone."""
    return TrainingSet(*sources.real, n_real=len(sources.real.labels), n_added=0)


def oversampled(sources: Sources) -> TrainingSet:
    """The real images; those of smaller classes are repeated until every class has as many as the largest."""
    labels = sources.real.labels
    counts = np.bincount(labels)
    members = [np.flatnonzero(labels == k) for k in np.flatnonzero(counts)]
    rows = np.sort(np.concatenate([np.resize(each, counts.max()) for each in members]))
    return TrainingSet(sources.real.pixels[rows], labels[rows], n_real=len(labels), n_added=0)


def weighted(sources: Sources) -> TrainingSet:
    """The real images; every class counts the same in the loss, however few images it has."""
    labels = sources.real.labels
    weights = 1 / np.bincount(labels)[labels]
    return TrainingSet(*sources.real, n_real=len(labels), n_added=0, weights=weights)


def minted(sources: Sources) -> TrainingSet:
    """The minted images alone."""
    assert sources.minted is not None
    return TrainingSet(*sources.minted, n_real=0, n_added=len(sources.minted.labels))


def real_and_minted(sources: Sources) -> TrainingSet:
    """Both, so that about `real_share` of what is seen is real."""
    assert sources.minted is not None
    return _mixed(sources.real, sources.minted, sources.real_share)


def real_and_pack(sources: Sources) -> TrainingSet:
    """The real images and those of another pack, so that about `real_share` of what is seen is real."""
    assert sources.pack is not None
    return _mixed(sources.real, sources.pack, sources.real_share)


def _mixed(real: Images, other: Images, real_share: float) -> TrainingSet:
    n_real, n_other = len(real.labels), len(other.labels)
    times = times_seen(n_real, n_other, real_share)
    pixels, labels = (np.concatenate(both).repeat(times, axis=0) for both in zip(real, other, strict=True))
    return TrainingSet(pixels, labels, n_real, n_other)


def times_seen(real: int, other: int, share: float) -> np.ndarray:
    """How often each image is seen, int64 `[real + other]`, so that about `share` of all is real.

    One of the two kinds is seen once; the other one a whole number of times.

    >>> times_seen(2, 6, 0.5).tolist()
    [3, 3, 1, 1, 1, 1, 1, 1]
    """
    wanted = share / (1 - share) * other / real  # copies of a real image for each other one
    return np.repeat([max(round(wanted), 1), max(round(1 / wanted), 1)], [real, other])


@dataclass(frozen=True, kw_only=True)
class Arm:
    """One side of a study."""

    about: str  # for the report
    images: Callable[[Sources], TrainingSet] | None  # None: nothing is learned
    learns_from: tuple[Literal["real", "minted", "pack"], ...]
    augment: Literal["none", "classic"] = "none"  # studies.cell.AUGMENTATIONS
    against: tuple[str, ...] = ()  # arms that it is compared with
    subject: str = ""  # how the answer begins, where the arm is the one that the report is about
    path: str = ""  # of the pack that the arm names

    @property
    def real(self) -> bool:
        """Whether it learns from the real images."""
        return "real" in self.learns_from

    @property
    def minted(self) -> bool:
        """Whether it learns from minted images, so that there must be a recipe."""
        return "minted" in self.learns_from


ARMS: dict[str, Arm] = {
    "floor": Arm(about="always the most frequent class", images=None, learns_from=()),
    "real": Arm(about="the real images of the budget", images=real, learns_from=("real",)),
    "minted": Arm(
        about="minted images alone",
        images=minted,
        learns_from=("minted",),
        against=("real",),
        subject="In place of the real images, minted images",
    ),
    "mix": Arm(
        about="real and minted images together",
        images=real_and_minted,
        learns_from=("real", "minted"),
        against=("real",),
        subject="Added to the real images, minted images",
    ),
    "classic": Arm(
        about="real images, shifted, rotated, sheared, zoomed and brightened or darkened at random",
        images=real,
        learns_from=("real",),
        augment="classic",
        against=("real",),
        subject="Ordinary augmentation",
    ),
    "minted+classic": Arm(
        about="minted images, augmented the same way",
        images=minted,
        learns_from=("minted",),
        augment="classic",
        against=("real",),
    ),
    "mix+classic": Arm(
        about="real and minted images together, augmented the same way",
        images=real_and_minted,
        learns_from=("real", "minted"),
        augment="classic",
        against=("classic", "real"),
        subject="On top of ordinary augmentation, minted images",
    ),
    "oversample": Arm(
        about="as classic, with images of smaller classes repeated until all classes are equal",
        images=oversampled,
        learns_from=("real",),
        augment="classic",
        against=("classic",),
        subject="Repeated images of the smaller classes",
    ),
    "class-weights": Arm(
        about="as classic, with every class counting the same in the loss",
        images=weighted,
        learns_from=("real",),
        augment="classic",
        against=("classic",),
        subject="Equal weights for all classes",
    ),
}
# The arms of a study that names none.
USUAL = ("floor", "real", "minted", "mix", "classic", "minted+classic", "mix+classic")


def _pack_arm(path: str) -> Arm:
    return Arm(
        about=f"the real images and those of {path} together, augmented as in classic",
        images=real_and_pack,
        learns_from=("real", "pack"),
        augment="classic",
        against=("classic",),
        subject=f"On top of ordinary augmentation, the images of {path}",
        path=path,
    )


FAMILIES: dict[str, Callable[[str], Arm]] = {"pack": _pack_arm}  # arms that take an argument: pack:PATH


def known(name: str) -> Arm | None:
    """The arm of this name; None where there is none.

    >>> known("pack:extra.pack").path, known("magic")
    ('extra.pack', None)
    """
    family, colon, argument = name.partition(":")
    if name in ARMS:
        return ARMS[name]
    return FAMILIES[family](argument) if colon and argument and family in FAMILIES else None


def find_arm(name: str) -> Arm:
    """The arm of a name that was checked before."""
    arm = known(name)
    assert arm is not None, name
    return arm


def in_order(names: Sequence[str]) -> tuple[str, ...]:
    """Arms, each once: those of ARMS in its order, then those with an argument as they come."""
    rows = list(ARMS)
    place = {name: rows.index(name) if name in ARMS else len(rows) for name in names}
    return tuple(sorted(place, key=lambda name: place[name]))


def comparisons(arms: Sequence[str]) -> list[tuple[str, str]]:
    """(arm, what it is compared with) for some arms. The first is the question that counts.

    Comparisons with `classic` come first: do other images beat what augmentation gives for free?
    """
    against = {name: find_arm(name).against for name in arms}
    return [(name, base) for base in ("classic", "real") for name in arms if base in against[name] and base in arms]
