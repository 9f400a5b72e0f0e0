"""The arms of a study: what a classifier learns from. A new arm is one function and one row of ARMS.

An arm's function gets the images that a budget and repeat has to teach with (`Sources`) and gives the images that the
classifier is trained on (`TrainingSet`). What is minted for it is the row's `minting`. It never sees a test image.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache
from typing import Literal, NamedTuple

import numpy as np

from imagemint import seeds

Source = Literal["real", "minted", "pack"]
RARE = 0.5  # classes with fewer than this share of the largest class's images are rare, where none are named
UNEQUAL = 2.0  # classes are unequal where the largest has at least so many times the images of the smallest
NEAR_BOUNDARY = 0.5  # share of the minted images of each class that arm `boundary` keeps; our choice
MOST_MINTED = 1000.0  # times the real images
_NUMBER = re.compile(r"[0-9]{1,4}(\.[0-9]{1,3})?")
OTHERS = "*"  # in shares of real images per class: every class that is not named


class Images(NamedTuple):
    """Labelled images."""

    pixels: np.ndarray  # uint8 [n, c, h, w]
    labels: np.ndarray  # int64 [n], in 0..classes-1


@dataclass(frozen=True, eq=False)
class Sources:
    """What there is to teach with at one budget and repeat."""

    real: Images  # the labelled real images of the budget
    minted: Images | None  # what was minted for the arm from them; None where the arm does not learn from it
    pack: Images | None  # the images of the pack that the arm names
    classes: Sequence[str]
    real_share: float  # of what is seen, where real images are mixed with others; at the start where it rises
    shares: Mapping[str, float]  # of the real images of each class, 0 to 1, for arm `class-shares`
    seed: int
    teacher: Callable[[np.ndarray], np.ndarray]  # uint8 [n, c, h, w] -> probabilities [n, classes]; learned `real`
    rising: bool = False  # whether the share of real images rises to 1 over the training


@dataclass(frozen=True, eq=False)
class TrainingSet:
    """What a classifier is trained on. An image that stands there twice is seen twice as often."""

    pixels: np.ndarray  # uint8 [n, c, h, w]
    labels: np.ndarray  # int64 [n], in 0..classes-1; or float [n, classes], each row a distribution
    n_real: int  # different real images among them
    n_added: int  # different other images among them
    weights: np.ndarray | None = None  # float [n]: how much each image counts in the loss; None: all the same
    rising: float | None = None  # share of the first `n_real` images at the start, rising to 1; None: all are equal
    unlabelled: np.ndarray | None = None  # uint8 [m, c, h, w]: to be named alike in two views, see `Agreement`


# --- what an arm's classifier is trained on ---------------------------------------------------------------------


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
    return _mixed_as_asked(sources, sources.minted)


def together(sources: Sources) -> TrainingSet:
    """Real and minted images, each seen equally often."""
    assert sources.minted is not None
    pixels, labels = (np.concatenate(both) for both in zip(sources.real, sources.minted, strict=True))
    return TrainingSet(pixels, labels, len(sources.real.labels), len(sources.minted.labels))


def real_and_noisy(sources: Sources) -> TrainingSet:
    """Real images, and minted ones under normal noise of each pixel (a wish of Baker 2018)."""
    from imagemint.augment import NOISE  # not above: the command line lists arms, and must not wait for torch

    assert sources.minted is not None
    pixels, labels = sources.minted
    noise = seeds.rng(sources.seed, "noisy arm").normal(0, NOISE, pixels.shape)
    noisy = Images((pixels + noise).round().clip(0, 255).astype(np.uint8), labels)
    return _mixed_as_asked(sources, noisy)


def real_and_pack(sources: Sources) -> TrainingSet:
    """The real images and those of another pack, so that about `real_share` of what is seen is real."""
    assert sources.pack is not None
    return _mixed_as_asked(sources, sources.pack)


def softened(sources: Sources) -> TrainingSet:
    """Real images, and minted ones with the probabilities that a teacher of the real images gives them."""
    assert sources.minted is not None
    certain = Images(sources.real.pixels, np.eye(len(sources.classes))[sources.real.labels])
    soft = Images(sources.minted.pixels, sources.teacher(sources.minted.pixels))
    return _mixed(certain, soft, sources.real_share, rising=sources.rising)


def distilled(sources: Sources) -> TrainingSet:
    """The real images, with the teacher's probabilities as labels."""
    pixels = sources.real.pixels
    return TrainingSet(pixels, sources.teacher(pixels), n_real=len(pixels), n_added=0)


def agreeing(sources: Sources) -> TrainingSet:
    """The real images, and the minted ones without their labels."""
    assert sources.minted is not None
    minted = sources.minted.pixels
    unlabelled = minted if len(minted) else None
    return TrainingSet(*sources.real, n_real=len(sources.real.labels), n_added=len(minted), unlabelled=unlabelled)


def agreeing_real(sources: Sources) -> TrainingSet:
    """The real images, once with and once without their labels."""
    return replace(real(sources), unlabelled=sources.real.pixels)


def near_boundary(sources: Sources) -> TrainingSet:
    """Real images, and of the minted ones of each class the half of which a teacher of the real ones is least sure.

    By the margin between the class that was asked for and the most probable other one, whichever is larger.
    """
    assert sources.minted is not None
    pixels, labels = sources.minted
    if not len(labels):
        return _mixed_as_asked(sources, sources.minted)
    found = np.array(sources.teacher(pixels), np.float64)
    rows = np.arange(len(labels))
    asked = found[rows, labels]
    found[rows, labels] = 0
    margin = np.abs(asked - found.max(1))
    kept = []
    for label in np.unique(labels):
        members = np.flatnonzero(labels == label)
        nearest = members[np.argsort(margin[members], kind="stable")]
        kept.append(nearest[: kept_of(len(members), NEAR_BOUNDARY)])
    chosen = np.sort(np.concatenate(kept))
    return _mixed_as_asked(sources, Images(pixels[chosen], labels[chosen]))


def replaced(shares: Callable[[Sources], Mapping[str, float]]) -> Callable[[Sources], TrainingSet]:
    """A share of the real images of each class, and minted ones in place of the others: the total stays the same."""

    def images(sources: Sources) -> TrainingSet:
        labels, kept = sources.real.labels, []
        for label, name in enumerate(sources.classes):
            members = seeds.rng(sources.seed, "share arm", label).permutation(np.flatnonzero(labels == label))
            kept.append(members[: kept_of(len(members), share_of(shares(sources), name))])
        rows = np.sort(np.concatenate(kept))
        return together(replace(sources, real=Images(sources.real.pixels[rows], labels[rows])))

    return images


def _mixed_as_asked(sources: Sources, other: Images) -> TrainingSet:
    return _mixed(sources.real, other, sources.real_share, rising=sources.rising)


def _mixed(real: Images, other: Images, real_share: float, *, rising: bool) -> TrainingSet:
    n_real, n_other = len(real.labels), len(other.labels)
    if rising and n_other:
        pixels, labels = (np.concatenate(both) for both in zip(real, other, strict=True))
        return TrainingSet(pixels, labels, n_real, n_other, rising=real_share)
    times = times_seen(n_real, n_other, real_share) if n_other else np.ones(n_real, np.int64)
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


def share_of(shares: Mapping[str, float], name: str) -> float:
    """The share of a class, 0 to 1: its own, that of all others, or everything."""
    return shares.get(name, shares.get(OTHERS, 1.0))


def kept_of(images: int, share: float) -> int:
    """How many of so many real images a share keeps; one at least.

    >>> kept_of(50, 0.1), kept_of(3, 0.1), kept_of(0, 0.5)
    (5, 1, 0)
    """
    return min(images, max(round(share * images), 1))


# --- what is minted for an arm ----------------------------------------------------------------------------------


class Need(NamedTuple):
    """What the number of minted images may depend on."""

    real: dict[str, int]  # real images of the budget, by class
    per_class: int | None  # images to mint per class, where the plan says it
    rare: Sequence[str]  # classes that the plan names as rare
    shares: Mapping[str, float]  # as in Sources


def as_many(need: Need) -> dict[str, int]:
    """As many of each class as there are real ones, or as the plan says."""
    return {name: count if need.per_class is None else need.per_class for name, count in need.real.items()}


def filling(need: Need) -> dict[str, int]:
    """What each class lacks of the largest."""
    largest = max(need.real.values())
    return {name: largest - count for name, count in need.real.items()}


def for_rare(need: Need) -> dict[str, int]:
    """What the rare classes lack of the largest, or as many as the plan says; none of the others."""
    rare = set(need.rare or rare_classes(need.real))
    return {name: (need.per_class or count) if name in rare else 0 for name, count in filling(need).items()}


def rare_classes(counts: Mapping[str, int]) -> list[str]:
    """Classes with fewer than half of the images of the largest.

    >>> rare_classes({"a": 10, "b": 4, "c": 5})
    ['b']
    """
    return [name for name, count in counts.items() if count < RARE * max(counts.values())]


def unequal(counts: Sequence[int]) -> bool:
    """Whether the largest class has at least twice the images of the smallest.

    >>> unequal([10, 5]), unequal([10, 6])
    (True, False)
    """
    return max(counts) >= UNEQUAL * min(counts)


def times_as_many(ratio: float) -> Callable[[Need], dict[str, int]]:
    """`ratio` times as many of each class as there are real ones."""
    return lambda need: {name: max(round(ratio * count), 1) for name, count in need.real.items()}


def missing(shares: Callable[[Need], Mapping[str, float]]) -> Callable[[Need], dict[str, int]]:
    """What stands in for the real images that a share leaves out."""
    return lambda need: {
        name: count - kept_of(count, share_of(shares(need), name)) for name, count in need.real.items()
    }


@dataclass(frozen=True, kw_only=True)
class Minting:
    """What is minted for an arm; arms with the same one share the images."""

    name: str = ""  # of its folder, after budget and repeat
    recipe: str = ""  # in place of the study's
    counts: Callable[[Need], dict[str, int]] = as_many
    keep: float | None = None  # share of the drawn images that a classifier of the real ones is surest of
    density_ratio: float | None = None  # share of the drawn images that the GAN's discriminator keeps


USUALLY = Minting()


# --- the table --------------------------------------------------------------------------------------------------


@dataclass(frozen=True, kw_only=True)
class Arm:
    """One side of a study."""

    about: str  # for the report
    images: Callable[[Sources], TrainingSet] | None  # None: nothing is learned
    learns_from: tuple[Source, ...]
    augment: str = "none"  # or a row of augment.AUGMENTATIONS
    against: tuple[str, ...] = ()  # arms that it is compared with
    subject: str = ""  # how the answer begins, where the arm is the one that the report is about
    path: str = ""  # of the pack that the arm names
    minting: Minting | None = None  # None: it learns from no minted images
    discriminator: Literal["", "as it is", "as a start"] = ""  # of the study's GAN: whether it is the classifier
    free: bool = False  # whether it is a rival that needs the real images alone: one of them is the yardstick

    @property
    def real(self) -> bool:
        """Whether it learns from the real images."""
        return "real" in self.learns_from

    @property
    def minted(self) -> bool:
        """Whether it learns from minted images."""
        return "minted" in self.learns_from

    @property
    def added(self) -> bool:
        """Whether it learns from images beside the real ones of the budget."""
        return self.minted or "pack" in self.learns_from


def needs_recipe(arm: Arm) -> bool:
    """Whether a study must name a recipe for it."""
    return bool(arm.discriminator) or (arm.minting is not None and not arm.minting.recipe)


LEADING = ("mix+strong+classmix", "mix+strong")  # what a report is about where none is on top of a chosen free arm
FILLED_UP = ("balanced", "minted-rare")  # what a report is about where weights or repeated images were chosen
FREE = "best free arm"  # what the first comparison is against: the row of ARMS that is chosen on training images
BOTH: tuple[Source, ...] = ("real", "minted")
FAIR = (FREE, "classic", "real")


def _augmented(about: str, ranges: str) -> Arm:
    return Arm(about=about, images=real, learns_from=("real",), augment=ranges, against=("classic",), free=True)


def _mix(about: str, minting: Minting = USUALLY, **changes: object) -> Arm:
    """Real and minted images, augmented as in `classic`."""
    arm = Arm(about=about, images=real_and_minted, learns_from=BOTH, augment="classic", against=FAIR, minting=minting)
    return replace(arm, **changes)  # type: ignore[arg-type]


ARMS: dict[str, Arm] = {
    "floor": Arm(about="always the most frequent class", images=None, learns_from=()),
    "real": Arm(about="the real images of the budget", images=real, learns_from=("real",), free=True),
    "minted": Arm(
        about="minted images alone",
        images=minted,
        learns_from=("minted",),
        against=("real",),
        subject="In place of the real images, minted images",
        minting=USUALLY,
    ),
    "mix": Arm(
        about="real and minted images together",
        images=real_and_minted,
        learns_from=BOTH,
        against=("real",),
        subject="Added to the real images, minted images",
        minting=USUALLY,
    ),
    "classic": Arm(
        about="real images, shifted, rotated, sheared, zoomed and brightened or darkened at random",
        images=real,
        learns_from=("real",),
        augment="classic",
        against=("real",),
        subject="Ordinary augmentation",
        free=True,
    ),
    "minted+classic": Arm(
        about="minted images, augmented the same way",
        images=minted,
        learns_from=("minted",),
        augment="classic",
        against=("real",),
        minting=USUALLY,
    ),
    "mix+classic": _mix(
        "real and minted images together, augmented the same way",
        subject="On top of ordinary augmentation, minted images",
    ),
    "strong": _augmented("real images, augmented as in classic, 30 % of them further and partly covered", "strong"),
    "mix+strong": _mix(
        "real and minted images together, augmented as in strong",
        augment="strong",
        against=(FREE, "strong"),
        subject="On top of strong augmentation, minted images",
    ),
    "sterzinger": _augmented(
        "real images, augmented as in Sterzinger, Stippel & Zogaj 2020: mirrored, darkened, enlarged, turned",
        "sterzinger",
    ),
    "elastic": _augmented("real images, augmented as in classic and distorted smoothly", "elastic"),
    "cutout": _augmented("real images, augmented as in classic, with a square of each covered", "cutout"),
    "noise": _augmented(
        "real images, augmented as in classic, 30 % of them under normal noise of each pixel", "noise"
    ),
    "mixup": _augmented("real images, augmented as in classic and blended in pairs, labels too", "mixup"),
    "classmix": _augmented(
        "real images, augmented as in classic and put together from parts of two of one class", "classmix"
    ),
    "strong+classmix": _augmented(
        "real images, augmented as in strong and put together from parts of two of one class", "strong+classmix"
    ),
    "mix+strong+classmix": _mix(
        "real and minted images together, augmented as in strong+classmix",
        augment="strong+classmix",
        against=(FREE, "strong+classmix"),
        subject="On top of strong augmentation with classmix, minted images",
    ),
    "mix+elastic": _mix(
        "real and minted images together, augmented as in elastic",
        augment="elastic",
        against=(FREE, "elastic"),
        subject="On top of elastic distortion, minted images",
    ),
    "oversample": replace(
        _augmented("as classic, with images of smaller classes repeated until all classes are equal", "classic"),
        images=oversampled,
        subject="Repeated images of the smaller classes",
    ),
    "class-weights": replace(
        _augmented("as classic, with every class counting the same in the loss", "classic"),
        images=weighted,
        subject="Equal weights for all classes",
    ),
    "balanced": _mix(
        "the real images, every class filled up to the largest with minted ones, augmented as in classic",
        Minting(name="balanced", counts=filling),
        images=together,
        subject="Filling up the smaller classes, minted images",
    ),
    "minted-rare": _mix(
        "the real images, and minted ones of the rare classes alone, augmented as in classic",
        Minting(name="rare", counts=for_rare),
        images=together,
        subject="Added to the rare classes, minted images",
    ),
    "screened": _mix(
        "as mix+classic, with the half of the minted images that a classifier of the real ones is surest of",
        Minting(name="screened", keep=0.5),  # a share and no threshold, so that it always ends
        subject="On top of ordinary augmentation, screened minted images",
    ),
    "density-ratio": _mix(
        "as mix+classic, with minted images of which the discriminator kept a quarter by their density ratio (Azadi "
        "et al. 2019)",
        Minting(name="density-ratio", density_ratio=0.25),
        subject="Kept by their density ratio, minted images",
    ),
    "soft": _mix(
        "as mix+classic, with minted images labelled by the probabilities of a teacher that learned the real ones",
        images=softened,
        against=(FREE, "classic", "soft-real"),
        subject="Labelled by a teacher, minted images",
    ),
    "soft-real": replace(
        _augmented("as classic, labelled by the probabilities of a teacher that learned the same images", "classic"),
        images=distilled,
        free=False,  # its teacher knows the held-out images that the yardstick is chosen by
    ),
    "consistent": _mix(
        "as classic, and of each minted image, without its label, the network must name two views alike (Sohn et al. "
        "2020)",
        images=agreeing,
        against=(FREE, "classic", "consistent-real"),
        subject="Without their labels, minted images",
    ),
    "consistent-real": replace(
        _augmented(
            "as classic, and the network must name two views of each image alike (Sohn et al. 2020)", "classic"
        ),
        images=agreeing_real,
    ),
    "consistent+strong+classmix": _mix(
        "as strong+classmix, and of each minted image, without its label, the network must name two views alike",
        images=agreeing,
        augment="strong+classmix",
        against=(FREE, "strong+classmix", "consistent-real+strong+classmix"),
        subject="Without their labels, on top of strong augmentation with classmix, minted images",
    ),
    "consistent-real+strong+classmix": replace(
        _augmented("as strong+classmix, and the network must name two views of each image alike", "strong+classmix"),
        images=agreeing_real,
        against=("strong+classmix",),
    ),
    "boundary": _mix(
        "as mix+classic, with the half of the minted images of each class that a teacher of the real ones is least "
        "sure of",
        images=near_boundary,
        against=(FREE, "classic", "mix+classic"),
        subject="Near the boundary between classes, minted images",
    ),
    "pca": _mix("as mix+classic, minted by recipe pca", Minting(name="pca", recipe="pca")),
    "ppca": _mix("as mix+classic, minted by recipe ppca", Minting(name="ppca", recipe="ppca")),
    "per-class": _mix("as mix+classic, minted by recipe per-class", Minting(name="per-class", recipe="per-class")),
    "noisy": _mix(
        "as mix+classic, with noise on the minted images (a wish of Baker 2018)",
        images=real_and_noisy,
        against=(FREE, "classic", "noise", "mix+classic"),
        subject="As a regulariser, noisy minted images",
    ),
    "semi-supervised": Arm(
        about="the discriminator of a semi-supervised GAN as the classifier (Salimans et al. 2016)",
        images=real,
        learns_from=("real",),
        against=FAIR,
        subject="In place of a classifier, the discriminator",
        discriminator="as it is",
    ),
    "pretrained": Arm(
        about="as classic, with a network that starts from the discriminator of the GAN",
        images=real,
        learns_from=("real",),
        augment="classic",
        against=FAIR,
        subject="Starting from the discriminator",
        discriminator="as a start",
    ),
    "class-shares": _mix(
        "as classic, with minted images in place of a share of the real ones of each class",
        Minting(name="class-shares", counts=missing(lambda need: need.shares)),
        images=replaced(lambda sources: sources.shares),
        against=("classic",),
        subject="In place of a share of the real images, minted images",
    ),
}
# Arms whose classifier names two views of an image alike.
VIEWS = tuple(name for name, arm in ARMS.items() if arm.images in (agreeing, agreeing_real))
USUAL = (  # the arms of a study that names none
    "floor",
    "real",
    "minted",
    "mix",
    "classic",
    "minted+classic",
    "mix+classic",
    "strong",
    "mix+strong",
    "strong+classmix",
    "mix+strong+classmix",
)


def _pack_arm(path: str) -> Arm:
    return Arm(
        about=f"the real images and those of {path} together, augmented as in classic",
        images=real_and_pack,
        learns_from=("real", "pack"),
        augment="classic",
        against=(FREE, "classic"),
        subject=f"On top of ordinary augmentation, the images of {path}",
        path=path,
    )


def _ratio_arm(ratio: str) -> Arm | None:
    """Real images and `ratio` times as many minted ones, each seen equally often."""
    if not _NUMBER.fullmatch(ratio) or not 0 < float(ratio) <= MOST_MINTED:
        return None
    return _mix(
        f"real images and {ratio} times as many minted ones, each seen equally often, augmented as in classic",
        Minting(name=f"times-{ratio}", counts=times_as_many(float(ratio))),
        images=together,
        subject=f"Mixed {ratio} to 1 with the real images, minted images",
    )


def _share_arm(percent: str) -> Arm | None:
    """A share of real images of a fixed total with fixed proportions of the classes (Rzayev & Weldegebriel)."""
    if not _NUMBER.fullmatch(percent) or not 0 < float(percent) <= 100:
        return None
    share = {OTHERS: float(percent) / 100}
    return _mix(
        f"{percent} % of the real images of each class, minted ones in place of the others, augmented as in classic",
        Minting(name=f"share-{percent}", counts=missing(lambda need: share)),
        images=replaced(lambda sources: share),
        against=("classic",),
        subject=f"In place of all but {percent} % of the real images, minted images",
    )


# Arms that take an argument, as in pack:PATH; None where the argument cannot be one.
FAMILIES: dict[str, Callable[[str], Arm | None]] = {"mix": _ratio_arm, "share": _share_arm, "pack": _pack_arm}
FORMS = {"mix": "mix:RATIO", "share": "share:PERCENT", "pack": "pack:PATH"}  # how they are written

_FREE_ARM = Arm(
    about="the best arm without other images, chosen on held-out training images", images=None, learns_from=()
)


def known(name: str) -> Arm | None:
    """The arm of this name; None where there is none.

    >>> known("pack:extra.pack").path, known("magic")
    ('extra.pack', None)
    """
    family, colon, argument = name.partition(":")
    if name in ARMS:
        return ARMS[name]
    return _of_family(family, argument) if colon and argument and family in FAMILIES else None


@cache
def _of_family(family: str, argument: str) -> Arm | None:
    """The same row every time, so that what is minted for it is known again."""
    return FAMILIES[family](argument)


def find_arm(name: str) -> Arm:
    """The arm of a name that was checked before, or what FREE stands for."""
    arm = _FREE_ARM if name == FREE else known(name)
    assert arm is not None, name
    return arm


def in_order(names: Sequence[str]) -> tuple[str, ...]:
    """Arms, each once: those of ARMS in its order, then those with an argument as they come."""
    rows = list(ARMS)
    place = {name: rows.index(name) if name in ARMS else len(rows) for name in names}
    return tuple(sorted(place, key=lambda name: place[name]))


def free_arms(arms: Sequence[str]) -> list[str]:
    """Those of some arms that one can be chosen from as the yardstick; none where there is nothing to choose."""
    free = [name for name in arms if find_arm(name).free]
    return free if len(free) > 1 and any(FREE in find_arm(name).against for name in arms) else []


def with_minted(free: str) -> tuple[str, ...]:
    """The arms of minted images that a free arm is the fair rival of.

    They do what it does with minted images on top, or, where it mends unequal classes, with minted images instead.

    >>> with_minted("strong"), with_minted("class-weights")
    (('mix+strong',), ('balanced', 'minted-rare'))
    """
    return FILLED_UP if free in ("oversample", "class-weights") else (f"mix+{free}",)


def comparisons(arms: Sequence[str], chosen: Sequence[str] = ()) -> list[tuple[str, str]]:
    """(arm, what it is compared with) for some arms. The first is the question that counts.

    First come comparisons with the best arm that needs no other images: do these beat what can be had for free?
    Of `chosen`, the free arms that held-out training images chose, the first that is the fair rival of an arm of
    minted images (`with_minted`) decides which of these leads.

    >>> comparisons(["classic", "strong", "mix+classic", "mix+strong"], ["classic"])[0]
    ('mix+classic', 'best free arm')
    """
    against = {name: find_arm(name).against for name in arms}
    bases = [FREE, "classic", *(name for name in arms if name not in ("classic", "real")), "real"]
    there = {*arms, *([FREE] if free_arms(arms) else [])}
    fair = (name for free in chosen for name in with_minted(free))
    leading = [name for name in (*fair, *LEADING) if name in arms]
    in_turn = list(dict.fromkeys([*leading, *arms]))
    return [(name, base) for base in bases for name in in_turn if base in there and base in against[name]]
