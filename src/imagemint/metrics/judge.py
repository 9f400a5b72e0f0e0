"""The judge of a real pack: which images it learns from, which are held out, and the network itself.

The judge never sees the held-out images, so that real images get no better treatment than minted ones: what it makes
of the held-out images is the floor that minted images are compared with.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from imagemint import seeds
from imagemint.classifiers import AT_LEAST, ClassifierPlan, LeNet, make_plan, train_classifier
from imagemint.data.duplicates import exact_groups
from imagemint.data.pack import Pack
from imagemint.errors import ArgumentError
from imagemint.progress import progress

# As long as Rzayev & Weldegebriel train theirs; small packs get more (AT_LEAST).
JUDGE_EPOCHS = 5


@dataclass(frozen=True, eq=False)
class JudgeSplit:
    """Indices into a real pack, int64 each: what the judge learns from, and what it never sees.

    `twins` are in neither: exact duplicates of held-out images under another label or none.
    """

    reference: np.ndarray
    held_out: np.ndarray
    twins: np.ndarray


def judge_split(pack: Pack, wanted: np.ndarray, seed: int) -> JudgeSplit:
    """Hold out `wanted[k]` labelled images of class k, but at most half of the class; the rest is the reference.

    Exact duplicates stay on one side, so a class may give a few images fewer. Unlabelled images are in neither.
    """
    labels, codes = np.asarray(pack.labels), exact_groups(pack).first
    held_out = np.zeros(len(labels), bool)
    for label, count in enumerate(wanted):
        members = np.flatnonzero(labels == label)
        count = min(int(count), len(members) // 2)
        for group in _groups(codes, seeds.rng(seed, "held out", label).permutation(members)):
            if len(group) <= count:
                held_out[group] = True
                count -= len(group)
    twins = np.isin(codes, codes[held_out]) & ~held_out
    learned = ~held_out & ~twins & (labels >= 0)
    return JudgeSplit(np.flatnonzero(learned), np.flatnonzero(held_out), np.flatnonzero(twins))


def judge_plan(**options: Any) -> ClassifierPlan:
    """How the judge learns: 5 epochs and at least 40,000 images, but for what `options` say. Raises ArgumentError."""
    given = {name: value for name, value in options.items() if value is not None}
    plan = make_plan(**{"epochs": JUDGE_EPOCHS, "at_least": AT_LEAST, **given})
    if plan.classifier != "lenet":
        raise ArgumentError(f"judge {plan.classifier!r}", "lenet, the one judge", "leave it out")
    return plan


def train_judge(pack: Pack, reference: np.ndarray, seed: int, plan: ClassifierPlan | None = None) -> LeNet:
    """A LeNet that has learned the images `reference` of a pack; `plan` as `judge_plan` makes it."""
    plan = plan or judge_plan()
    images_seen = plan.images_seen(len(reference))
    with progress(images_seen, "judge") as advance:
        judge = train_classifier(
            pack.pixels[reference],
            np.asarray(pack.labels[reference]),
            len(pack.classes),
            images_seen=images_seen,
            seed=seeds.derive(seed, "judge"),
            plan=plan,
            advance=advance,
        )
    assert isinstance(judge, LeNet)
    return judge


def _groups(codes: np.ndarray, order: np.ndarray) -> list[np.ndarray]:
    """`order` cut into groups of equal codes, by first appearance."""
    _, first, group, sizes = np.unique(codes[order], return_index=True, return_inverse=True, return_counts=True)
    groups = np.split(order[np.argsort(group, kind="stable")], np.cumsum(sizes)[:-1])
    return [groups[k] for k in np.argsort(first)]
