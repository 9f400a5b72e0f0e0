"""Precision, recall, density and coverage: which images of either side lie among those of the other.

(Kynkäänniemi et al. 2019 for the first two, Naeem et al. 2020 for the others.) Each set of images stands for balls
around its features that reach to the k-th nearest other image of the set:

    precision  share of the sample that lies in a ball of the real images
    recall     share of the real images that lie in a ball of the sample
    density    how many balls of real images hold a sample, divided by k; 1 where both sets are alike
    coverage   share of the real images whose ball holds an image of the sample

Distances are Euclidean and computed in float64 for some rows at a time, so that memory grows with n and not with n^2.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

K_BALLS = 3  # of precision and recall: Kynkäänniemi et al. 2019, section 3.1
K_DENSITY = 5  # of density and coverage: Naeem et al. 2020, section 4.2
LEAST = K_DENSITY + 1  # images on a side for the balls to exist
_BLOCK_BYTES = 64 << 20  # of distances, at a time


@dataclass(frozen=True, eq=False)
class Manifold:
    """One number per image, float64: the metrics are their means."""

    precise: np.ndarray  # [n] of the sample, 0 or 1
    recalled: np.ndarray  # [m] of the real images, 0 or 1
    dense: np.ndarray  # [n] of the sample, 0 or more
    covered: np.ndarray  # [m] of the real images, 0 or 1


def manifold(sample: np.ndarray, real: np.ndarray) -> Manifold:
    """Both sets as features float `[n, d]` and `[m, d]`, at least `LEAST` rows each.

    >>> grid = np.arange(8.0)[:, None]
    >>> manifold(grid, grid).covered.mean(), manifold(grid + 100, grid).covered.mean()
    (np.float64(1.0), np.float64(0.0))
    """
    assert min(len(sample), len(real)) >= LEAST, (len(sample), len(real))
    sample, real = (np.asarray(each, np.float64) for each in (sample, real))
    around_sample = neighbour_distances(sample, K_BALLS)
    around_real = neighbour_distances(real, K_DENSITY)
    reach, reach_dense = around_real[:, K_BALLS - 1], around_real[:, K_DENSITY - 1]
    precise, dense = np.empty(len(sample)), np.empty(len(sample))
    recalled, nearest = np.zeros(len(real), bool), np.full(len(real), np.inf)
    for rows, squared in squared_distances(sample, real):
        precise[rows] = (squared <= reach).any(1)
        dense[rows] = (squared <= reach_dense).sum(1) / K_DENSITY
        recalled |= (squared <= around_sample[rows, K_BALLS - 1, None]).any(0)
        nearest = np.minimum(nearest, squared.min(0))
    return Manifold(precise, recalled.astype(np.float64), dense, (nearest <= reach_dense).astype(np.float64))


def neighbour_distances(points: np.ndarray, k: int) -> np.ndarray:
    """Squared distances of each point to its k nearest others, ascending: float64 `[n, k]`."""
    found = np.empty((len(points), k))
    for rows, squared in squared_distances(points, points):
        squared[np.arange(len(squared)), np.arange(rows.start, rows.stop)] = np.inf  # not to itself
        found[rows] = np.sort(np.partition(squared, k - 1, axis=1)[:, :k], axis=1)
    return found


def squared_distances(left: np.ndarray, right: np.ndarray) -> Iterator[tuple[slice, np.ndarray]]:
    """Rows of `left` in turn, with their squared distances to all of `right`: float64 `[rows, m]`, 0 or more.

    |a|^2 + |b|^2 - 2 ab, after moving the origin among the points so that little is lost in the subtraction.
    """
    centre = right.mean(0)
    left, right = left - centre, right - centre
    norms, step = (right**2).sum(1), max(1, _BLOCK_BYTES // (8 * len(right)))
    for start in range(0, len(left), step):
        rows = slice(start, min(start + step, len(left)))
        squared = left[rows] @ right.T
        squared *= -2
        squared += norms
        squared += (left[rows] ** 2).sum(1)[:, None]
        yield rows, np.maximum(squared, 0, out=squared)
