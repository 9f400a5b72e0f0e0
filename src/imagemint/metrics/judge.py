"""The judge of a real pack: which images it learns from, which are held out, and the network itself.

The judge never sees the held-out images, so that real images get no better treatment than minted ones: what it makes
of the held-out images is the floor that minted images are compared with.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from imagemint import seeds
from imagemint.classifiers import AT_LEAST, LeNet, train_classifier
from imagemint.data.duplicates import exact_groups
from imagemint.data.pack import Pack
from imagemint.progress import progress

# System C trains its judge for 5 epochs; small packs get more (AT_LEAST).
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


def train_judge(pack: Pack, reference: np.ndarray, seed: int) -> LeNet:
    """A LeNet that has learned the images `reference` of a pack."""
    images_seen = max(JUDGE_EPOCHS * len(reference), AT_LEAST)
    with progress(images_seen, "judge") as advance:
        judge = train_classifier(
            pack.pixels[reference],
            np.asarray(pack.labels[reference]),
            len(pack.classes),
            images_seen=images_seen,
            seed=seeds.derive(seed, "judge"),
            advance=advance,
        )
    assert isinstance(judge, LeNet)
    return judge


def _groups(codes: np.ndarray, order: np.ndarray) -> list[np.ndarray]:
    """`order` cut into groups of equal codes, by first appearance."""
    _, first, group, sizes = np.unique(codes[order], return_index=True, return_inverse=True, return_counts=True)
    groups = np.split(order[np.argsort(group, kind="stable")], np.cumsum(sizes)[:-1])
    return [groups[k] for k in np.argsort(first)]
