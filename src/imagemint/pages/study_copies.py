"""Are the minted images of a study copies of the images that the generator learned from? In numbers and in pictures.

The first repeat of every budget is looked at. What counts as near is asked of real images that its generator has not
seen: those that the other repeats drew (`metrics.copies` says how the two are compared). Where there are none, since
every repeat has all images, the closest pairs are shown without a verdict.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from imagemint.data.pack import Pack, open_pack
from imagemint.metrics.copies import Nearness, nearness, verdict
from imagemint.metrics.nearest import Nearest
from imagemint.studies.results import Study

MOST = 2000  # images of either kind that are looked at; drawn evenly
PAIRS = 8  # that are shown for a budget


@dataclass(frozen=True)
class Pair:
    """A minted image and the training image next to it, uint8 `[c, h, w]`."""

    minted: np.ndarray
    real: np.ndarray
    distance: float  # mean absolute difference, levels of 255
    label: int  # class of the minted image, -1: none
    of: int  # class of the real one


@dataclass(frozen=True)
class Copies:
    """What was found at one budget."""

    budget: str
    pairs: list[Pair]  # the closest first
    looked_at: int  # minted images
    near: Nearness | None  # None where no held-out real image is left to compare with

    @property
    def words(self) -> str:
        """One sentence."""
        if self.near is None:
            return "no real images were held out from the generator, so that nothing tells what is near"
        return verdict(self.near, self.near)


def copies(study: Study) -> list[Copies]:
    """The closest pairs of every budget for which images were minted, the study's own recipe alone."""
    found = []
    for budget in study.budgets:
        cell = study.cell(budget, 0)
        if cell.minted.is_dir() and cell.subset.is_dir():
            minted, real = open_pack(cell.minted), open_pack(cell.subset)
            if len(minted) and len(real):
                found.append(_copies(budget, minted, real, _held_out(study, budget, real)))
    return found


def _copies(budget: str, minted: Pack, real: Pack, held_out: np.ndarray) -> Copies:
    nearest = Nearest(real.pixels)
    rows = _evenly(len(minted))
    number, distance = nearest.of(minted.read(rows))
    near = None
    if len(held_out):
        near = nearness(distance.astype(np.float64), nearest.of(held_out)[1].astype(np.float64), 0)
    values = int(np.prod(minted.pixels.shape[1:]))
    closest = np.argsort(distance, kind="stable")[:PAIRS]
    pairs = [
        Pair(
            minted=np.asarray(minted.pixels[rows[k]]),
            real=np.asarray(real.pixels[number[k]]),
            distance=float(distance[k] / values),
            label=int(minted.labels[rows[k]]),
            of=int(real.labels[number[k]]),
        )
        for k in closest
    ]
    return Copies(budget, pairs, len(rows), near)


def _held_out(study: Study, budget: str, real: Pack) -> np.ndarray:
    """Real images, uint8 `[n, c, h, w]`, that other repeats of the budget drew and the first did not."""
    seen = {image.tobytes() for image in real.pixels}
    others: dict[bytes, np.ndarray] = {}
    for repeat in range(1, study.facts.extent.repeats):
        subset = study.cell(budget, repeat).subset
        for image in open_pack(subset).pixels if subset.is_dir() else ():
            key = image.tobytes()
            if key not in seen and len(others) < MOST:
                others.setdefault(key, np.asarray(image))
    return np.stack(list(others.values())) if others else np.empty((0, *real.pixels.shape[1:]), np.uint8)


def _evenly(count: int) -> np.ndarray:
    return np.unique(np.linspace(0, count - 1, min(count, MOST)).astype(np.int64))
