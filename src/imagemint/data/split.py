"""Train, validation and test packs out of one, with no picture on two sides."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np

from imagemint import arguments, files, progress, seeds
from imagemint.data import duplicates
from imagemint.data.pack import UNLABELLED, Pack, check_absent, open_pack
from imagemint.data.rewriting import apportion, rewrite
from imagemint.errors import PackError
from imagemint.words import counted, listed

SIDES = ("train", "validation", "test")


def split(
    pack: Pack | Path | str,
    dest: Path | str,
    *,
    train: float | None = None,
    validation: float = 0.0,
    test: float = 0.2,
    seed: int = 0,
    near: bool = True,
) -> dict[str, Pack]:
    """Write `dest`/train, `dest`/validation, `dest`/test (those with a share above 0) and return them by name.

    `train`, `validation` and `test` are shares that sum to 1; `train` is by default what the others leave. Every
    class is shared out in these proportions, to within one image where there are no duplicates and every side has an
    image of it. A class of two or more pictures is on the sides train and test at least, one of a single picture on
    the first side; what a side lacks is said. Exact duplicates are on one side whatever their labels; so are near
    duplicates, if `near` (see `imagemint.data.duplicates`; long chains of them are cut). Unlabelled images, and
    duplicates of them, go to the first side. Images keep their order.

    Each pack's last step of history tells what was kept together (`kept_together`), and the classes of which a side
    has no image (`without`, by side). Raises PackError where shares do not sum to 1 or a side would get no image.

    >>> from imagemint import pack
    >>> parts = split(pack("digits", "digits.pack"), "parts", test=0.2)
    >>> {name: len(part) for name, part in parts.items()}
    {'train': 1438, 'test': 359}
    """
    seed, shares = arguments.whole(seed, "seed"), _shares(train, validation, test)
    pack, dest = open_pack(pack), check_absent(dest, local=True)
    groups = duplicates.linked_groups(pack) if near else duplicates.exact_groups(pack)
    labels = np.asarray(pack.labels)
    sides = assign(labels, groups.first, np.array(list(shares.values())), seed)
    for number, name in enumerate(shares):
        if not (sides == number).any():
            raise PackError(
                f"{name} would get none of the {counted(len(pack), 'image')} of {pack.path}",
                "at least one on each side",
                f"raise its share ({shares[name]:g}) or pack more images",
            )
    count, images, largest = groups.together()
    kept = {"groups": count, "images": images, "largest": largest, "cut": groups.cut}
    without = _without(pack, labels, sides, list(shares))
    with files.whole_folder(dest) as aside:
        for number, name in enumerate(shares):
            parameters = {"side": name, **shares, "seed": seed, "near": bool(near), "kept_together": kept}
            parameters |= {"without": without} if without else {}
            rewrite(pack, aside / name, "split", parameters, order=np.flatnonzero(sides == number))
    for name, classes in without.items():
        classes_of = f"{counted(len(classes), 'class', 'classes')} ({listed(classes)})"
        progress.say(f"{name} has no image of {classes_of}: too few different pictures, or none")
    return {name: open_pack(dest / name) for name in shares}


def _without(pack: Pack, labels: np.ndarray, sides: np.ndarray, names: list[str]) -> dict[str, list[str]]:
    """The classes of which a side has no image, by the side's name; sides that lack none are left out."""
    absent = {
        name: sorted(set(range(len(pack.classes))) - set(labels[sides == number].tolist()))
        for number, name in enumerate(names)
    }
    return {name: [pack.classes[label] for label in lacking] for name, lacking in absent.items() if lacking}


def assign(labels: np.ndarray, groups: np.ndarray, shares: np.ndarray, seed: int) -> np.ndarray:
    """The side of every image: int64 `[n]`, an index into `shares` (float `[sides]`, sums to 1).

    `labels` int64 `[n]`, -1 goes to side 0; `groups` int64 `[n]`, 0 or more, images with equal numbers go to one
    side. Groups of several images are dealt first, largest first, each to the side that lacks most of their classes;
    single images then fill every class up to its quota; then every class that a side lacks and that has pictures to
    spare gives it one. Depends on the seed and these arguments alone.
    """
    sides = np.full(len(labels), -1)
    in_group, of_class = _members(groups), _members(labels + 1)
    size, quotas = np.bincount(groups), _quotas(labels, shares)
    several = np.flatnonzero(size > 1)
    several = several[seeds.rng(seed, "split groups").permutation(len(several))]
    for group in several[np.argsort(-size[several], kind="stable")].tolist():
        images = in_group(group)
        classes = labels[images]
        side = 0 if (classes == UNLABELLED).any() else int(quotas[classes].sum(axis=0).argmax())
        sides[images] = side
        for label in classes.tolist():
            quotas[label, side] -= 1
    for label in np.unique(labels).tolist():
        alone = of_class(label + 1)
        alone = alone[sides[alone] < 0]
        alone = alone[seeds.rng(seed, "split", label).permutation(len(alone))]
        if label == UNLABELLED:
            sides[alone] = 0
            continue
        room = np.maximum(quotas[label], 0)
        while room.sum() > len(alone):  # groups took more than a side's quota: what is missing is shared
            room[room.argmax()] -= 1
        sides[alone] = np.repeat(np.arange(len(shares)), room)
    _fill_gaps(labels, groups, sides, len(shares), seed)
    return sides


def _members(values: np.ndarray) -> Callable[[int], np.ndarray]:
    """`_members(values)(k)`: where the int64 `values`, 0 or more, are k, in rising order."""
    end, order = np.cumsum(np.bincount(values)), np.argsort(values, kind="stable")
    return lambda k: order[end[k - 1] if k else 0 : end[k]]


def _quotas(labels: np.ndarray, shares: np.ndarray) -> np.ndarray:
    """Images of each class for each side: int64 `[classes + 1, sides]`; the last row, unused, is the unlabelled.

    Largest remainder in every class. A side that came off badly in one class is served first in the next, so that the
    sides as a whole are right too.
    """
    counts = np.bincount(labels[labels != UNLABELLED], minlength=int(labels.max(initial=-1)) + 1)
    quotas = np.zeros((len(counts) + 1, len(shares)), np.int64)
    owed = np.zeros(len(shares))
    for label, count in enumerate(counts.tolist()):
        quotas[label] = apportion(count, shares, owed)
        owed += count * shares - quotas[label]
    return quotas


def _fill_gaps(labels: np.ndarray, groups: np.ndarray, sides: np.ndarray, count: int, seed: int) -> None:
    """Move pictures, in place, to sides that have none of a class: the first side is served first, then the last.

    A class of k different pictures (groups) is then on min(k, sides) sides, unless its pictures hang together with
    other classes'. The smallest group moves; no class loses its last picture on a side that comes before.
    """
    order = [0, *range(count - 1, 0, -1)]  # train, test, validation
    has = np.zeros((int(labels.max(initial=-1)) + 2, count), np.int64)  # images by class and side; last: no class
    np.add.at(has, (labels, sides), 1)
    in_group, of_class, size = _members(groups), _members(labels + 1), np.bincount(groups)
    for label in np.flatnonzero((has[:-1] == 0).any(axis=1)).tolist():
        pictures = np.unique(groups[of_class(label + 1)])
        pictures = pictures[seeds.rng(seed, "split gaps", label).permutation(len(pictures))]
        pictures = pictures[np.argsort(size[pictures], kind="stable")].tolist()
        for rank, side in enumerate(order[: len(pictures)]):
            for group in pictures:
                if has[label, side]:
                    break
                images = in_group(group)
                old, (classes, times) = int(sides[images[0]]), np.unique(labels[images], return_counts=True)
                last = (has[classes, old] == times).any()
                if UNLABELLED in classes or (last and old in order[:rank]):
                    continue
                has[classes, old] -= times
                has[classes, side] += times
                sides[images] = side


def _shares(train: float | None, validation: float, test: float) -> dict[str, float]:
    """The sides with a share above 0, in order."""
    validation, test = arguments.number(validation, "validation"), arguments.number(test, "test")
    train = round(1 - validation - test, 9) if train is None else arguments.number(train, "train")
    shares = dict(zip(SIDES, (train, validation, test), strict=True))
    given = " + ".join(f"{name} {share:g}" for name, share in shares.items())
    if not all(0 <= share <= 1 for share in shares.values()) or abs(sum(shares.values()) - 1) > 1e-6:
        raise PackError(
            f"{given} = {sum(shares.values()):g}",
            "shares from 0 to 1 that sum to 1",
            "change one of them (train, when left out, is what the others leave)",
        )
    return {name: share for name, share in shares.items() if share > 0}
