"""What every metric is computed from: a sample of images beside real ones, and how often each counts."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np

from imagemint import seeds
from imagemint.metrics.manifold import Manifold, manifold

RESAMPLES = 50  # enough for a standard error (Efron & Tibshirani 1993, section 6.4: 50 to 200)


@dataclass(frozen=True, eq=False)
class Side:
    """Images of one side: what features and the judge make of them."""

    features: np.ndarray  # float32 [n, d]
    labels: np.ndarray  # int64 [n]: the class asked for (of a real image: its own); -1 where there is none
    predicted: np.ndarray  # int64 [n]: the class that the judge sees
    confidence: np.ndarray  # float64 [n]: the probability that it gives this class

    def __len__(self) -> int:
        return len(self.labels)

    def rows(self, chosen: np.ndarray) -> Side:
        """The images `chosen` (indices or a mask)."""
        return Side(self.features[chosen], self.labels[chosen], self.predicted[chosen], self.confidence[chosen])

    def of_class(self, label: int) -> Side:
        """The images of one class."""
        return self.rows(self.labels == label)


@dataclass(frozen=True, eq=False)
class Comparison:
    """A sample (minted images, or held-out real ones for the floor) beside the real images."""

    sample: Side
    real: Side

    @cached_property
    def manifold(self) -> Manifold:
        """Which images of either side lie among those of the other; four metrics share it."""
        return manifold(self.sample.features, self.real.features)

    def of_class(self, label: int) -> Comparison:
        """The images of one class on both sides."""
        return Comparison(self.sample.of_class(label), self.real.of_class(label))


@dataclass(frozen=True, eq=False)
class Weights:
    """How often each image counts, one row per value wanted: float64 `[b, n]` and `[b, m]`."""

    sample: np.ndarray
    real: np.ndarray

    @staticmethod
    def once(comparison: Comparison) -> Weights:
        """Every image counts once: one row."""
        return Weights(np.ones((1, len(comparison.sample))), np.ones((1, len(comparison.real))))

    @staticmethod
    def drawn(comparison: Comparison, seed: int, resamples: int = RESAMPLES) -> Weights:
        """Row 0 counts every image once; in the others each class draws as many again as it has, with replacement.

        Class by class, because how many images of a class there are was chosen and is no accident.
        """
        rng = seeds.rng(seed, "bootstrap")
        sides = []
        for labels in (comparison.sample.labels, comparison.real.labels):
            weights = np.ones((1 + resamples, len(labels)))
            for label in np.unique(labels):
                members = np.flatnonzero(labels == label)
                draws = rng.multinomial(len(members), np.full(len(members), 1 / len(members)), resamples)
                weights[1:, members] = draws
            sides.append(weights)
        return Weights(*sides)
