"""Train, validation and test packs out of one, with no picture on two sides."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np

from imagemint import files, seeds
from imagemint.data import duplicates
from imagemint.data.pack import UNLABELLED, Pack, check_absent, open_pack
from imagemint.data.rewriting import rewrite
from imagemint.errors import PackError

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
    class is shared out in these proportions, to within one image where there are no duplicates. Exact duplicates are
    on one side whatever their labels; so are near duplicates, if `near` (see `imagemint.data.duplicates`; long chains
    of them are cut). Unlabelled images, and duplicates of them, go to the first side. What was kept together stands
    in the history: `kept_together` of each pack's last step. Images keep their order. Raises PackError where shares
    do not sum to 1 or a side would get no image.
    """
    pack, dest = open_pack(pack), check_absent(dest)
    shares = _shares(train, validation, test)
    groups = duplicates.linked_groups(pack) if near else duplicates.exact_groups(pack)
    sides = assign(np.asarray(pack.labels), groups.first, np.array(list(shares.values())), seed)
    for number, name in enumerate(shares):
        if not (sides == number).any():
            raise PackError(
                f"{name} would get none of the {len(pack)} images of {pack.path}",
                "at least one on each side",
                f"raise its share ({shares[name]:g}) or pack more images",
            )
    count, images, largest = groups.together()
    kept = {"groups": count, "images": images, "largest": largest, "cut": groups.cut}
    with files.whole_folder(dest) as aside:
        for number, name in enumerate(shares):
            parameters = {"side": name, **shares, "seed": seed, "near": near, "kept_together": kept}
            rewrite(pack, aside / name, "split", parameters, order=np.flatnonzero(sides == number))
    return {name: open_pack(dest / name) for name in shares}


def assign(labels: np.ndarray, groups: np.ndarray, shares: np.ndarray, seed: int) -> np.ndarray:
    """The side of every image: int64 `[n]`, an index into `shares` (float `[sides]`, sums to 1).

    `labels` int64 `[n]`, -1 goes to side 0; `groups` int64 `[n]`, 0 or more, images with equal numbers go to one
    side. Groups of several images are dealt first, largest first, each to the side that lacks most of their classes;
    single images then fill every class up to its quota. Depends on the seed and these arguments alone.
    """
    sides = np.full(len(labels), -1)
    size = np.bincount(groups)
    end, by_group = np.cumsum(size), np.argsort(groups, kind="stable")
    quotas = _quotas(labels, shares)
    several = np.flatnonzero(size > 1)
    several = several[seeds.rng(seed, "split groups").permutation(len(several))]
    for group in several[np.argsort(-size[several], kind="stable")].tolist():
        images = by_group[end[group] - size[group] : end[group]]
        of_class = labels[images]
        side = 0 if (of_class == UNLABELLED).any() else int(quotas[of_class].sum(axis=0).argmax())
        sides[images] = side
        for label in of_class.tolist():
            quotas[label, side] -= 1
    for label in np.unique(labels).tolist():
        alone = np.flatnonzero((labels == label) & (sides < 0))
        alone = alone[seeds.rng(seed, "split", label).permutation(len(alone))]
        if label == UNLABELLED:
            sides[alone] = 0
            continue
        room = np.maximum(quotas[label], 0)
        while room.sum() > len(alone):  # groups took more than a side's quota: what is missing is shared
            room[room.argmax()] -= 1
        sides[alone] = np.repeat(np.arange(len(shares)), room)
    return sides


def _quotas(labels: np.ndarray, shares: np.ndarray) -> np.ndarray:
    """Images of each class for each side: int64 `[classes + 1, sides]`; the last row, unused, is the unlabelled.

    Largest remainder in every class. A side that came off badly in one class is served first in the next, so that the
    sides as a whole are right too.
    """
    counts = np.bincount(labels[labels != UNLABELLED], minlength=int(labels.max(initial=-1)) + 1)
    quotas = np.zeros((len(counts) + 1, len(shares)), np.int64)
    owed = np.zeros(len(shares))
    for label, count in enumerate(counts.tolist()):
        exact = count * shares
        quotas[label] = np.floor(exact + 1e-9)
        owed += exact - quotas[label]
        rest = count - quotas[label].sum()
        entitled = np.where(exact - quotas[label] > 1e-9, owed, -math.inf)  # no more than one above the exact share
        extra = np.argsort(-entitled, kind="stable")[:rest]
        quotas[label, extra] += 1
        owed[extra] -= 1
    return quotas


def _shares(train: float | None, validation: float, test: float) -> dict[str, float]:
    """The sides with a share above 0, in order."""
    train = round(1 - validation - test, 9) if train is None else train
    shares = dict(zip(SIDES, (train, validation, test), strict=True))
    given = " + ".join(f"{name} {share:g}" for name, share in shares.items())
    if not all(0 <= share <= 1 for share in shares.values()) or abs(sum(shares.values()) - 1) > 1e-6:
        raise PackError(
            f"{given} = {sum(shares.values()):g}",
            "shares from 0 to 1 that sum to 1",
            "change one of them (train, when left out, is what the others leave)",
        )
    return {name: share for name, share in shares.items() if share > 0}
